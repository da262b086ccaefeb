//! The log, on standard error: how it is written, and how much of it, which may change while the agent runs.

use std::{io, sync::OnceLock};

pub use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

/// What changes the level of the log that was started.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts the log, once. Standard output belongs to flows.
pub fn start(level: LevelFilter, is_json: bool) {
    let (filter, handle) = reload::Layer::new(level);
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let log = tracing_subscriber::registry().with(filter);
    if is_json {
        log.with(lines.json()).init();
    } else {
        log.with(lines.with_ansi(false)).init();
    }
    let _ = LEVEL.set(handle);
}

/// Logs so much from now on.
///
/// # Errors
/// The log was not started here.
pub fn set_level(level: LevelFilter) -> Result<(), String> {
    let handle = LEVEL.get().ok_or_else(|| "the log has no level that can be changed".to_owned())?;
    handle.reload(level).map_err(|error| error.to_string())?;
    // That of what comes by the other crate, such as the kernel's messages.
    ::log::set_max_level(match level.into_level() {
        None => ::log::LevelFilter::Off,
        Some(tracing::Level::ERROR) => ::log::LevelFilter::Error,
        Some(tracing::Level::WARN) => ::log::LevelFilter::Warn,
        Some(tracing::Level::INFO) => ::log::LevelFilter::Info,
        Some(tracing::Level::DEBUG) => ::log::LevelFilter::Debug,
        Some(tracing::Level::TRACE) => ::log::LevelFilter::Trace,
    });
    Ok(())
}
