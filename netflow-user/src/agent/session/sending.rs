//! A session's messages: made, gathered where they may go together, sent, and each accounted for as the socket took it.

use std::time::Duration;

use tracing::{info, warn};

use super::{Health, QUIET, Session};
use crate::{
    agent::{batch::volume, chain, spread},
    clock,
    ledger::{NotSent, Volume},
    record::FlowRecord,
    time::Instant,
    transport::{TransportError, UdpCounters},
};

/// Shorter pauses are added up first: the timer's step.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// And so are longer ones, at rates at which no more than this goes in between: some ten datagrams, a small part of
/// what a collector's socket holds. A sender that sleeps and wakes for each of them takes twice the time.
const BETWEEN_PAUSES: u64 = 256;
/// But none that anybody could notice.
const LONGEST_PAUSE: Duration = Duration::from_millis(6);

/// What became of messages that were to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// They went.
    Sent,
    /// Not all of them: what did not go is to be made anew.
    Again,
    /// Not all of them, and the next ones would not go either.
    Stop,
}

impl Session {
    /// Takes the records that the protocol has words for; the others are counted. Those of one template go together, so
    /// that messages have few Sets and are of one length.
    pub(super) fn keep(&mut self, records: &[FlowRecord]) {
        let before = self.pending.len();
        let kind =
            |record: &FlowRecord| u8::from(!record.key.is_ipv4()) | u8::from(record.reverse.is_some()) << 1;
        let kinds = records.iter().fold(0_u8, |kinds, record| kinds | 1 << kind(record));
        for wanted in (0..4).filter(|kind| kinds & 1 << kind != 0) {
            let of_kind = records.iter().filter(|record| kind(record) == wanted);
            self.pending.extend(of_kind.filter(|record| self.messages.can_say(record)).cloned());
        }
        if self.pending.len() - before < records.len() {
            let rest: Vec<_> =
                records.iter().filter(|record| !self.messages.can_say(record)).cloned().collect();
            self.books.not_sent(NotSent::NotInProtocol, volume(&rest));
        }
    }

    /// Sends full messages, and with `all` a last one that is not full (and templates that are due).
    pub(super) async fn send(&mut self, all: bool) {
        while self.is_live() {
            let now = self.now();
            let owed = self.pace.owed(clock::now().monotonic);
            let records_wait = self.gone + self.outgoing.records() < self.pending.len();
            let is_told = self.messages.tells_statistics(records_wait, now);
            let pause = SHORTEST_PAUSE.max(self.pace.time_of(BETWEEN_PAUSES)).min(LONGEST_PAUSE);
            if owed >= pause || is_told {
                // What is made goes before the pause, and before what is told of it.
                match self.flush(now).await {
                    Outcome::Sent => {}
                    Outcome::Again => continue,
                    Outcome::Stop => break,
                }
            }
            if owed >= pause {
                tokio::time::sleep(owed).await;
                continue;
            }
            if self.link.is_complete(now.monotonic) {
                self.complete();
                self.messages.restart();
                self.books.session_began(clock::now().unix_millis());
            }
            self.tell_statistics(&now);
            let is_alone = self.expect_return();
            let is_made = self.make(all, now);
            // At the calm rate a message waits for none, and whoever looks at the exporter's interface sees each by itself.
            let may_wait = self.link.takes_bursts() && self.pace.rate() > spread::CALM && !is_alone;
            if is_made && may_wait && self.outgoing.burst.has_room(self.messages.message_size()) {
                continue;
            }
            match self.flush(now).await {
                Outcome::Sent if is_made => {}
                Outcome::Again => {}
                Outcome::Sent | Outcome::Stop => break,
            }
        }
        self.forget_gone();
        self.settle();
        self.books.told(self.messages.told());
    }

    /// What found no place in the queue is missing in the numbers of the next message, where that is asked for.
    fn leave_gap(&mut self) {
        if self.link.leaves_gaps() {
            let discarded = self.discarded();
            self.messages.skip(discarded - std::mem::replace(&mut self.skipped, discarded));
        }
    }

    /// Records that found no place in the queue.
    pub(super) fn discarded(&self) -> u64 {
        self.books.read().not_sent[NotSent::QueueFull as usize].records
    }

    /// Makes the next message, if there is one to be sent now.
    fn make(&mut self, all: bool, now: Instant) -> bool {
        self.leave_gap();
        let before = self.messages.mark();
        let records = self.pending.get(self.gone + self.outgoing.records()..).unwrap_or_default();
        let Some(message) = self.messages.next_message(records, now) else { return false };
        if !all && message.records == records.len() {
            // More is in the queue, and this message may take some of it.
            return false;
        }
        self.outgoing.push(message.octets, message.records, before);
        self.pace.take(message.records as u64, clock::now().monotonic);
        self.messages.commit();
        true
    }

