//! What is written where: flows, books, the log.

use std::path::PathBuf;

use clap::Args;

use super::words::Format;
use crate::log::{Form, Level};

/// What is written where.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// How flows are printed where no collector is given
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Write the books to this file as JSON, at every drain and at exit
    #[arg(long, value_name = "PATH")]
    pub ledger_file: Option<PathBuf>,
    /// Log.
    #[command(flatten)]
    pub log: Log,
}

/// The log, on standard error or in the journal.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Log {
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: Level,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", default_value = "auto", hide_short_help = true)]
    pub log_format: Form,
}
