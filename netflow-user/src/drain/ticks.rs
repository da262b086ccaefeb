//! From the kernel program's clock to nanoseconds: pure arithmetic on readings.

use netflow_common::ClockReading;

use crate::time::MonotonicNanos;

/// Timer frequencies that kernels are built with (`CONFIG_HZ`), in Hz.
const FREQUENCIES: [u64; 7] = [100, 200, 250, 300, 500, 1000, 1024];
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What a tick of the program's clock means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TickClock {
    /// `--clock precise`: ticks are nanoseconds.
    Nanos,
    /// `--clock jiffies`: the default.
    Jiffies {
        /// Length of a jiffy.
        nanos_per_jiffy: u64,
        /// The monotonic clock when jiffy 0 began, or would have (jiffies start near the 32-bit wrap).
        zero: i128,
    },
}

impl TickClock {
    /// Works out length and phase of the jiffies from readings that were taken in a row, over a
    /// tenth of a second or more; `None` if they span too little.
    pub fn from_readings(readings: &[ClockReading]) -> Option<Self> {
        let (first, last) = (readings.first()?, readings.last()?);
        let nanos = last.monotonic_nanos.checked_sub(first.monotonic_nanos)?;
        let jiffies = last.jiffies.checked_sub(first.jiffies)?;
        if nanos < NANOS_PER_SECOND / 20 || jiffies == 0 {
            return None;
        }
        let measured = jiffies * NANOS_PER_SECOND / nanos;
        let frequency = FREQUENCIES.into_iter().min_by_key(|frequency| frequency.abs_diff(measured))?;
        let nanos_per_jiffy = (NANOS_PER_SECOND + frequency / 2) / frequency;
        let mut clock = Self::Jiffies { nanos_per_jiffy, zero: i128::MAX };
        for reading in readings {
            clock.observe(reading);
        }
        Some(clock)
    }

    /// Learns from one more reading. A jiffy begins no later than it is first seen, so the earliest
    /// sighting comes nearest to its beginning.
    pub fn observe(&mut self, reading: &ClockReading) {
        if let Self::Jiffies { nanos_per_jiffy, zero } = self {
            let began = i128::from(reading.monotonic_nanos)
                - i128::from(reading.jiffies) * i128::from(*nanos_per_jiffy);
            *zero = began.min(*zero);
        }
    }

    /// The beginning of a tick on the monotonic clock: a time is rounded down by less than one tick.
    pub fn nanos(&self, ticks: u64) -> MonotonicNanos {
        match self {
            Self::Nanos => MonotonicNanos(ticks),
            Self::Jiffies { nanos_per_jiffy, zero } => {
                let nanos = zero + i128::from(ticks) * i128::from(*nanos_per_jiffy);
                MonotonicNanos(u64::try_from(nanos).unwrap_or(0))
            }
        }
    }

    /// The step of the clock in nanoseconds.
    pub fn step(&self) -> u64 {
        match self {
            Self::Nanos => 1,
            Self::Jiffies { nanos_per_jiffy, .. } => *nanos_per_jiffy,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Readings every 0.3 ms of a kernel whose jiffy `4_294_967_296` began at 1.0007 s.
    fn readings(frequency: u64) -> Vec<ClockReading> {
        let jiffy = (NANOS_PER_SECOND + frequency / 2) / frequency;
        (0..500)
            .map(|i| {
                let monotonic_nanos = 1_000_700_000 + i * 300_000;
                ClockReading {
                    monotonic_nanos,
                    jiffies: 4_294_967_296 + (monotonic_nanos - 1_000_700_000) / jiffy,
                }
            })
            .collect()
    }

    #[test]
    fn the_frequency_and_phase_of_jiffies_are_found() {
        for frequency in [100, 250, 300, 1000] {
            let clock = TickClock::from_readings(&readings(frequency)).unwrap();
            assert_eq!(clock.step(), (NANOS_PER_SECOND + frequency / 2) / frequency);
            assert_eq!(clock.nanos(4_294_967_296), MonotonicNanos(1_000_700_000), "{frequency}");
        }
    }

    #[test]
    fn readings_that_span_too_little_are_refused() {
        assert_eq!(TickClock::from_readings(&readings(100)[..10]), None);
        assert_eq!(TickClock::from_readings(&[]), None);
    }

    #[test]
    fn an_earlier_sighting_of_a_jiffy_corrects_the_phase() {
        let mut clock = TickClock::Jiffies { nanos_per_jiffy: 1_000_000, zero: 500 };
        clock.observe(&ClockReading { monotonic_nanos: 3_000_400, jiffies: 3 });
        assert_eq!(clock.nanos(10), MonotonicNanos(10_000_400));
        clock.observe(&ClockReading { monotonic_nanos: 4_000_900, jiffies: 4 });
        assert_eq!(clock.nanos(10), MonotonicNanos(10_000_400));
    }

    #[test]
    fn precise_ticks_are_nanoseconds() {
        assert_eq!(TickClock::Nanos.nanos(17), MonotonicNanos(17));
    }
}
