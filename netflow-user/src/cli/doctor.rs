//! `netflow doctor`.

use clap::Args;

use super::Run;

pub(super) const DOCTOR: &str = "\
Write `doctor` in place of `run`, with the same options: it looks at this host, at the interfaces that would be metered and
at the collectors, changes nothing, and says of each thing whether it is ok, a warning or a fault, with a command
that helps. Without privileges it looks at what it may and says what it could not look at.

Exit codes: 0 no fault (warnings there may be), 1 a fault, 2 bad command line.";

/// `netflow doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print the findings as JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// What `netflow run` would be given.
    #[command(flatten)]
    pub run: Run,
}
