//! The one place where the agent reads a clock.
//!
//! Out: [`Instant`]s, which hold the kernel's monotonic time and the wall clock together, so that a
//! step of the wall clock never reaches a duration.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netflow_common::ClockReading;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    drain::TickClock,
    kernel::{Kernel, KernelError},
    time::{Instant, MonotonicNanos},
};

/// How long the kernel's jiffies are watched at start: enough to tell 250 Hz from 300 Hz.
const CALIBRATION: Duration = Duration::from_millis(100);

/// Two readings of a clock that belong together lie no further apart, in nanoseconds.
const CLOSE: u64 = 1_000_000;
/// How often that is tried.
const TRIES: u32 = 5;

/// The wall clock, nanoseconds since 1970 UTC.
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// This process's monotonic clock and wall clock. For whatever has no kernel program at hand: in a
/// time namespace its monotonic time is not the kernel's.
pub fn now() -> Instant {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let nanos = u64::try_from(monotonic.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(monotonic.tv_nsec).unwrap_or(0);
    Instant { monotonic: MonotonicNanos(nanos), unix_nanos: unix_nanos() }
}

/// The kernel's clocks, as its program sees them, together with the wall clock.
///
/// # Errors
/// The clock program could not be run.
pub fn read(kernel: &mut Kernel) -> Result<(Instant, ClockReading), KernelError> {
    let mut tries = 0;
    loop {
        let before = unix_nanos();
        let reading = kernel.read_clock()?;
        let after = unix_nanos();
        // The program ran between the two. Where they lie far apart this thread was interrupted (or the wall
        // clock was set): once more.
        tries += 1;
        if before.abs_diff(after) < CLOSE || tries == TRIES {
            let unix_nanos = before + after.saturating_sub(before) / 2;
            return Ok((Instant { monotonic: MonotonicNanos(reading.monotonic_nanos), unix_nanos }, reading));
        }
    }
}

/// Watches the jiffies until their length and phase are known.
///
/// # Errors
/// The clock program could not be run.
pub fn calibrate(kernel: &mut Kernel) -> Result<TickClock, KernelError> {
    let mut readings = Vec::new();
    loop {
        let reading = kernel.read_clock()?;
        let began =
            readings.first().map_or(reading.monotonic_nanos, |first: &ClockReading| first.monotonic_nanos);
        readings.push(reading);
        if u128::from(reading.monotonic_nanos - began) >= CALIBRATION.as_nanos()
            && let Some(clock) = TickClock::from_readings(&readings)
        {
            return Ok(clock);
        }
    }
}

/// The kernel's monotonic clock without a call into it: this process's own clock and the difference
/// between the two, which is constant (zero outside time namespaces).
#[derive(Debug)]
pub struct KernelClock {
    difference: i64,
}

impl KernelClock {
    /// Learns the difference from a reading of the kernel's clock that was taken just now.
    pub fn new(reading: &Instant) -> Self {
        let difference = i128::from(reading.monotonic.0) - i128::from(now().monotonic.0);
        // Time namespaces differ by whole seconds as a rule; what lies between two calls is no difference.
        let difference = if difference.unsigned_abs() < 500_000_000 { 0 } else { difference };
        Self { difference: i64::try_from(difference).unwrap_or(0) }
    }

    /// Where this process's monotonic clock is zero, on the kernel's: the machine's start, in a time namespace the one
    /// that the namespace shows, which may lie before the kernel's own (modulo 2^64).
    pub fn start(&self) -> MonotonicNanos {
        MonotonicNanos(self.difference as u64)
    }

    /// The kernel's monotonic clock and the wall clock, now.
    pub fn now(&self) -> Instant {
        let own = now();
        Instant { monotonic: MonotonicNanos(own.monotonic.0.saturating_add_signed(self.difference)), ..own }
    }
}
