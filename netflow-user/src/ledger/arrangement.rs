//! Which destinations there are, and which of them share the records: at the start, and as it changes.

use std::sync::Arc;

use super::{Destination, DestinationBooks, DestinationLines, Ledger, MeteringBooks, Volume};

/// So many destinations that have left keep lines of their own.
const REMEMBERED: usize = 16;
/// The line of those that left before.
const DEPARTED: &str = "(destinations of earlier configurations)";

/// From where records and what is offered are counted, for their comparison.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Since {
    pub(super) in_records: Volume,
    pub(super) offered: Volume,
}

/// A destination that is, or was, offered records.
pub(super) struct Joined {
    pub(super) books: Arc<DestinationBooks>,
    /// Every record is offered to it since then; `None`: between several, or no longer.
    pub(super) since: Option<Since>,
    /// It is offered nothing any more.
    has_left: bool,
}

/// Destinations that have every record between them.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) members: Vec<Arc<DestinationBooks>>,
    pub(super) since: Since,
}

/// Destinations that left, taken together.
#[derive(Default)]
pub(super) struct Departed {
    count: u64,
    numbers: Destination,
}

/// What was offered to all of them.
pub(super) fn offered(members: &[Arc<DestinationBooks>]) -> Volume {
    let mut sum = Volume::default();
    members.iter().for_each(|books| sum.add(books.read().offered));
    sum
}

/// Opens books of destinations, each with a number of its own.
#[derive(Clone, Debug)]
pub struct Registrar {
    metering: Arc<MeteringBooks>,
    opened: u32,
}

impl Registrar {
    /// Books of a destination that is to be handed to [`Ledger::arrange`].
    pub fn open(&mut self, name: impl Into<String>) -> Arc<DestinationBooks> {
        self.opened += 1;
        Arc::new(DestinationBooks::new(name.into(), self.opened, Arc::clone(&self.metering)))
    }
}

impl Ledger {
    /// Opens books from now on, in place of [`Ledger::join`].
    pub fn registrar(&self) -> Registrar {
        let opened = self.destinations.iter().map(|joined| joined.books.number()).max().unwrap_or(0);
        Registrar { metering: Arc::clone(&self.metering), opened }
    }

    /// Opens the books of a destination that is offered every record from now on.
    pub fn join(&mut self, name: impl Into<String>) -> Arc<DestinationBooks> {
        let books = self.registrar().open(name);
        let since = Some(Since { in_records: self.in_records, ..Since::default() });
        self.destinations.push(Joined { books: Arc::clone(&books), since, has_left: false });
        books
    }

    /// The destinations that joined as the ones of these places, from 0, are offered every record once between
    /// them, from now on.
    pub fn share(&mut self, name: &str, members: &[usize]) {
        let members: Vec<Arc<DestinationBooks>> = members
            .iter()
            .filter_map(|&place| Some(Arc::clone(&self.destinations.get(place)?.books)))
            .collect();
        for joined in &mut self.destinations {
            if members.iter().any(|member| Arc::ptr_eq(member, &joined.books)) {
                joined.since = None;
            }
        }
        let since = Since { in_records: self.in_records, offered: offered(&members) };
        self.shared.push(Shared { name: name.to_owned(), members, since });
    }

    /// These are the destinations from now on, in this order; [`Ledger::share`] says again which share. Every record so
    /// far must have been offered. Those that are not among them are offered nothing more, but go on sending what they
    /// have.
    pub fn arrange(&mut self, destinations: &[Arc<DestinationBooks>]) {
        let is_here =
            |books: &Arc<DestinationBooks>| destinations.iter().any(|here| Arc::ptr_eq(here, books));
        self.shared.clear();
        let mut left: Vec<Joined> = std::mem::take(&mut self.destinations);
        left.retain(|joined| !is_here(&joined.books));
        left.iter_mut().for_each(|joined| (joined.since, joined.has_left) = (None, true));
        self.destinations = destinations
            .iter()
            .map(|books| Joined {
                books: Arc::clone(books),
                since: Some(Since { in_records: self.in_records, offered: books.read().offered }),
                has_left: false,
            })
            .chain(left)
            .collect();
    }

