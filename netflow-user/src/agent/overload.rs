//! What to do when more new flows come than the kernel's maps hold: count the loss, or meter fewer packets until it
//! is over.
//!
//! In: how each flip went. Out: one in how many packets is to be metered from the next generation on. Pure
//! arithmetic; the meter acts on it.

use std::num::NonZeroU32;

/// The coarsest step, on top of the sampling that was asked for.
const LARGEST_FACTOR: u32 = 1024;
/// Flips without a sign of overload, after which one step is taken back.
const CALM: u32 = 5;

/// What is to be done under overload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnOverload {
    /// Count what finds no place.
    #[default]
    Count,
    /// Sample more coarsely until there is place again.
    Sample,
}

/// How a flip went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Load {
    /// Packets found no place.
    Lost,
    /// A map passed its watermark: the flip came early.
    Early,
    /// Neither.
    Calm,
}

/// The adaptive step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overload {
    adapts: bool,
    base: NonZeroU32,
    factor: u32,
    calm: u32,
}

impl Overload {
    /// Starts with the sampling that was asked for: one in `base`.
    pub(super) fn new(on_overload: OnOverload, base: NonZeroU32) -> Self {
        Self { adapts: on_overload == OnOverload::Sample, base, factor: 1, calm: 0 }
    }

    /// One in so many packets is to be metered.
    pub(super) fn interval(&self) -> NonZeroU32 {
        self.base.saturating_mul(NonZeroU32::new(self.factor).unwrap_or(NonZeroU32::MIN))
    }

    /// Learns how a flip went; whether the interval changes.
    pub(super) fn learn(&mut self, load: Load) -> bool {
        if !self.adapts {
            return false;
        }
        let before = self.interval();
        match load {
            // Far too much: two steps at once.
            Load::Lost => self.factor = (self.factor * 4).min(LARGEST_FACTOR),
            Load::Early => self.factor = (self.factor * 2).min(LARGEST_FACTOR),
            Load::Calm => {}
        }
        if load == Load::Calm && self.factor > 1 {
            self.calm += 1;
            if self.calm >= CALM {
                self.factor /= 2;
                self.calm = 0;
            }
        } else {
            self.calm = 0;
        }
        self.interval() != before
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn sampling(base: u32) -> Overload {
        Overload::new(OnOverload::Sample, NonZeroU32::new(base).unwrap())
    }

    #[test]
    fn loss_and_early_flips_coarsen_the_step_up_to_a_limit() {
        let mut overload = sampling(10);
        assert!(overload.learn(Load::Early));
        assert_eq!(overload.interval().get(), 20);
        assert!(overload.learn(Load::Lost));
        assert_eq!(overload.interval().get(), 80);
        for _ in 0..20 {
            overload.learn(Load::Lost);
        }
        assert_eq!(overload.interval().get(), 10 * LARGEST_FACTOR);
        assert!(!overload.learn(Load::Lost), "nothing changes any more");
    }

    #[test]
    fn calm_takes_the_steps_back_one_by_one_to_the_full_rate() {
        let mut overload = sampling(1);
        overload.learn(Load::Lost);
        let changes = (0..2 * CALM).filter(|_| overload.learn(Load::Calm)).count();
        assert_eq!((changes, overload.interval().get()), (2, 1));
        assert!((0..100).all(|_| !overload.learn(Load::Calm)));
    }

    #[test]
    fn one_early_flip_starts_the_wait_anew() {
        let mut overload = sampling(1);
        overload.learn(Load::Lost);
        (1..CALM).for_each(|_| assert!(!overload.learn(Load::Calm)));
        overload.learn(Load::Early);
        assert!((1..CALM).all(|_| !overload.learn(Load::Calm)));
        assert!(overload.learn(Load::Calm));
    }

    #[test]
    fn counting_changes_nothing() {
        let mut overload = Overload::new(OnOverload::Count, NonZeroU32::MIN);
        assert!(!overload.learn(Load::Lost) && !overload.learn(Load::Early));
        assert_eq!(overload.interval().get(), 1);
    }
}
