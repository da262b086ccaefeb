//! Messages that are made but not yet sent, and what each of them holds.

use crate::{agent::messages::Place, transport::Burst};

/// A message that is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// How many records it holds.
    pub(super) records: usize,
    pub(super) octets: u64,
    /// Where the session stood before it.
    pub(super) before: Place,
}

/// Messages that go together: of each its octets, and what is in it. They hold records one after the other.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) burst: Burst,
    made: Vec<Made>,
    /// How many of them are accounted for.
    settled: usize,
    /// Records in those that are not.
    records: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Records in messages that are not accounted for.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Puts a message behind the others.
    pub(super) fn push(&mut self, octets: &[u8], records: usize, before: Place) {
        self.burst.push(octets);
        self.made.push(Made { records, octets: octets.len() as u64, before });
        self.records += records;
    }

    /// The next message that went and is not accounted for: now it is.
    pub(super) fn settle(&mut self) -> Option<Made> {
        if self.settled == self.burst.sent() {
            return None;
        }
        let made = *self.made.get(self.settled)?;
        self.settled += 1;
        self.records -= made.records;
        Some(made)
    }

    /// The first message that is not accounted for, and where the session stood behind it, if there are more.
    pub(super) fn first(&self) -> Option<(Made, Option<Place>)> {
        let first = *self.made.get(self.settled)?;
        Some((first, self.made.get(self.settled + 1).map(|next| next.before)))
    }

    /// Forgets all; its buffers stay.
    pub(super) fn clear(&mut self) {
        self.burst.clear();
        self.made.clear();
        (self.settled, self.records) = (0, 0);
    }
}
