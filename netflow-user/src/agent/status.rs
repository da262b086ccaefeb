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
    /// And all of them so far.
    pub latencies: Latencies,
    /// Time between flips, as asked for.
    pub drain_interval: Duration,
    /// How the destinations of the books are, in their order; nothing of those that have left, which come last there.
    pub collectors: Vec<CollectorState>,
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

/// How a destination is, as far as its session knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CollectorState {
    /// It takes messages, or nothing to the contrary is known.
    pub is_good: bool,
    /// Records that wait for it before further ones are turned away.
    pub queue_limit: u64,
}

/// How long the stages of flips took, since the agent started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Latencies {
    /// Of [`Timings::flip`].
    pub flip: Durations,
    /// Of [`Timings::drain`].
    pub drain: Durations,
    /// Of [`Timings::expire`].
    pub expire: Durations,
}

impl Latencies {
    /// One more flip.
    pub(super) fn enter(&mut self, timings: &Timings) {
        self.flip.enter(timings.flip);
        self.drain.enter(timings.drain);
        self.expire.enter(timings.expire);
    }
}

/// Times that something took: how many, by their length, and all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Durations {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

impl Durations {
    /// The longest time of each class but the last, which has none.
    pub const BOUNDS: [Duration; 13] = {
        let micros = [
            1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
            5_000_000, 10_000_000,
        ];
        let mut bounds = [Duration::ZERO; 13];
        let mut place = 0;
        while place < bounds.len() {
            bounds[place] = Duration::from_micros(micros[place]);
            place += 1;
        }
        bounds
    };

    /// One more.
    pub(super) fn enter(&mut self, time: Duration) {
        let class = Self::BOUNDS.iter().position(|bound| time <= *bound).unwrap_or(Self::BOUNDS.len());
        self.counts[class] += 1;
        self.sum += time;
    }

    /// How many there are of each class.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// The last picture, for any number of readers; `None` before the first flip.
pub type Statuses = watch::Receiver<Option<Arc<Status>>>;

/// Where pictures are shown.
pub(super) type Shown = watch::Sender<Option<Arc<Status>>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_of_the_first_class_that_takes_it() {
        let mut durations = Durations::default();
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
            durations.enter(Duration::from_micros(micros));
        }
        assert_eq!(durations.counts(), [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((durations.count(), durations.sum()), (5, Duration::from_micros(20_002_002)));
    }
}
