//! The agent as a process: the binary that users get, in a namespace of the test.

use std::env;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
pub use rustix::process::Signal;
use tempfile::TempDir;

use crate::lab::Namespace;
use crate::ledger::Ledger;
use crate::process::{Finished, Process};

/// What it says on standard error once its program is attached.
const METERING: &str = "metering";

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(60);
/// The longest timeout of a test, on a machine that is busy.
const LEDGER_WAIT: Duration = Duration::from_secs(60);

/// A running `netflow run` or `netflow read`.
pub struct AgentProcess {
    process: Process,
    directory: TempDir,
}

/// An agent that has ended.
#[derive(Debug)]
pub struct StoppedAgent {
    /// Its exit code; `None` if a signal killed it.
    pub exit_code: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    /// Its last books, if it wrote any.
    pub ledger: Option<Ledger>,
}

/// The agent's binary: NETFLOW_BINARY, or the release build beside this test's.
pub fn binary() -> Result<PathBuf> {
    let binary = match env::var_os("NETFLOW_BINARY") {
        Some(binary) => PathBuf::from(binary),
        None => {
            // target/debug/deps/test-0123456789abcdef, or a program of ours: target/debug/vm-guest
            let test = env::current_exe()?;
            let mut above = test.ancestors().skip(1).filter(|path| !path.ends_with("deps"));
            let target = above.nth(1).context("the test is not in a target directory")?;
            target.join("release/netflow")
        }
    };
    ensure!(
        binary.is_file(),
        "{} is missing: cargo build --release, or set NETFLOW_BINARY",
        binary.display()
    );
    Ok(binary)
}

impl AgentProcess {
    /// Starts `netflow run` with these arguments and a ledger file, and waits until it meters.
    pub fn start(namespace: &Namespace, arguments: &[&str]) -> Result<Self> {
        let mut agent = Self::spawn(namespace, arguments)?;
        agent.process.wait_for_stderr(METERING, START)?;
        Ok(agent)
    }

    /// Starts it and does not wait: for command lines that it should refuse.
    pub fn spawn(namespace: &Namespace, arguments: &[&str]) -> Result<Self> {
        Self::spawn_binary(&binary()?, namespace, &["run"], arguments)
    }

    /// Runs `netflow read` on a capture file with these arguments and a ledger file to its end.
    pub fn read(namespace: &Namespace, file: &Path, arguments: &[&str]) -> Result<StoppedAgent> {
        let file = file.to_str().context("the capture's path is no text")?;
        let arguments = [&[file][..], arguments].concat();
        Self::spawn_binary(&binary()?, namespace, &["read"], &arguments)?.finish(STOP)
    }

    /// Starts another program that takes some words of its own and then the agent's command line, and waits until
    /// it meters.
    pub fn start_program(
        program: &Path,
        namespace: &Namespace,
        words: &[&str],
        arguments: &[&str],
    ) -> Result<Self> {
        let words = [words, &["run"]].concat();
        let mut agent = Self::spawn_binary(program, namespace, &words, arguments)?;
        agent.process.wait_for_stderr(METERING, START)?;
        Ok(agent)
    }

    fn spawn_binary(
        binary: &Path,
        namespace: &Namespace,
        words: &[&str],
        arguments: &[&str],
    ) -> Result<Self> {
        let binary = binary.to_str().context("the binary's path is no text")?;
        let directory = tempfile::Builder::new().prefix("netflow-agent-").tempdir()?;
        let ledger = directory.path().join(LEDGER);
        let ledger = ledger.to_str().context("a temporary directory whose name is no text")?;
        let arguments = [words, &["--ledger-file", ledger], arguments].concat();
        Ok(Self { process: namespace.spawn(binary, &arguments)?, directory })
    }

    /// Its process, for signals and its output so far.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its books at the last flip.
    pub fn ledger(&self) -> Result<Ledger> {
        Ledger::read(&self.directory.path().join(LEDGER))
    }

    /// Waits until its books say so. A ledger that does not balance is an error at once.
    pub fn wait_for_ledger(&self, what: &str, so: impl Fn(&Ledger) -> Result<bool>) -> Result<Ledger> {
        let deadline = Instant::now() + LEDGER_WAIT;
        loop {
            let ledger = self.ledger()?;
            ensure!(ledger.0["balanced"] == true, "not balanced: {}", ledger.0);
            if so(&ledger)? {
                return Ok(ledger);
            }
            ensure!(Instant::now() < deadline, "no {what} within {LEDGER_WAIT:?}: {}", ledger.0);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal (SIGINT or SIGTERM) and waits for its end.
    pub fn stop(mut self, signal: Signal) -> Result<StoppedAgent> {
        self.process.signal(signal)?;
        self.finish(STOP)
    }

    /// Waits for its end.
    pub fn finish(self, timeout: Duration) -> Result<StoppedAgent> {
        let Finished { status, stdout, stderr } = self.process.finish(timeout)?;
        let ledger = self.directory.path().join(LEDGER);
        let ledger = if ledger.exists() { Some(Ledger::read(&ledger)?) } else { None };
        Ok(StoppedAgent { exit_code: status.code(), stdout, stderr, ledger })
    }
}

const LEDGER: &str = "ledger.json";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Says that it meters, writes its arguments, and stops as asked; `exit` makes it fail at once.
    const STAND_IN: &str = r#"#!/bin/sh
echo "$@"
[ "$4" = exit ] && { echo "no such interface" >&2; exit 1; }
trap 'echo "{\"packets\": {\"seen\": 5}}" > "$3"; exit 0' INT
echo "metering" >&2
sleep 60 &
wait
"#;

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn an_agent_is_started_stopped_and_its_books_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("netflow");
        fs::write(&binary, STAND_IN).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let namespace = Namespace::new().unwrap();

        let mut agent = AgentProcess::spawn_binary(&binary, &namespace, &["run"], &["-i", "m0"]).unwrap();
        agent.process().wait_for_stderr(METERING, START).unwrap();
        assert!(agent.ledger().is_err());
        let stopped = agent.stop(Signal::INT).unwrap();
        assert_eq!(stopped.exit_code, Some(0));
        assert!(stopped.stdout.starts_with("run --ledger-file ") && stopped.stdout.ends_with(" -i m0\n"));
        assert_eq!(stopped.ledger.unwrap().number("/packets/seen").unwrap(), 5);

        let mut refused = AgentProcess::spawn_binary(&binary, &namespace, &["run"], &["exit"]).unwrap();
        let error = refused.process().wait_for_stderr(METERING, START).unwrap_err().to_string();
        assert!(error.contains("no such interface"), "{error}");
        let stopped = refused.finish(STOP).unwrap();
        assert_eq!((stopped.exit_code, stopped.stderr.as_str()), (Some(1), "no such interface\n"));
        assert!(stopped.ledger.is_none());
    }
}
