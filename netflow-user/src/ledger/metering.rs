//! What the metering side tells every destination of itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Tally;
use crate::time::UnixMillis;

/// Something that goes on being lost: how much so far, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LossTimes {
    /// When it was first noticed; zero if never.
    pub first: UnixMillis,
    /// When it was last noticed; zero if never.
    pub last: UnixMillis,
}

impl LossTimes {
    /// It is more than before, at this time.
    pub fn note(&mut self, now: UnixMillis) {
        if self.first == UnixMillis::default() {
            self.first = now;
        }
        self.last = now;
    }
}

/// Totals since the agent started, as of the last flip.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Metering {
    /// Flows that the flow cache began.
    pub observed_flows: u64,
    /// Packets that were seen and not metered: bad IP headers (without octets) and lost ones.
    pub ignored: Tally,
    /// When.
    pub ignored_at: LossTimes,
    /// What sampling did.
    pub selection: Selection,
}

/// Packets that came to the selector, and those that it took: of one flip, so that they belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Flow packets that no filter and no rule for own messages left out.
    pub observed: u64,
    /// Those of them that are metered, or found no place in a map.
    pub selected: u64,
}

/// The same, shared with the sessions.
#[derive(Debug, Default)]
pub struct MeteringBooks(Mutex<Metering>);

impl MeteringBooks {
    /// The numbers as of the last flip.
    pub fn read(&self) -> Metering {
        *self.lock()
    }

    pub(super) fn tell(&self, observed_flows: u64, ignored: Tally, selection: Selection, now: UnixMillis) {
        let mut numbers = self.lock();
        if ignored != numbers.ignored {
            numbers.ignored_at.note(now);
        }
        numbers.ignored = ignored;
        numbers.observed_flows = observed_flows;
        numbers.selection = selection;
    }

    fn lock(&self) -> MutexGuard<'_, Metering> {
        // Whole values are written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_has_the_times_of_the_first_and_the_last_flip_that_had_one() {
        // STAT-MPR-1, STAT-TIME-1
        let books = MeteringBooks::default();
        let tally = |packets| Tally { packets, octets: 40 * packets };
        let times = [(10, 0), (20, 1), (30, 1), (40, 3), (50, 3)].map(|(now, packets)| {
            books.tell(7, tally(packets), Selection::default(), UnixMillis(now));
            let LossTimes { first, last } = books.read().ignored_at;
            (first.0, last.0)
        });
        assert_eq!(times, [(0, 0), (20, 20), (20, 20), (20, 40), (20, 40)]);
        assert_eq!((books.read().observed_flows, books.read().ignored), (7, tally(3)));
    }
}