    /// Puts together those that left and have nothing under way, the earliest first, where there are many.
    pub(super) fn forget_departed(&mut self) {
        let Self { destinations, departed, .. } = self;
        let mut too_many =
            destinations.iter().filter(|joined| joined.has_left).count().saturating_sub(REMEMBERED);
        // The last ones left first.
        let mut place = destinations.len();
        while too_many > 0 && place > 0 {
            place -= 1;
            let numbers = destinations[place].books.read();
            if destinations[place].has_left && numbers.queued == Volume::default() {
                destinations.remove(place);
                departed.count += 1;
                departed.numbers.add(&numbers);
                too_many -= 1;
            }
        }
    }

    /// Each destination's numbers, as they are now.
    pub(super) fn destination_lines(&self) -> Vec<DestinationLines> {
        let joined = self.destinations.iter();
        let mut lines: Vec<DestinationLines> =
            joined.map(|joined| DestinationLines::new(joined.books.name(), &joined.books.read())).collect();
        if self.departed.count > 0 {
            lines.push(DestinationLines::new(DEPARTED, &self.departed.numbers));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{NotSent, Tally},
        record::FlowEndReason,
    };

    const ONE: Volume = Volume { records: 1, packets: 2, octets: 80 };

    fn record(ledger: &mut Ledger, to: &[&Arc<DestinationBooks>]) {
        ledger.record(FlowEndReason::IdleTimeout, Tally { packets: 2, octets: 80 });
        to.iter().for_each(|books| books.queued(ONE));
    }

    #[test]
    fn destinations_come_and_go_and_every_line_closes() {
        let mut ledger = Ledger::new();
        let first = ledger.join("first");
        record(&mut ledger, &[&first]);
        assert_eq!(ledger.check_destinations(), Ok(()));
        let second = ledger.registrar().open("second");
        assert_eq!((first.number(), second.number()), (1, 2));
        ledger.arrange(&[Arc::clone(&second), Arc::clone(&first)]);
        record(&mut ledger, &[&first, &second]);
        assert_eq!(ledger.check_destinations(), Ok(()));
        // They share.
        ledger.arrange(&[Arc::clone(&first), Arc::clone(&second)]);
        ledger.share("both", &[0, 1]);
        record(&mut ledger, &[&second]);
        assert_eq!(ledger.check_destinations(), Ok(()));
        // The first one leaves, and is given nothing any more.
        ledger.arrange(&[Arc::clone(&second)]);
        record(&mut ledger, &[&second]);
        first.message_sent(100, ONE);
        first.not_sent(NotSent::Shutdown, ONE);
        assert_eq!(ledger.check_destinations(), Ok(()));
        record(&mut ledger, &[&first]);
        assert!(ledger.check_destinations().is_err());
    }

    #[test]
    fn of_many_that_left_the_numbers_stay() {
        let mut ledger = Ledger::new();
        let mut registrar = ledger.registrar();
        for place in 0..100 {
            let books = registrar.open(format!("{place}"));
            ledger.arrange(&[Arc::clone(&books)]);
            record(&mut ledger, &[&books]);
            books.message_sent(100, ONE);
            assert_eq!(ledger.check_destinations(), Ok(()));
        }
        let lines = ledger.books().destinations;
        assert_eq!(lines.len(), 1 + REMEMBERED + 1);
        assert_eq!(lines.iter().map(|line| line.sent.records).sum::<u64>(), 100);
        assert_eq!((lines[0].name.as_str(), lines[1].name.as_str()), ("99", "98"));
        assert_eq!(lines[17].name, DEPARTED);
    }
}
