//! Instants, and nothing that reads a clock: two kinds that never mix.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds of the kernel's monotonic clock (`ktime`, outside any time namespace). Never steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct MonotonicNanos(pub u64);

impl MonotonicNanos {
    /// The time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved on; the end of time instead of a wrap.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Milliseconds since 1970-01-01 UTC, without leap seconds (dateTimeMilliseconds, RFC 7011 section 6.1.8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

/// One instant on both clocks: what an Export Time and a sysUpTime are made from, and what turns a
/// monotonic time into a wall-clock time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Instant {
    /// On the monotonic clock.
    pub monotonic: MonotonicNanos,
    /// On the wall clock, in nanoseconds since 1970 UTC.
    pub unix_nanos: u64,
}

impl Instant {
    /// The wall-clock time in milliseconds, rounded down.
    pub fn unix_millis(&self) -> UnixMillis {
        UnixMillis(self.unix_nanos / 1_000_000)
    }

    /// The wall-clock time of another monotonic instant, by this reading's offset between the clocks,
    /// rounded down to milliseconds; 1970 for what would lie before it.
    pub fn unix_millis_of(&self, other: MonotonicNanos) -> UnixMillis {
        let nanos = i128::from(self.unix_nanos) + i128::from(other.0) - i128::from(self.monotonic.0);
        match u64::try_from(nanos) {
            // Every record takes this way: a division of 128 bits is a loop.
            Ok(nanos) => UnixMillis(nanos / 1_000_000),
            Err(_) => UnixMillis(u64::try_from(nanos / 1_000_000).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monotonic_time_takes_the_offset_of_the_reading() {
        let reading =
            Instant { monotonic: MonotonicNanos(5_000_000_000), unix_nanos: 1_767_225_600_000_000_000 };
        assert_eq!(reading.unix_millis_of(MonotonicNanos(3_000_000_000)), UnixMillis(1_767_225_598_000));
        assert_eq!(reading.unix_millis_of(MonotonicNanos(6_000_999_999)), UnixMillis(1_767_225_601_000));
        assert_eq!(Instant::default().unix_millis_of(MonotonicNanos(0)), UnixMillis(0));
        // Before 1970, and beyond 64 bits of nanoseconds.
        let early = Instant { unix_nanos: 1_000_000_000, ..reading };
        assert_eq!(early.unix_millis_of(MonotonicNanos(3_000_000_000)), UnixMillis(0));
        let far = reading.unix_millis_of(MonotonicNanos(u64::MAX));
        assert_eq!(far, UnixMillis(1_767_225_600_000 - 5000 + u64::MAX / 1_000_000));
    }
}
