//! `run` and `build`: the release binary, built as the invoking user, run as root where it needs to be.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{process, setup};

/// The agent's subcommands.
const SUBCOMMANDS: [&str; 14] = [
    "run",
    "read",
    "collect",
    "config",
    "show",
    "explain",
    "expire",
    "clear",
    "send-templates",
    "log-level",
    "reload",
    "doctor",
    "top",
    "help",
];
/// Options that need no subcommand.
const GLOBAL_OPTIONS: [&str; 4] = ["-h", "--help", "-V", "--version"];

/// Sets up and builds; the binary's path.
pub fn build() -> Result<PathBuf> {
    setup::setup()?;
    release_binary()
}

/// Builds the release binary.
pub fn release_binary() -> Result<PathBuf> {
    eprintln!("building the release binary; the first time takes a minute or two");
    process::show(process::cargo().args(["build", "--release", "--package", "netflow-user"]))?;
    Ok(process::target_dir()?.join("release/netflow"))
}

/// Sets up, builds, and becomes the agent: its signals and its exit code are the agent's own.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let arguments = agent_arguments(arguments)?;
    let binary = build()?;
    let mut command = if needs_root(&arguments) {
        process::as_root(&binary, "metering an interface")?
    } else {
        Command::new(&binary)
    };
    let error = command.args(&arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", binary.display()))
}

/// What the agent is given: everything behind `--`, with `run` in front where no subcommand is named.
fn agent_arguments(arguments: &[String]) -> Result<Vec<String>> {
    let split = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let (own, handed_on) = arguments.split_at(split);
    // The release build is the default; who says so is right.
    if let Some(unknown) = own.iter().find(|argument| *argument != "--release") {
        bail!("`run` does not know `{unknown}`: the agent's arguments stand behind `--`");
    }
    let handed_on = handed_on.get(1..).unwrap_or_default();
    let named = handed_on.first().is_some_and(|first| {
        SUBCOMMANDS.contains(&first.as_str()) || GLOBAL_OPTIONS.contains(&first.as_str())
    });
    let subcommand = if named { None } else { Some("run".to_owned()) };
    Ok(subcommand.into_iter().chain(handed_on.iter().cloned()).collect())
}

/// Only metering an interface needs root; reading a file, collecting and help do not.
fn needs_root(arguments: &[String]) -> bool {
    let asks_for_help = arguments.iter().any(|argument| argument == "-h" || argument == "--help");
    arguments.first().is_some_and(|first| first == "run") && !asks_for_help
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn agent(line: &str) -> Vec<String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        agent_arguments(&arguments).unwrap()
    }

    #[test]
    fn without_arguments_the_agent_runs() {
        assert_eq!(agent(""), ["run"]);
        assert_eq!(agent("--release"), ["run"]);
        assert_eq!(agent("--"), ["run"]);
    }

    #[test]
    fn options_alone_are_options_of_run() {
        assert_eq!(agent("-- -i eth1 --tap"), ["run", "-i", "eth1", "--tap"]);
    }

    #[test]
    fn a_named_subcommand_stays() {
        assert_eq!(agent("-- read a.pcap"), ["read", "a.pcap"]);
        assert_eq!(agent("-- run -i eth1"), ["run", "-i", "eth1"]);
        assert_eq!(agent("-- collect --listen x"), ["collect", "--listen", "x"]);
        assert_eq!(agent("--release -- --version"), ["--version"]);
    }

    #[test]
    fn a_second_separator_belongs_to_the_agent() {
        assert_eq!(agent("-- read -- --odd.pcap"), ["read", "--", "--odd.pcap"]);
    }

    #[test]
    fn arguments_before_the_separator_are_refused() {
        let error = agent_arguments(&["-i".to_owned(), "eth1".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("behind `--`"), "{error}");
    }

    #[test]
    fn only_metering_an_interface_needs_root() {
        assert!(needs_root(&agent("")));
        assert!(needs_root(&agent("-- -i eth1")));
        assert!(!needs_root(&agent("-- run --help")));
        assert!(!needs_root(&agent("-- read a.pcap")));
        assert!(!needs_root(&agent("-- --help")));
    }
}
