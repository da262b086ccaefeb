//! The agent, room by room in the order of the data path:
//! packet -> map -> drain -> flow cache -> record -> message -> transport.

pub mod capture;
pub mod interface;
pub mod kernel;

pub mod drain;
pub mod flow_cache;
pub mod record;

pub mod message;
pub mod transport;

pub mod collect;

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod ledger;
pub mod time;

use std::{io, process::ExitCode};

use tracing_subscriber::filter::LevelFilter;

use crate::{
    cli::{Command, Log, LogFormat, LogLevel},
    config::{CollectConfig, ReadConfig, RunConfig},
};

/// Starts the log on standard error: standard output belongs to flows.
pub fn start_log(log: &Log) {
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

/// Decides and runs; the exit code is the process's.
pub fn run_command(command: Command) -> ExitCode {
    let decided = match command {
        Command::Run(run) => RunConfig::new(*run).map(Decided::Run),
        Command::Read(read) => ReadConfig::new(*read).map(Decided::Read),
        Command::Collect(collect) => Ok(Decided::Collect(CollectConfig::new(collect))),
    };
    match decided {
        Ok(decided) => decided.run(),
        Err(error) => {
            say(&agent::chain(&error));
            ExitCode::from(2)
        }
    }
}

/// A command with its configuration.
pub enum Decided {
    /// `netflow run`.
    Run(RunConfig),
    /// `netflow read`.
    Read(ReadConfig),
    /// `netflow collect`.
    Collect(CollectConfig),
}

impl Decided {
    /// Runs it to its end; an error is one line on standard error.
    pub fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                say(&format!("cannot start threads: {error}"));
                return ExitCode::FAILURE;
            }
        };
        let result = runtime.block_on(async {
            match self {
                Self::Run(config) => agent::run(config).await,
                Self::Read(config) => agent::read(config).await,
                Self::Collect(config) => agent::collect(config).await,
            }
        });
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&agent::chain(&error));
                ExitCode::FAILURE
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one line that says why the process ends")]
fn say(line: &str) {
    eprintln!("netflow: {line}");
}
