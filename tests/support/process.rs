//! Child processes: their output goes to files, every wait has a limit, and dropping one kills it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a short command may take.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(5);

/// A running child process.
pub struct Process {
    name: String,
    child: Child,
    directory: TempDir,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a command, without input.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let name = format!("{command:?}");
        let directory = tempfile::Builder::new().prefix("netflow-test-").tempdir()?;
        let output = |file| File::create(directory.path().join(file));
        let child = command
            .stdin(Stdio::null())
            .stdout(output(STDOUT)?)
            .stderr(output(STDERR)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, directory })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A directory that lasts as long as the process.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has written to its standard output so far.
    pub fn stdout(&self) -> String {
        self.output(STDOUT)
    }

    /// What it has written to its standard error so far.
    pub fn stderr(&self) -> String {
        self.output(STDERR)
    }

    fn output(&self, file: &str) -> String {
        let octets = fs::read(self.directory.path().join(file)).unwrap_or_default();
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// Waits until it has written a line with `text` to its standard error.
    pub fn wait_for_stderr(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let ended = self.child.try_wait()?;
            let stderr = self.stderr();
            if stderr.contains(text) {
                return Ok(());
            }
            if let Some(status) = ended {
                bail!("{} ended ({status}) before it said '{text}':\n{stderr}{}", self.name, self.stdout());
            }
            if Instant::now() > deadline {
                bail!("{} did not say '{text}' within {timeout:?}:\n{stderr}{}", self.name, self.stdout());
            }
            thread::sleep(POLL);
        }
    }

    /// Sends a signal; one that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // Until it is waited for, its id cannot be another's.
        if self.child.try_wait()?.is_none() {
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
            kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to {}", self.name))?;
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub fn finish(mut self, timeout: Duration) -> Result<Finished> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Finished { status, stdout: self.stdout(), stderr: self.stderr() });
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {timeout:?}:\n{}{}", self.name, self.stderr(), self.stdout());
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails where it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// Runs a command to its end and demands its success.
pub fn run(command: Command) -> Result<Finished> {
    let name = format!("{command:?}");
    let finished = Process::spawn(command)?.finish(COMMAND_TIMEOUT)?;
    if !finished.status.success() {
        bail!("{name}: {}: {}{}", finished.status, finished.stderr.trim(), finished.stdout.trim());
    }
    Ok(finished)
}

/// A command with its arguments.
pub fn command<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn output_and_exit_code_of_a_process_are_kept() {
        let shell = command("sh", ["-c", "echo out; echo err >&2; exit 3"]);
        let finished = Process::spawn(shell).unwrap().finish(COMMAND_TIMEOUT).unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        let error = run(command("sh", ["-c", "echo because >&2; false"])).unwrap_err().to_string();
        assert!(error.ends_with("exit status: 1: because"), "{error}");
    }

    #[test]
    fn a_process_does_not_outlive_its_owner_nor_its_limit() {
        let mut process = Process::spawn(command("sleep", ["60"])).unwrap();
        assert!(process.wait_for_stderr("nothing", Duration::from_millis(20)).is_err());
        let id = process.id();
        let error = process.finish(Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("did not end within 20ms"), "{error}");
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
