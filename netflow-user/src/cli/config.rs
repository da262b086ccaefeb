//! `netflow config`: what a configuration file may hold, and what is in force.

use std::{ffi::OsString, fmt::Write as _, path::PathBuf};

use clap::{Arg, ArgAction, Args, CommandFactory as _, Subcommand};

use super::{
    Cli,
    sources::{self, Effective},
};

/// `netflow config`.
#[derive(Debug, Args)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// Its subcommands.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration file: 0 and a line when `run` would take it, 2 and a line that says why not
    Check {
        /// The file [default: /etc/netflow/netflow.toml]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show every option of `run` as it would be in force, and where it comes from
    Show {
        /// The file [default: /etc/netflow/netflow.toml where there is one]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Options of `run`, behind `--`
        #[arg(last = true, value_name = "OPTIONS")]
        options: Vec<OsString>,
    },
    /// Write a configuration file that holds every option with its default, in comments
    Default,
}

/// The options in force as a configuration file, each with where it comes from.
pub fn shown(effective: &[Effective]) -> String {
    let run = sources::run(&Cli::command());
    let is_list = |option: &str| {
        sources::options(&run)
            .any(|arg| arg.get_long() == Some(option) && matches!(arg.get_action(), ArgAction::Append))
    };
    let mut text = String::new();
    for Effective { option, values, origin } in effective {
        let origin = origin.as_deref().unwrap_or("default");
        let _ = match values.as_slice() {
            [] => writeln!(text, "# {option} is not set"),
            [one] if !is_list(option) => writeln!(text, "{option} = {}  # {origin}", toml(one)),
            many => {
                let list: Vec<String> = many.iter().map(|value| toml(value)).collect();
                writeln!(text, "{option} = [{}]  # {origin}", list.join(", "))
            }
        };
    }
    text
}

/// A value as TOML has it.
fn toml(value: &str) -> String {
    let is_number = value == "0" || (value.len() < 18 && !value.starts_with('0'));
    if is_number && !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()) {
        return value.to_owned();
    }
    if matches!(value, "true" | "false") {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for character in value.chars() {
        let _ = match character {
            '"' | '\\' => write!(text, "\\{character}"),
            control if control.is_control() => write!(text, "\\u{:04X}", u32::from(control)),
            other => write!(text, "{other}"),
        };
    }
    text.push('"');
    text
}

const HEAD: &str = "\
# Configuration of `netflow run`: options of the command line, under the same names. What the command line or the
# environment (NETFLOW_IDLE_TIMEOUT for idle-timeout) says goes before what stands here.
# `netflow config check FILE` checks it, `netflow reload` or SIGHUP applies what has changed.

";

const TABLES: &str = r#"
# Interfaces and collectors are tables too. They stand behind all other options.
#[[interface]]
#name = "eth*"
#anonymise = ["ipv4=/24"]
#
#[[interface]]
#name = "eth9"
#exclude = true
#
#[[collector]]
#url = "udp://192.0.2.7:2055"
#protocol = "v9"
"#;

/// A configuration file with every option as it is without one.
pub fn defaults() -> String {
    let run = sources::run(&Cli::command());
    let mut text = HEAD.to_owned();
    let mut heading = None;
    for arg in sources::options(&run) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let _ = writeln!(text, "## {}\n", heading.unwrap_or("General"));
        }
        text.push_str(&described(arg));
    }
    text.push_str(TABLES);
    text
}

/// One option in comments.
fn described(arg: &Arg) -> String {
    let mut text = String::new();
    for line in arg.get_help().map(ToString::to_string).unwrap_or_default().lines() {
        let _ = writeln!(text, "# {line}");
    }
    let possible: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !possible.is_empty() && arg.get_action().takes_values() {
        let _ = writeln!(text, "# One of {}.", possible.join(", "));
    }
    let option = arg.get_long().unwrap_or_default();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| toml(&value.to_string_lossy())).collect();
    let value = match (arg.get_action(), defaults.as_slice()) {
        (ArgAction::Append, defaults) => format!("[{}]", defaults.join(", ")),
        (action, _) if !action.takes_values() => "false".to_owned(),
        (_, [one]) => one.clone(),
        // What has no default has the name of what may stand there.
        _ => {
            let names = arg.get_value_names().unwrap_or_default();
            format!("\"{}\"", names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "))
        }
    };
    let _ = writeln!(text, "#{option} = {value}\n");
    text
}
