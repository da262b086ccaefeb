//! How much is logged.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;

/// How much is logged, on the command line and on the control socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Failures
    Error,
    /// And what is amiss
    Warn,
    /// And what happens
    Info,
    /// And why the kernel refuses packets
    Debug,
    /// Everything
    Trace,
}

impl fmt::Display for Level {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter().fmt(to)
    }
}

impl Level {
    /// In tracing's words.
    pub(super) fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }

    /// In those of the other crate, by which the kernel's messages come.
    pub(super) fn of_others(self) -> log::LevelFilter {
        match self {
            Self::Error => log::LevelFilter::Error,
            Self::Warn => log::LevelFilter::Warn,
            Self::Info => log::LevelFilter::Info,
            Self::Debug => log::LevelFilter::Debug,
            Self::Trace => log::LevelFilter::Trace,
        }
    }
}
