//! Other programs: where they are, how they run as root, what is said while they work.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context as _, Result, bail};

use crate::bpf_toolchain::find_command;

/// How often a long step says that it is still at work.
const PROGRESS: Duration = Duration::from_secs(10);
/// How much of a failed step's output is shown.
const TAIL_LINES: usize = 15;

/// The command's file, in `PATH` or where root's programs are: a normal user's `PATH` often lacks sbin.
pub fn find(name: &str) -> Option<PathBuf> {
    find_command(name, &env::var_os("PATH").unwrap_or_default())
        .or_else(|| find_command(name, OsStr::new("/usr/local/sbin:/usr/sbin:/sbin")))
}

/// cargo, the one that runs this.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // .cargo/config.toml keeps build scripts' cargo quiet; people at the terminal want to see progress.
    command.env_remove("CARGO_TERM_QUIET");
    command
}

/// Whether this process is root.
pub fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_uid(&status) == Some(0))
}

fn effective_uid(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

/// What has to stand before a command so that it runs as root: nothing, or sudo.
pub fn sudo(why: &str) -> Result<&'static [&'static str]> {
    if is_root() {
        return Ok(&[]);
    }
    if find("sudo").is_none() {
        bail!("{why} needs root, and there is no sudo: run this as root");
    }
    static SAID: Once = Once::new();
    SAID.call_once(|| eprintln!("{why} needs root: goes through sudo, which may ask for your password"));
    Ok(&["sudo"])
}

/// A command that runs as root.
pub fn as_root(program: impl AsRef<OsStr>, why: &str) -> Result<Command> {
    let mut words = sudo(why)?.iter().map(OsStr::new).chain([program.as_ref()]);
    let mut command = Command::new(words.next().context("an empty command")?);
    command.args(words);
    Ok(command)
}

/// The directory cargo builds into, told from where this very program lies: `TARGET/debug/xtask`.
pub fn target_dir() -> Result<PathBuf> {
    let this = env::current_exe().context("cannot tell where xtask lies")?;
    let target = this.parent().and_then(Path::parent).context("xtask lies outside of a target directory")?;
    Ok(target.to_owned())
}

/// The workspace.
pub fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(here).parent().map(Path::to_owned).unwrap_or_default()
}

/// Runs `command` with its output on the terminal.
pub fn show(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", words(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", words(command));
    }
    Ok(())
}

/// What `command` printed; `None` if it cannot be started or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Runs a step that may take long: says what it does, says regularly that it still does it, and keeps the output in
/// a file of which the end is shown when the step fails.
pub fn step(what: &str, command: &mut Command) -> Result<()> {
    let log = log_file(what)?;
    eprintln!("{what} ...");
    let started = Instant::now();
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = output.try_clone().context("cannot share the log file")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("{what}: cannot start {}", words(command)))?;
    let mut said = started;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("{what}: cannot wait"))? {
            break status;
        }
        thread::sleep(Duration::from_millis(50));
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            eprintln!("  {} s: {}", started.elapsed().as_secs(), tail(&read_lossy(&log), 1).trim());
        }
    };
    if status.success() {
        eprintln!("  done in {:.1} s", started.elapsed().as_secs_f32());
        return Ok(());
    }
    let text = read_lossy(&log);
    eprintln!("{}", tail(&text, TAIL_LINES));
    let hint = if is_network_failure(&text) { ": the network does not answer" } else { "" };
    bail!("{what} failed ({status}){hint}; the whole output is in {}", log.display());
}

fn log_file(what: &str) -> Result<PathBuf> {
    let directory = target_dir()?.join("xtask");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let name: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Ok(directory.join(format!("{}.log", &name[..name.len().min(60)])))
}

fn read_lossy(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

/// The last `count` lines that are not empty.
fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn is_network_failure(text: &str) -> bool {
    const SIGNS: [&str; 9] = [
        "Temporary failure resolving",
        "Temporary failure in name resolution",
        "error sending request",
        "Could not resolve",
        "Couldn't resolve host",
        "Could not connect",
        "Failed to connect",
        "Connection timed out",
        "Network is unreachable",
    ];
    SIGNS.iter().any(|sign| text.contains(sign))
}

/// The command as one would type it.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words: Vec<_> =
        [program].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_user_is_the_second_id() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n"), Some(0));
        assert_eq!(effective_uid("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_uid("Name:\tx\n"), None);
    }

    #[test]
    fn tail_leaves_out_empty_lines() {
        assert_eq!(tail("a\n\nb\nc\n\n", 2), "b\nc");
        assert_eq!(tail("", 3), "");
    }

    #[test]
    fn network_failures_of_apt_cargo_and_rustup_are_told_from_others() {
        assert!(is_network_failure("Err:1 Temporary failure resolving 'mirror'"));
        assert!(is_network_failure("[6] Could not resolve hostname (Could not resolve host: x)"));
        assert!(is_network_failure(
            "error sending request for url (x): Temporary failure in name resolution"
        ));
        assert!(!is_network_failure("E: Unable to locate package rustc-web"));
    }

    #[test]
    fn commands_are_shown_as_typed() {
        assert_eq!(
            words(Command::new("/opt/bin/cargo").args(["test", "-p", "tests"])),
            "`cargo test -p tests`"
        );
    }
}
