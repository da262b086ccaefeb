//! How much is logged, changed while the agent runs.

use crate::log::{self, Level};

/// Logs so much from now on; says so.
pub(super) fn log_level(level: Level) -> Result<Vec<String>, String> {
    log::set_level(level)?;
    let mut lines = vec![format!("the log has level {level} now")];
    if level >= Level::Debug {
        lines.push(
            "why the kernel refuses packets is only told where the agent started with --log-level debug"
                .to_owned(),
        );
    }
    Ok(lines)
}
