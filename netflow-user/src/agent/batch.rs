//! Records on their way to the sessions, many at once.

use std::{
    mem,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use super::session::Tempo;
use crate::{ledger::Volume, message::OptionsData, record::FlowRecord, time::Instant};

/// Records that go to the sessions at once.
pub(super) const BATCH_RECORDS: usize = 512;
/// Emptied lists that wait for the next records, at most: 32,768 records, some 5 MiB.
const SPARE: usize = 64;

/// Lists of records that were sent, to be filled again: new memory costs more than what is written to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<FlowRecord>>>>);

impl Spare {
    /// An empty list with room for a batch.
    pub(super) fn take(&self) -> Vec<FlowRecord> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BATCH_RECORDS))
    }

    /// Takes the records out of a list and leaves it empty. Of few records the list stays behind: who knows how long
    /// they wait.
    pub(super) fn empty(&self, list: &mut Vec<FlowRecord>) -> Vec<FlowRecord> {
        if list.len() >= BATCH_RECORDS / 2 {
            return mem::replace(list, self.take());
        }
        let mut few = Vec::with_capacity(list.len());
        few.append(list);
        few
    }

    fn give(&self, mut records: Vec<FlowRecord>) {
        records.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE && records.capacity() >= BATCH_RECORDS {
            spare.push(records);
        }
    }
}

/// The records of a batch. When nobody needs them any more, their list is spare.
#[derive(Debug)]
pub(super) struct Records {
    list: Vec<FlowRecord>,
    spare: Spare,
}

impl Deref for Records {
    type Target = [FlowRecord];

    fn deref(&self) -> &[FlowRecord] {
        &self.list
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.spare.give(mem::take(&mut self.list));
    }
}

/// Records that left the flow cache together.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) records: Arc<Records>,
    pub(super) volume: Volume,
    /// The instant to put on messages; `None` means the instant they are sent at.
    pub(super) at: Option<Instant>,
    /// In place of records: what options data say of those behind it.
    pub(super) options: Option<Arc<OptionsData>>,
    /// In place of records: what the session goes by from here on.
    pub(super) tempo: Option<Arc<Tempo>>,
    /// In place of records: templates are to go, to see what becomes of them.
    pub(super) is_probe: bool,
}

impl Batch {
    /// Records whose list goes to `spare` afterwards.
    pub(super) fn new(list: Vec<FlowRecord>, spare: &Spare, at: Option<Instant>) -> Self {
        let volume = volume(&list);
        let records = Arc::new(Records { list, spare: spare.clone() });
        Self { records, volume, at, options: None, tempo: None, is_probe: false }
    }

    /// Options data.
    pub(super) fn of_options(data: Arc<OptionsData>) -> Self {
        Self { options: Some(data), ..Self::without_records() }
    }

    /// How often things are said, and how fast.
    pub(super) fn of_tempo(tempo: Arc<Tempo>) -> Self {
        Self { tempo: Some(tempo), ..Self::without_records() }
    }

    /// Templates alone.
    pub(super) fn probe() -> Self {
        Self { is_probe: true, ..Self::without_records() }
    }

    /// Copies of records.
    #[cfg(test)]
    pub(super) fn of(records: &[FlowRecord], at: Option<Instant>) -> Self {
        Self::new(records.to_vec(), &Spare::default(), at)
    }

    fn without_records() -> Self {
        Self::new(Vec::new(), &Spare::default(), None)
    }
}

/// Sums up records.
pub(super) fn volume(records: &[FlowRecord]) -> Volume {
    records.iter().fold(Volume::default(), |sum, record| Volume {
        records: sum.records + 1,
        packets: sum.packets + record.packets(),
        octets: sum.octets + record.octets(),
    })
}

#[cfg(test)]
mod tests {
    use netflow_common::{FlowCounters, FlowKey};

    use super::*;
    use crate::record::FlowEndReason;

    fn records(number: usize) -> Vec<FlowRecord> {
        let (key, counters) = (FlowKey::default(), FlowCounters::default());
        vec![FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &Instant::default()); number]
    }

    fn kept(spare: &Spare) -> usize {
        spare.0.lock().map(|lists| lists.len()).unwrap_or_default()
    }

    #[test]
    fn the_list_of_a_batch_is_used_again_when_nobody_needs_it_any_more() {
        let spare = Spare::default();
        let mut list = records(BATCH_RECORDS);
        let batch = Batch::new(spare.empty(&mut list), &spare, None);
        assert!(list.is_empty() && list.capacity() >= BATCH_RECORDS);
        let other = batch.clone();
        drop(batch);
        assert_eq!((kept(&spare), other.records.len()), (0, BATCH_RECORDS));
        drop(other);
        assert_eq!(kept(&spare), 1);
        let again = spare.take();
        assert!(again.is_empty() && kept(&spare) == 0);
        let many: Vec<_> = (0..2 * SPARE).map(|_| Batch::new(records(BATCH_RECORDS), &spare, None)).collect();
        drop(many);
        assert_eq!(kept(&spare), SPARE);
    }

    #[test]
    fn few_records_hold_no_memory_for_many() {
        let spare = Spare::default();
        let mut list = Vec::with_capacity(BATCH_RECORDS);
        list.extend(records(3));
        let few = spare.empty(&mut list);
        assert!(list.is_empty() && list.capacity() >= BATCH_RECORDS);
        assert!(few.len() == 3 && few.capacity() < 2 * 3);
        drop(Batch::new(few, &spare, None));
        assert_eq!(kept(&spare), 0);
    }
}
