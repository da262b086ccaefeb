//! `netflow`: the one binary. Exit 0: stopped as asked; 1: failed while running; 2: bad command line.

use std::{
    env, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use netflow_user::{
    Decided,
    agent::chain,
    cli::{self, Command, ConfigCommand, DEFAULT_FILE, NO_FILE, Refused, Typed, defaults, shown},
    config::{AskConfig, CollectConfig, DoctorConfig, ReadConfig, RunConfig, Sources},
    log::{self, Form},
};
use tracing::info;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    let typed = match cli::read(&arguments, |variable| env::var_os(variable)) {
        Ok(typed) => typed,
        Err(error) => return refuse(&error),
    };
    let Typed { cli, file, effective } = typed;
    let say = match cli.command.log().map(|log| log::start(log.log_level, log.log_format)) {
        Some(Ok(Form::Json | Form::Journal)) => say_logged,
        Some(Ok(Form::Auto | Form::Text)) | None => say_text,
        Some(Err(error)) => {
            say_text(&format!("cannot log to the journal: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Some(file) = file {
        info!("configuration: {}", file.display());
    }
    let decided = match cli.command {
        Command::Run(run) => {
            let sources = Sources::new(arguments, effective);
            RunConfig::new(*run).map(|config| Decided::Run(Box::new(config), sources))
        }
        Command::Read(read) => ReadConfig::new(*read).map(|config| Decided::Read(Box::new(config))),
        Command::Collect(collect) => CollectConfig::new(collect).map(Decided::Collect),
        Command::Show(show) => Ok(Decided::Ask(AskConfig::show(show))),
        Command::Explain(explain) => Ok(Decided::Ask(AskConfig::explain(explain))),
        Command::Expire(expire) => Ok(Decided::Ask(AskConfig::expire(expire))),
        Command::Clear(clear) => Ok(Decided::Ask(AskConfig::clear(clear))),
        Command::SendTemplates(asking) => Ok(Decided::Ask(AskConfig::send_templates(asking))),
        Command::LogLevel(set) => Ok(Decided::Ask(AskConfig::log_level(set))),
        Command::Top(top) => Ok(Decided::Top(AskConfig::top(top))),
        Command::Reload(asking) => Ok(Decided::Ask(AskConfig::reload(asking))),
        Command::Config(config) => return configuration(config.command),
        Command::Doctor(doctor) => DoctorConfig::new(*doctor).map(|config| Decided::Doctor(Box::new(config))),
    };
    match decided {
        Ok(decided) => {
            let ended = decided.run(say);
            log::say_left_out(true);
            ended
        }
        Err(error) => {
            say(&chain(&error));
            ExitCode::from(2)
        }
    }
}

/// Says why a command line is refused; help is no refusal.
fn refuse(error: &Refused) -> ExitCode {
    match error {
        Refused::Typed(clap) if cli::in_one_line(clap).is_none() => clap.exit(),
        refused => say_text(&refused.to_string()),
    }
    ExitCode::from(2)
}

/// `netflow config`.
fn configuration(command: ConfigCommand) -> ExitCode {
    let run = |file: Option<PathBuf>, options| {
        let file = file.unwrap_or_else(|| match Path::new(DEFAULT_FILE).exists() {
            true => DEFAULT_FILE.into(),
            false => NO_FILE.into(),
        });
        let arguments = ["netflow".into(), "run".into(), "--config".into(), file.into_os_string()];
        arguments.into_iter().chain(options).collect::<Vec<_>>()
    };
    let text = match command {
        ConfigCommand::Default => defaults(),
        ConfigCommand::Show { file, options } => {
            match cli::read(&run(file, options), |variable| env::var_os(variable)) {
                Ok(typed) => shown(&typed.effective),
                Err(error) => return refuse(&error),
            }
        }
        ConfigCommand::Check { file } => {
            let file = file.unwrap_or_else(|| DEFAULT_FILE.into());
            let name = file.display().to_string();
            // The environment is the daemon's, not that of who checks.
            match cli::read(&run(Some(file), Vec::new()), |_| None) {
                Ok(Typed { cli: cli::Cli { command: Command::Run(run) }, .. }) => {
                    match RunConfig::new(*run) {
                        Ok(_) => format!("{name}: as it should be\n"),
                        Err(error) => {
                            say_text(&format!("{name}: {}", chain(&error)));
                            return ExitCode::from(2);
                        }
                    }
                }
                Ok(_) => return ExitCode::from(2),
                Err(error) => return refuse(&error),
            }
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The one line that says why the process ends, whatever names hold.
#[expect(clippy::print_stderr, reason = "the log may be off")]
fn say_text(line: &str) {
    eprintln!("netflow: {}", line.replace(char::is_control, " "));
}

/// The same where it is to be JSON, or in the journal, as everything is.
fn say_logged(line: &str) {
    tracing::error!("{line}");
}
