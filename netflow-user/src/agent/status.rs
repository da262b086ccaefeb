//! What the running agent shows of itself: one picture per flip, made by the metering thread, read by whoever asks.
//!
//! A reader takes the last picture and never holds the meter up. What needs more than a picture (single flows) is a
//! [`Command`](super::control::Command).

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    control::{InterfaceLine, TimingLines, Traffic},
    ledger::Books,
    time::UnixMillis,
};

/// The agent as of one flip.
#[derive(Clone, Debug)]
pub struct Status {
    /// When the flip was.
    pub at: UnixMillis,
    /// When the agent started.
    pub started: UnixMillis,
    /// The books, closed at the flip.
    pub books: Books,
    /// What the last flip took.
    pub timings: Timings,
    /// One in how many packets is metered since then.
    pub sampled_one_in: u32,
    /// What left as records.
    pub traffic: Traffic,
    /// What is metered, and what was drained of it.
    pub interfaces: Vec<InterfaceLine>,
}

/// What a flip takes of the metering thread's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timings {
    /// Changing the generation, and waiting until no program writes to the old one.
    pub flip: Duration,
    /// Emptying it and merging into the flow cache.
    pub drain: Duration,
    /// Ending flows and offering their records.
    pub expire: Duration,
}

impl From<&Timings> for TimingLines {
    fn from(timings: &Timings) -> Self {
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            flip_microseconds: microseconds(timings.flip),
            drain_microseconds: microseconds(timings.drain),
            expire_microseconds: microseconds(timings.expire),
        }
    }
}

/// The last picture, for any number of readers; `None` before the first flip.
pub type Statuses = watch::Receiver<Option<Arc<Status>>>;

/// Where pictures are shown.
pub(super) type Shown = watch::Sender<Option<Arc<Status>>>;
