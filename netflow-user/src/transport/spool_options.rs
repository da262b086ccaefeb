//! What is to become of messages while a Collector is away.

use std::path::PathBuf;

/// Octets that wait on disk at most, unless another number is given.
pub(super) const DEFAULT_SIZE: u64 = 1 << 30;
/// Octets per second that go back from disk, unless another number is given.
pub(super) const DEFAULT_RATE: u64 = 8 << 20;
/// Less than a message of the longest kind, or too slow to ever end.
pub(super) const LEAST: u64 = 1 << 16;

/// A spool of IPFIX Files.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct SpoolOptions {
    /// Where the files are; `None`: there is no spool.
    pub directory: Option<PathBuf>,
    /// Octets that wait there at most.
    pub size: u64,
    /// Octets per second that go to the Collector when it is back.
    pub rate: u64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self { directory: None, size: DEFAULT_SIZE, rate: DEFAULT_RATE }
    }
}
