//! The books of one destination: kept by its session, read by the ledger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Imbalance, MeteringBooks, Unit, sums_to};
use crate::time::UnixMillis;

/// Records, and the packets and octets in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Volume {
    /// Flow Records.
    pub records: u64,
    /// Packets in them.
    pub packets: u64,
    /// Octets in them.
    pub octets: u64,
}

impl Volume {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.packets += other.packets;
        self.octets += other.octets;
    }

    /// What came since it was `before`.
    pub(super) fn since(self, before: Self) -> Self {
        let mut since = self;
        since.take(before);
        since
    }

    /// Takes out what is there; what is not there shows as a line that does not close.
    fn take(&mut self, other: Self) {
        self.records = self.records.saturating_sub(other.records);
        self.packets = self.packets.saturating_sub(other.packets);
        self.octets = self.octets.saturating_sub(other.octets);
    }

    /// Unit by unit, beside another.
    pub(super) fn beside(self, other: Self) -> [(Unit, u64, u64); 3] {
        [
            (Unit::Records, self.records, other.records),
            (Unit::Packets, self.packets, other.packets),
            (Unit::Octets, self.octets, other.octets),
        ]
    }
}

/// Why a record was not sent to a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum NotSent {
    /// The destination's queue was full: it takes records more slowly than they come.
    QueueFull,
    /// The socket had no room for the message, after retries (ENOBUFS, EAGAIN).
    NoBuffers,
    /// The message was longer than the path takes (EMSGSIZE).
    MessageTooLong,
    /// The socket refused the message for another reason.
    SendFailed,
    /// The protocol has no words for the record: v5 knows IPv4 only.
    NotInProtocol,
    /// The agent stopped before the destination took it.
    Shutdown,
    /// It was the oldest in a spool that was full.
    SpoolFull,
    /// The spool's disk did not take it, or did not give it back.
    SpoolFailed,
}

impl NotSent {
    /// All of them, in the order of the books.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::NoBuffers,
        Self::MessageTooLong,
        Self::SendFailed,
        Self::NotInProtocol,
        Self::Shutdown,
        Self::SpoolFull,
        Self::SpoolFailed,
    ];

    /// The name operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NoBuffers => "no_buffers",
            Self::MessageTooLong => "message_too_long",
            Self::SendFailed => "send_failed",
            Self::NotInProtocol => "not_in_protocol",
            Self::Shutdown => "shutdown",
            Self::SpoolFull => "spool_full",
            Self::SpoolFailed => "spool_failed",
        }
    }
}

/// The numbers of one destination since it joined: `offered + inherited = sent + queued + spooled + not_sent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Destination {
    /// Given to its session, taken or not.
    pub offered: Volume,
    /// In the spool that an earlier run left behind.
    pub inherited: Volume,
    /// In messages that the socket accepted; over a connection, that the peer has acknowledged.
    pub sent: Volume,
    /// Waiting in its queue or in the message being filled.
    pub queued: Volume,
    /// Waiting in its spool.
    pub spooled: Volume,
    /// By [`NotSent`].
    pub not_sent: [Volume; NotSent::ALL.len()],
    /// Messages that the socket accepted, those with templates only included.
    pub messages: u64,
    /// Octets of these messages, without the headers of the transport.
    pub message_octets: u64,
    /// Datagrams that the collector's host refused (ECONNREFUSED). They were sent before that came back,
    /// so they count as sent too.
    pub refused_datagrams: u64,
    /// Times a message was handed to the socket again.
    pub retries: u64,
    /// What it is told over.
    pub session: TransportSession,
}

/// The Transport Session with a destination, as RFC 6728 section 4.3 has it; the counters are those of earlier ones, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TransportSession {
    /// Whether there is one now: over a connection, whether it is established.
    pub is_active: bool,
    /// When the last one began; zero before the first one.
    pub began: UnixMillis,
    /// How many have begun.
    pub begun: u64,
    /// Template Records in the messages made of the queue.
    pub templates: u64,
    /// Options Template Records in them.
    pub options_templates: u64,
    /// Messages that were made and given up; their records are not sent.
    pub discarded_messages: u64,
}

impl Destination {
    /// Adds another's numbers, the session apart.
    pub(super) fn add(&mut self, other: &Self) {
        self.offered.add(other.offered);
        self.inherited.add(other.inherited);
        self.sent.add(other.sent);
        self.queued.add(other.queued);
        self.spooled.add(other.spooled);
        self.not_sent.iter_mut().zip(other.not_sent).for_each(|(sum, volume)| sum.add(volume));
        self.messages += other.messages;
        self.message_octets += other.message_octets;
        self.refused_datagrams += other.refused_datagrams;
        self.retries += other.retries;
    }

    /// All that was not sent.
    pub fn all_not_sent(&self) -> Volume {
        let mut sum = Volume::default();
        self.not_sent.iter().for_each(|volume| sum.add(*volume));
        sum
    }

