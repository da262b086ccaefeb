//! `netflow`: the one binary. Exit 0: stopped as asked; 1: failed while running; 2: bad command line.

use std::{io, process::ExitCode};

use clap::Parser as _;
use netflow_user::{
    Decided,
    cli::{Cli, Command, Log, LogFormat, LogLevel},
    config::{CollectConfig, ReadConfig, RunConfig},
    say,
};
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(match &cli.command {
        Command::Run(run) => &run.output.log,
        Command::Collect(collect) => &collect.log,
        Command::Read(read) => &read.output.log,
    });
    let decided = match cli.command {
        Command::Run(run) => RunConfig::new(*run).map(Decided::Run),
        Command::Read(read) => ReadConfig::new(*read).map(Decided::Read),
        Command::Collect(collect) => Ok(Decided::Collect(CollectConfig::new(collect))),
    };
    match decided {
        Ok(decided) => decided.run(),
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(2)
        }
    }
}

/// The log goes to standard error: standard output belongs to flows.
fn start_log(log: &Log) {
    let level = match log.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    match log.log_format {
        LogFormat::Text => subscriber.with_ansi(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
