//! sysUpTime, the millisecond clock that v5 and v9 state flow times in.
//!
//! In: an instant on both clocks and the origin of sysUpTime. Out: a header's two times and the flow
//! times that go with them. This module refuses to read a clock.

use crate::time::{Instant, MonotonicNanos};

const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The instant of a v9 header, as sysUpTime and as UNIX Secs, and flow times relative to it.
///
/// The header has no room for a fraction of a second, yet both of its times are one instant (RFC 3954
/// section 5.1; conformance V9-HDR-4), and a collector computes a flow's time as
/// `UNIX Secs - (sysUpTime - t)`. If sysUpTime were that of *now*, all flow times would be early by
/// now's fraction of a second (V9-HDR-5). So the instant stated is the *next* whole second of the wall
/// clock, with the sysUpTime of that very instant: collectors find the same milliseconds that IPFIX
/// would state. The next and not the last one, because Last <= sysUpTime must hold (V5-REC-2), also
/// for a packet of just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SysUpTime {
    /// Whole seconds since 1970 UTC, modulo 2^32.
    pub unix_secs: u32,
    /// Milliseconds since the origin, modulo 2^32: it wraps every 49.7 days.
    pub milliseconds: u32,
    /// Nanoseconds behind `unix_secs`; v5 states them.
    pub unix_nsecs: u32,
    instant: MonotonicNanos,
}

impl SysUpTime {
    /// The whole second that `now` is on the way to; `now` itself if it is one.
    pub fn at_next_second(now: Instant, origin: MonotonicNanos) -> Self {
        Self::at_next(NANOS_PER_SECOND, now, origin)
    }

    /// The whole millisecond that `now` is on the way to: for v5, whose header has room for it.
    pub fn at_next_millisecond(now: Instant, origin: MonotonicNanos) -> Self {
        Self::at_next(NANOS_PER_MILLI as u64, now, origin)
    }

    fn at_next(step: u64, now: Instant, origin: MonotonicNanos) -> Self {
        let unix_nanos = now.unix_nanos.div_ceil(step).wrapping_mul(step);
        let ahead = unix_nanos.wrapping_sub(now.unix_nanos);
        let instant = MonotonicNanos(now.monotonic.0.wrapping_add(ahead));
        Self {
            unix_secs: (unix_nanos / NANOS_PER_SECOND) as u32,
            unix_nsecs: (unix_nanos % NANOS_PER_SECOND) as u32,
            // Rounded up: flow times are rounded down from here, and the origin's own must come out as 0, not as -1.
            milliseconds: -nanos_between(instant, origin).div_euclid(NANOS_PER_MILLI) as u32,
            instant,
        }
    }

    /// sysUpTime of another instant, modulo 2^32. It lies whole milliseconds from the header's, so that
    /// the wall-clock time computed from it is that of [`Instant::unix_millis_of`], not one beside it.
    pub fn of(&self, other: MonotonicNanos) -> u32 {
        self.milliseconds.wrapping_add(nanos_between(self.instant, other).div_euclid(NANOS_PER_MILLI) as u32)
    }
}

