//! How much is logged, changed while the agent runs.

use crate::{control::Level, log};

/// Logs so much from now on; says so.
pub(super) fn log_level(level: Level) -> Result<Vec<String>, String> {
    let filter = match level {
        Level::Error => log::LevelFilter::ERROR,
        Level::Warn => log::LevelFilter::WARN,
        Level::Info => log::LevelFilter::INFO,
        Level::Debug => log::LevelFilter::DEBUG,
        Level::Trace => log::LevelFilter::TRACE,
    };
    log::set_level(filter)?;
    let mut lines = vec![format!("the log has level {filter} now")];
    if filter >= log::LevelFilter::DEBUG {
        lines.push(
            "why the kernel refuses packets is only told where the agent started with --log-level debug"
                .to_owned(),
        );
    }
    Ok(lines)
}
