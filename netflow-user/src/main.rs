//! `netflow`: the one binary. Exit 0: stopped as asked; 1: failed while running; 2: bad command line.

use std::process::ExitCode;

use clap::Parser as _;
use netflow_user::{
    Decided,
    agent::chain,
    cli::{Cli, Command, Log, LogFormat, LogLevel, in_one_line},
    config::{AskConfig, CollectConfig, ReadConfig, RunConfig},
    log::LevelFilter,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => match in_one_line(&error) {
            None => error.exit(),
            Some(line) => {
                say_text(&line);
                return ExitCode::from(2);
            }
        },
    };
    let log = cli.command.log();
    let say: fn(&str) = match log.map(|log| log.log_format) {
        Some(LogFormat::Json) => say_json,
        Some(LogFormat::Text) | None => say_text,
    };
    if let Some(log) = log {
        start_log(log);
    }
    let decided = match cli.command {
        Command::Run(run) => RunConfig::new(*run).map(|config| Decided::Run(Box::new(config))),
        Command::Read(read) => ReadConfig::new(*read).map(|config| Decided::Read(Box::new(config))),
        Command::Collect(collect) => CollectConfig::new(collect).map(Decided::Collect),
        Command::Show(show) => Ok(Decided::Ask(AskConfig::show(show))),
        Command::Explain(explain) => Ok(Decided::Ask(AskConfig::explain(explain))),
        Command::Expire(expire) => Ok(Decided::Ask(AskConfig::expire(expire))),
        Command::Clear(clear) => Ok(Decided::Ask(AskConfig::clear(clear))),
        Command::SendTemplates(asking) => Ok(Decided::Ask(AskConfig::send_templates(asking))),
        Command::LogLevel(set) => Ok(Decided::Ask(AskConfig::log_level(set))),
        Command::Reload(asking) => Ok(Decided::Ask(AskConfig::reload(asking))),
    };
    match decided {
        Ok(decided) => decided.run(say),
        Err(error) => {
            say(&chain(&error));
            ExitCode::from(2)
        }
    }
}

/// The one line that says why the process ends, whatever names hold.
#[expect(clippy::print_stderr, reason = "the log may be off")]
fn say_text(line: &str) {
    eprintln!("netflow: {}", line.replace(char::is_control, " "));
}

/// The same where every line is to be JSON.
fn say_json(line: &str) {
    tracing::error!("{line}");
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
    netflow_user::log::start(level, log.log_format == LogFormat::Json);
}
