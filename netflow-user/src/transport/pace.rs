//! A limit on the rate of something, kept by waiting: for a sender that has more to send than a
//! collector can read, such as a capture file read at full speed.

use std::time::Duration;

use crate::time::MonotonicNanos;

const SECOND: u64 = 1_000_000_000;

/// A token bucket that owns no clock and never sleeps: it says how long the caller has to wait.
#[derive(Clone, Debug)]
pub struct Pace {
    per_second: u64,
    /// How far the schedule may lag behind the clock: the bucket's size, as a time.
    slack: u64,
    /// When everything allowed so far is due, in nanoseconds.
    due: u64,
}

impl Pace {
    /// `per_second` items a second, of which up to `burst` may go at once. The rate is at least 1.
    pub fn new(per_second: u64, burst: u64) -> Self {
        let per_second = per_second.max(1);
        Self { per_second, slack: nanos(burst, per_second), due: 0 }
    }

    /// Another rate from now on; what is owed stays owed.
    pub fn set_rate(&mut self, per_second: u64, burst: u64) {
        *self = Self { due: self.due, ..Self::new(per_second, burst) };
    }

    /// Takes `items` out of the bucket and returns how long to wait before they may go. Debts add up:
    /// items taken at once wait in turn.
    pub fn take(&mut self, items: u64, now: MonotonicNanos) -> Duration {
        let start = self.due.max(now.0.saturating_sub(self.slack));
        self.due = start.saturating_add(nanos(items, self.per_second));
        self.owed(now)
    }

    /// Items a second.
    pub fn rate(&self) -> u64 {
        self.per_second
    }

    /// How long so many items take.
    pub fn time_of(&self, items: u64) -> Duration {
        Duration::from_nanos(nanos(items, self.per_second))
    }

    /// How long to wait until what was taken so far may have gone.
    pub fn owed(&self, now: MonotonicNanos) -> Duration {
        Duration::from_nanos(self.due.saturating_sub(now.0))
    }
}

fn nanos(items: u64, per_second: u64) -> u64 {
    u64::try_from(u128::from(items) * u128::from(SECOND) / u128::from(per_second)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 100 * SECOND;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_waits_in_turn() {
        let mut pace = Pace::new(1000, 100);
        let now = MonotonicNanos(START);
        assert_eq!(pace.take(100, now), Duration::ZERO);
        assert_eq!(pace.take(10, now), Duration::from_millis(10));
        assert_eq!(pace.take(10, now), Duration::from_millis(20));
        assert_eq!(pace.owed(MonotonicNanos(START + 15_000_000)), Duration::from_millis(5));
    }

    #[test]
    fn over_a_long_run_the_rate_is_kept() {
        let mut pace = Pace::new(50_000, 500);
        let mut now = START;
        for _ in 0..10_000 {
            now += u64::try_from(pace.take(25, MonotonicNanos(now)).as_nanos()).unwrap_or(u64::MAX);
        }
        // 250,000 items at 50,000 a second, less the first burst.
        assert_eq!(now - START, 5 * SECOND - 500 * (SECOND / 50_000));
    }

    #[test]
    fn an_idle_time_saves_up_one_burst_and_no_more() {
        let mut pace = Pace::new(1000, 100);
        pace.take(100, MonotonicNanos(START));
        let later = MonotonicNanos(START + 3600 * SECOND);
        assert_eq!(pace.take(101, later), Duration::from_millis(1));
    }
}
