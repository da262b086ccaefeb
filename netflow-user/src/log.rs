//! The log, on standard error or in the journal: how it is written, and how much of it, which may change while the
//! agent runs.

mod level;
mod limit;

use std::{
    env,
    io::{self, Write},
    sync::OnceLock,
};

use clap::ValueEnum;
use rustix::fs::fstat;
use tracing::warn;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{
    Layer as _, Registry, filter::LevelFilter, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

pub use self::level::Level;
use self::limit::Limit;

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Form {
    /// As journal where standard error leads to it, else as text
    Auto,
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
    /// Entries of systemd's journal, with their priorities
    Journal,
}

/// What changes the level of the log that was started.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts the log, once, and returns how it is written. Standard output belongs to flows.
///
/// # Errors
/// The journal is wanted, and there is none.
pub fn start(level: Level, form: Form) -> io::Result<Form> {
    let form = match form {
        Form::Auto if is_journal() && journal().is_ok() => Form::Journal,
        Form::Auto => Form::Text,
        form => form,
    };
    let (filter, handle) = reload::Layer::new(level.filter());
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(|| OneLine(io::stderr())).with_target(false);
    match form {
        Form::Json => log.with(lines.json().with_filter(Limit)).init(),
        Form::Journal => log.with(journal()?.with_filter(Limit)).init(),
        Form::Text | Form::Auto => log.with(lines.with_ansi(false).with_filter(Limit)).init(),
    }
    let _ = LEVEL.set(handle);
    Ok(form)
}

/// Logs so much from now on.
///
/// # Errors
/// The log was not started here.
pub fn set_level(level: Level) -> Result<(), String> {
    let handle = LEVEL.get().ok_or_else(|| "the log has no level that can be changed".to_owned())?;
    handle.reload(level.filter()).map_err(|error| error.to_string())?;
    ::log::set_max_level(level.of_others());
    Ok(())
}

/// Says how many lines were not logged, as one place had logged too many; `is_end`: there is no later time to.
pub fn say_left_out(is_end: bool) {
    for (lines, first) in limit::left_out(is_end) {
        warn!("{lines} more lines like this one are left out of the log: {first}");
    }
}

fn journal() -> io::Result<tracing_journald::Layer> {
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    Ok(tracing_journald::layer()?
        .with_syslog_identifier("netflow".to_owned())
        .with_priority_mappings(priorities))
}

/// Whether standard error is the journal's, as `$JOURNAL_STREAM` says by its device and inode (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Writes what it gets at once as one line, whatever names and other people's words are in it.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let end = line.len() - usize::from(line.ends_with(b"\n"));
        if line[..end].iter().any(u8::is_ascii_control) {
            let mut clean = line.to_vec();
            clean[..end].iter_mut().filter(|octet| octet.is_ascii_control()).for_each(|octet| *octet = b' ');
            self.0.write_all(&clean)?;
        } else {
            self.0.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let mut out = OneLine(Vec::new());
        out.write_all(b"eth0\n2026 ERROR forged\x1b[31m\n").expect("memory takes it");
        out.write_all(b"next\n").expect("memory takes it");
        assert_eq!(out.0, b"eth0 2026 ERROR forged [31m\nnext\n");
    }
}
