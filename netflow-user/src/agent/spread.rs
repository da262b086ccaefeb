//! How fast records go where the operator says no rate: slowly enough for a collector's socket, fast enough for the
//! queue.
//!
//! In: how many records wait. Out: records per second. This module refuses to know what they wait for.

use std::time::Duration;

use super::queue::QUEUE_RECORDS;

/// What every collector takes, in records per second: a receive buffer of the usual 208 KiB holds some 90 datagrams,
/// which is how much comes at this rate in 40 ms. So long may a busy machine keep a collector from reading.
pub(super) const CALM: u64 = 50_000;
/// A burst up to this many records, half of a queue, is not worth hurrying for.
const CALM_RECORDS: u64 = QUEUE_RECORDS / 2;

/// Records per second while so many wait in a queue of this limit: at the calm rate, and what is above half of the queue within four fifths of
/// a drain interval, so that a flow of records that is faster than calm finds its own rate before the queue is full.
pub(super) fn rate(waiting: u64, limit: u64, interval: Duration) -> u64 {
    let above = waiting.saturating_sub(limit / 2);
    CALM + (above as f64 / (interval.as_secs_f64() * 0.8)) as u64
}

/// How long so many records take at most, at a drain interval.
pub(super) fn time(waiting: u64, interval: Duration) -> Duration {
    // What is above half of the queue shrinks to a hundredth of itself meanwhile.
    interval * 4 + Duration::from_secs(waiting.min(CALM_RECORDS).div_ceil(CALM))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    /// Records that wait after some seconds in which `arriving` come each second, from `waiting` on.
    fn after(seconds: u32, arriving: u64, waiting: u64) -> u64 {
        (0..seconds * 100).fold(waiting, |waiting, _| {
            (waiting + arriving / 100).saturating_sub(rate(waiting, QUEUE_RECORDS, INTERVAL) / 100)
        })
    }

    #[test]
    fn a_burst_of_half_a_million_goes_at_the_calm_rate() {
        assert_eq!(rate(500_000, QUEUE_RECORDS, INTERVAL), CALM);
        assert!(after(10, 0, 500_000) == 0 && after(9, 0, 500_000) > 0);
    }

    #[test]
    fn more_than_the_calm_rate_finds_its_own_before_the_queue_is_full() {
        for arriving in [60_000, 200_000, 600_000] {
            let waiting = after(60, arriving, 0);
            assert!(waiting < QUEUE_RECORDS, "{arriving}: {waiting}");
            assert!(rate(waiting, QUEUE_RECORDS, INTERVAL).abs_diff(arriving) < arriving / 20, "{arriving}");
        }
    }

    #[test]
    fn a_full_queue_is_empty_in_the_time_that_a_shutdown_gives() {
        for waiting in [1, 50_000, 500_000, QUEUE_RECORDS] {
            let seconds = time(waiting, INTERVAL).as_secs() as u32;
            assert_eq!(after(seconds, 0, waiting), 0, "{waiting}");
        }
    }
}