    /// Sends what is made.
    async fn flush(&mut self, now: Instant) -> Outcome {
        if self.outgoing.is_empty() {
            return Outcome::Sent;
        }
        let before = self.link.counters();
        let result = self.link.send_all(&mut self.outgoing.burst, now).await;
        self.account();
        let is_refused = self.note_trouble(before);
        let outcome = match result {
            Ok(()) => {
                self.note_health(is_refused, None);
                Outcome::Sent
            }
            Err(error) => self.fail(error, is_refused),
        };
        self.outgoing.clear();
        outcome
    }

    /// Enters the messages that went, whatever became of those behind them.
    pub(super) fn account(&mut self) {
        let (mut messages, mut octets, mut sum) = (0, 0, Volume::default());
        while let Some(made) = self.outgoing.settle() {
            let records = self.pending.get(self.gone..self.gone + made.records).unwrap_or_default();
            self.gone += made.records;
            if self.link.is_reliable() {
                self.unacknowledged.push(self.link.written(), made.octets, records);
            } else {
                messages += 1;
                octets += made.octets;
                sum.add(volume(records));
            }
        }
        if messages > 0 {
            self.books.messages_sent(messages, octets, sum);
        }
    }

    /// Lets go of the records that were sent or given up.
    pub(super) fn forget_gone(&mut self) {
        self.pending.drain(..self.gone);
        self.gone = 0;
    }

    /// The first message that did not go has this error. It is given up, or made anew; those behind it are made anew.
    fn fail(&mut self, error: TransportError, is_refused: bool) -> Outcome {
        let Some((failed, behind)) = self.outgoing.first() else { return Outcome::Sent };
        match error {
            TransportError::ConnectionLost { .. } => {
                self.messages.rewind(failed.before);
                self.forget_gone();
                self.disconnected(&error);
                return Outcome::Stop;
            }
            TransportError::TooLong { limit, .. } if limit < self.messages.message_size() => {
                let place = self.messages.mark();
                self.messages.rewind(failed.before);
                if self.messages.set_message_size(limit).is_ok() {
                    // The same records go into smaller messages.
                    return Outcome::Again;
                }
                self.messages.rewind(place);
            }
            _ => {}
        }
        let reason = match error {
            TransportError::TooLong { .. } => NotSent::MessageTooLong,
            TransportError::NoBuffers { .. } => NotSent::NoBuffers,
            _ => NotSent::SendFailed,
        };
        let records = self.pending.get(self.gone..self.gone + failed.records).unwrap_or_default();
        self.books.not_sent(reason, volume(records));
        self.books.message_discarded();
        self.gone += failed.records;
        if let Some(behind) = behind {
            self.messages.rewind(behind);
        }
        self.note_health(is_refused, Some(error));
        // Templates that did not go are due again at once: later, or this would not end.
        if failed.records == 0 { Outcome::Stop } else { Outcome::Again }
    }

    /// Enters what was told since then of earlier datagrams, and whether that was anything.
    fn note_trouble(&self, before: UdpCounters) -> bool {
        let after = self.link.counters();
        // All that ICMP says: nobody listens, no way there, too long for it.
        let refused = (after.refused - before.refused) + (after.unreachable - before.unreachable);
        (0..refused).for_each(|_| self.books.datagram_refused());
        (before.no_buffers..after.no_buffers).for_each(|_| self.books.retried());
        refused > 0
    }

    fn note_health(&mut self, is_refused: bool, given_up: Option<TransportError>) {
        let now = clock::now().monotonic;
        if is_refused || given_up.is_some() {
            self.last_trouble = now;
        }
        if given_up.is_some() {
            // It may have held templates.
            self.messages.announce_templates();
        }
        let health = match (&given_up, is_refused) {
            (Some(_), _) => Health::Failing,
            (None, true) => Health::Refused,
            // A host sends about one ICMP error a second, however many datagrams it refuses.
            (None, false) if now.since(self.last_trouble) < QUIET => self.health,
            (None, false) => Health::Good,
        };
        if health == self.health {
            return;
        }
        let peer = self.link.peer();
        match given_up {
            Some(error) => warn!("records are not sent: {}", chain(&error)),
            None if is_refused => warn!(
                "collector {peer}: messages do not arrive, says ICMP (nobody listens, or no way there); sending goes on"
            ),
            None => {
                info!("collector {peer}: takes messages again");
                // It may have been restarted, or have missed them.
                self.messages.announce_templates();
            }
        }
        self.set_health(health);
    }
}