    /// The lines that do not close.
    pub(crate) fn check(&self, name: &str) -> impl Iterator<Item = Imbalance> {
        let given = self.offered.beside(self.inherited).into_iter().zip(self.sent.beside(self.spooled));
        let lines = given.zip(self.all_not_sent().beside(self.queued));
        lines
            .filter(|(((_, offered, inherited), (_, sent, spooled)), (_, not_sent, queued))| {
                !sums_to(u128::from(*offered) + u128::from(*inherited), [*sent, *queued, *spooled, *not_sent])
            })
            .map(move |(((unit, offered, inherited), (_, sent, spooled)), (_, not_sent, queued))| {
                let destination = name.to_owned();
                Imbalance::Destination {
                    destination,
                    unit,
                    offered,
                    inherited,
                    sent,
                    queued,
                    spooled,
                    not_sent,
                }
            })
    }
}

/// The books of one destination. Every call is one entry that leaves them closed, unless more leaves the
/// queue than was in it; the lock is held for the entry alone.
#[derive(Debug)]
pub struct DestinationBooks {
    name: String,
    number: u32,
    metering: Arc<MeteringBooks>,
    numbers: Mutex<Destination>,
}

impl DestinationBooks {
    pub(super) fn new(name: String, number: u32, metering: Arc<MeteringBooks>) -> Self {
        Self { name, number, metering, numbers: Mutex::default() }
    }

    /// The destination's name, as the operator gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its place among the destinations, from 1 (exportingProcessId).
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What the metering side says, for all destinations.
    pub fn metering(&self) -> &MeteringBooks {
        &self.metering
    }

    /// The numbers as they are between two entries.
    pub fn read(&self) -> Destination {
        *self.lock()
    }

    /// Records were put into the queue.
    pub fn queued(&self, volume: Volume) {
        let mut numbers = self.lock();
        numbers.offered.add(volume);
        numbers.queued.add(volume);
    }

    /// Records were offered, but did not get into the queue.
    pub fn turned_away(&self, reason: NotSent, volume: Volume) {
        let mut numbers = self.lock();
        numbers.offered.add(volume);
        numbers.not_sent[reason as usize].add(volume);
    }

    /// The socket accepted a message of so many octets with these records of the queue in it: none, where
    /// it holds templates only.
    pub fn message_sent(&self, octets: u64, volume: Volume) {
        self.messages_sent(1, octets, volume);
    }

    /// The same of several messages.
    pub fn messages_sent(&self, messages: u64, octets: u64, volume: Volume) {
        let mut numbers = self.lock();
        numbers.messages += messages;
        numbers.message_octets += octets;
        numbers.queued.take(volume);
        numbers.sent.add(volume);
    }

    /// Records wait in the spool that an earlier run left behind.
    pub fn inherited(&self, volume: Volume) {
        let mut numbers = self.lock();
        numbers.inherited.add(volume);
        numbers.spooled.add(volume);
    }

    /// Records of the queue were put into the spool.
    pub fn spooled(&self, volume: Volume) {
        let mut numbers = self.lock();
        numbers.queued.take(volume);
        numbers.spooled.add(volume);
    }

    /// A message of so many octets out of the spool, with these records in it, was sent.
    pub fn replayed(&self, octets: u64, volume: Volume) {
        let mut numbers = self.lock();
        numbers.messages += 1;
        numbers.message_octets += octets;
        numbers.spooled.take(volume);
        numbers.sent.add(volume);
    }

    /// Records of the spool were given up.
    pub fn spool_lost(&self, reason: NotSent, volume: Volume) {
        let mut numbers = self.lock();
        numbers.spooled.take(volume);
        numbers.not_sent[reason as usize].add(volume);
    }

    /// Records of the queue were given up.
    pub fn not_sent(&self, reason: NotSent, volume: Volume) {
        let mut numbers = self.lock();
        numbers.queued.take(volume);
        numbers.not_sent[reason as usize].add(volume);
    }

    /// An earlier datagram was refused (ECONNREFUSED).
    pub fn datagram_refused(&self) {
        self.lock().refused_datagrams += 1;
    }

    /// A Transport Session began.
    pub fn session_began(&self, now: UnixMillis) {
        let mut numbers = self.lock();
        (numbers.session.is_active, numbers.session.began) = (true, now);
        numbers.session.begun += 1;
    }

    /// It is over.
    pub fn session_ended(&self) {
        self.lock().session.is_active = false;
    }

    /// So many Template Records and Options Template Records were in messages so far.
    pub fn told(&self, [templates, options_templates]: [u64; 2]) {
        let mut numbers = self.lock();
        (numbers.session.templates, numbers.session.options_templates) = (templates, options_templates);
    }

    /// A message was given up.
    pub fn message_discarded(&self) {
        self.lock().session.discarded_messages += 1;
    }

    /// A message is handed to the socket again.
    pub fn retried(&self) {
        self.lock().retries += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Destination> {
        // An entry cannot panic half-way but by an overflow of 64 bits; the numbers stay readable even then.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