/// Nanoseconds from `start` to `end`, negative if `end` is earlier; instants within 292 years.
fn nanos_between(start: MonotonicNanos, end: MonotonicNanos) -> i64 {
    end.0.wrapping_sub(start.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01 00:00:00 UTC.
    const SECOND: u64 = 1_767_225_600;

    fn now(monotonic: u64, nanos_of_second: u64) -> Instant {
        Instant {
            monotonic: MonotonicNanos(monotonic),
            unix_nanos: SECOND * NANOS_PER_SECOND + nanos_of_second,
        }
    }

    #[test]
    fn both_times_of_the_header_are_the_next_whole_second() {
        // V9-HDR-4
        let up = SysUpTime::at_next_second(now(10_250_000_000, 250_000_000), MonotonicNanos(1_000_000_000));
        assert_eq!((up.unix_secs, up.milliseconds), (SECOND as u32 + 1, 10_000));
    }

    #[test]
    fn both_times_of_a_v5_header_are_the_next_whole_millisecond() {
        // V5-HDR-4
        let up =
            SysUpTime::at_next_millisecond(now(10_250_400_000, 250_400_000), MonotonicNanos(1_000_000_000));
        assert_eq!((up.unix_secs, up.unix_nsecs, up.milliseconds), (SECOND as u32, 251_000_000, 9_251));
        for age in [0, 1, 400_000, 999_999, 12_345_678] {
            let (time, now) = (MonotonicNanos(10_250_400_000 - age), now(10_250_400_000, 250_400_000));
            let header = u64::from(up.unix_secs) * 1000 + u64::from(up.unix_nsecs) / 1_000_000;
            let computed = header - u64::from(up.milliseconds.wrapping_sub(up.of(time)));
            assert_eq!(computed, now.unix_millis_of(time).0, "{age}");
        }
    }

    #[test]
    fn a_whole_second_is_its_own_instant() {
        let up = SysUpTime::at_next_second(now(10_000_000_000, 0), MonotonicNanos(1_000_000_000));
        assert_eq!((up.unix_secs, up.milliseconds), (SECOND as u32, 9_000));
    }

    #[test]
    fn computed_flow_times_are_those_of_the_wall_clock_to_the_millisecond() {
        // V9-HDR-5
        for (monotonic, nanos_of_second) in
            [(77_123_456_789, 1), (77_123_456_789, 999_999_999), (77_000_000_000, 0)]
        {
            let now = now(monotonic, nanos_of_second);
            let up = SysUpTime::at_next_second(now, MonotonicNanos(3_333_333));
            for age in [0, 1, 499_999, 999_999, 1_000_000, 1_000_001, 12_345_678_901] {
                let time = MonotonicNanos(monotonic - age);
                let computed =
                    u64::from(up.unix_secs) * 1000 - u64::from(up.milliseconds.wrapping_sub(up.of(time)));
                assert_eq!(computed, now.unix_millis_of(time).0, "{now:?} {age}");
            }
        }
    }

    #[test]
    fn the_origin_is_time_zero_and_nothing_after_it_is_earlier() {
        // A negative time would read as 49.7 days after the header.
        for nanos_of_milli in [0, 1, 265_000, 999_999] {
            let origin = MonotonicNanos(3_000_000_000 + nanos_of_milli);
            let now = now(origin.0 + 44_505_000_735, 1_735);
            let up = SysUpTime::at_next_second(now, origin);
            assert_eq!(up.of(origin), 0);
            assert_eq!(up.of(MonotonicNanos(origin.0 + 1)), 0);
            assert!(up.of(now.monotonic) <= up.milliseconds);
        }
    }

    #[test]
    fn a_flow_never_ends_after_the_header() {
        // V5-REC-2, METER-TIME-2
        let now = now(5_000_000_123, 999_999_999);
        let up = SysUpTime::at_next_second(now, MonotonicNanos(0));
        assert!(up.milliseconds.wrapping_sub(up.of(now.monotonic)) < 1000);
    }

    #[test]
    fn durations_survive_the_wrap_of_the_clock() {
        // V9-TIME-1: sysUpTime starts at 2^32 - 5000 ms, the flow lasts from 3 s before the wrap to 4 s after it.
        let start = MonotonicNanos(60_000_000_000);
        let origin = MonotonicNanos(start.0.wrapping_sub(((1 << 32) - 5000) * 1_000_000));
        let up = SysUpTime::at_next_second(now(start.0 + 9_000_000_000, 0), origin);
        let first = up.of(MonotonicNanos(start.0 + 2_000_000_000));
        let last = up.of(MonotonicNanos(start.0 + 9_000_000_000));
        assert_eq!(first, u32::MAX - 2999);
        assert_eq!((last, up.milliseconds), (4000, 4000));
        assert_eq!(last.wrapping_sub(first), 7000);
    }
}
