//! The flow cache looked at, and flows ended, while the meter runs: in pieces that are short beside a drain, each a command
//! of its own. Whoever asks goes on with the next piece; the metering thread remembers nothing of it.

use std::{collections::VecDeque, sync::Arc};

use super::{AgentError, batch::Records, flow::Flow, meter::Meter};
use crate::{
    control::Prefix,
    record::{FlowEndReason, FlowRecord},
};

/// Slots of a piece: it takes about a millisecond.
const PIECE: u32 = 8192;
/// Records that are kept when they have gone to the collectors, at most: some 3 MiB.
const RECENT: usize = 16_384;
/// Lists of them, at most.
const RECENT_LISTS: usize = 4096;

/// A piece of the flow cache.
#[derive(Debug)]
pub(super) struct Piece {
    /// What would be records if the flows ended now.
    pub(super) flows: Vec<FlowRecord>,
    /// The slot that the next piece begins with; `None`: this was the last one.
    pub(super) next: Option<u32>,
}

/// What became of flows in a piece of the cache that were to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expired {
    /// So many have ended.
    pub(super) flows: usize,
    /// As in [`Piece`].
    pub(super) next: Option<u32>,
}

/// The last records, as they went to the collectors.
#[derive(Debug, Default)]
pub(super) struct Recent {
    lists: VecDeque<Arc<Records>>,
    records: usize,
}

impl Recent {
    /// Keeps these, and lets go of the oldest. Costs nothing for each record: whole lists are shared.
    pub(super) fn keep(&mut self, list: Arc<Records>) {
        self.records += list.len();
        self.lists.push_back(list);
        while self.records > RECENT || self.lists.len() > RECENT_LISTS {
            let Some(oldest) = self.lists.pop_front() else { return };
            self.records -= oldest.len();
        }
    }

    /// All that are kept, the oldest first.
    pub(super) fn lists(&self) -> Vec<Arc<Records>> {
        self.lists.iter().cloned().collect()
    }
}

impl<F: Flow> Meter<F> {
    /// Fills `flows` with the piece that begins with this slot.
    pub(super) fn look(&self, from: u32, mut flows: Vec<FlowRecord>) -> Piece {
        let now = self.outflow.traffic.now();
        flows.clear();
        self.cache.look(from..from.saturating_add(PIECE), |key, counters| {
            // How it will end is not known.
            flows.push(F::record(key, counters, FlowEndReason::ForcedEnd, &now));
        });
        Piece { flows, next: self.next(from) }
    }

    /// Ends the flows of an address, or all, in the piece that begins with this slot. What the kernel has of them is drained
    /// before the first piece.
    pub(super) fn expire_now(&mut self, from: u32, of: Option<Prefix>) -> Result<Expired, AgentError> {
        if from == 0 {
            self.tick()?;
        }
        let now = self.outflow.traffic.now();
        let Self { cache, outflow, .. } = self;
        let flows = cache.end_within(
            from..from.saturating_add(PIECE),
            |key| of.is_none_or(|prefix| prefix.has_end_of(key)),
            FlowEndReason::ForcedEnd,
            &mut |key, counters, reason| outflow.push(F::record(key, counters, reason, &now), None),
        );
        outflow.flush(None);
        outflow.check(cache);
        self.write_ledger();
        self.show_again();
        Ok(Expired { flows, next: self.next(from) })
    }

    fn next(&self, from: u32) -> Option<u32> {
        let next = from.saturating_add(PIECE);
        (next < self.cache.slots()).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use netflow_common::{FlowCounters, FlowKey};

    use super::*;
    use crate::{agent::batch::Batch, time::Instant};

    #[test]
    fn the_last_records_are_kept_and_no_more() {
        let record = FlowRecord::new(
            FlowKey::default(),
            FlowCounters::default(),
            FlowEndReason::IdleTimeout,
            &Instant::default(),
        );
        let mut recent = Recent::default();
        for _ in 0..100 {
            recent.keep(Batch::of(&vec![record.clone(); 500], None).records);
        }
        assert_eq!((recent.records, recent.lists().len()), (16_000, 32));
        for _ in 0..2 * RECENT_LISTS {
            recent.keep(Batch::of(std::slice::from_ref(&record), None).records);
        }
        assert_eq!((recent.records, recent.lists().len()), (RECENT_LISTS, RECENT_LISTS));
    }
}
