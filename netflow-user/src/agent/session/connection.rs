//! A session over connections: what it does when one comes about or breaks, and when its messages count as sent.

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Health, QUIET, Session, Spooling};
use crate::{
    agent::{chain, control::Command},
    clock,
    ledger::NotSent,
    transport::{Event, TransportError},
};

impl Session {
    /// Whether nothing is under way.
    pub(super) fn has_delivered(&self) -> bool {
        self.pending.is_empty() && self.unacknowledged.is_empty()
    }

    /// Whether records can go over the link now.
    pub(super) fn is_live(&self) -> bool {
        self.link.is_up() && self.spooling.as_ref().is_none_or(Spooling::is_live)
    }

    /// Whether there is a place for more records: the link, or the spool.
    pub(super) fn is_taking(&self) -> bool {
        self.is_live() || self.spooling.as_ref().is_some_and(Spooling::is_taking)
    }

    /// Nobody waits for it any longer: what it has goes to disk, or is not sent.
    pub(super) fn abandon(&mut self) {
        // It may have been ended while it sent.
        self.account();
        self.outgoing.clear();
        self.forget_gone();
        self.settle();
        self.pending = self.unacknowledged.take_back().into_iter().chain(self.pending.drain(..)).collect();
        self.spool_pending();
        if self.spooling.is_some() {
            while let Some(batch) = self.queue.take() {
                self.spool(&batch);
            }
        }
        self.end_spooling();
        self.books.session_ended();
        self.books.not_sent(NotSent::Shutdown, self.books.read().queued);
        self.forget_socket();
    }

    /// Tells who gives it records, too.
    pub(super) fn set_health(&mut self, health: Health) {
        self.health = health;
        self.queue.set_good(health == Health::Good);
    }

    /// Something happened to a connection.
    pub(super) async fn on(&mut self, event: Event) {
        match event {
            Event::Acknowledged => {
                self.settle();
                self.end_replay().await;
            }
            Event::Connected => {
                info!("collector {}: connected", self.link.peer());
                self.set_health(Health::Good);
                self.books.session_began(clock::now().unix_millis());
                self.leave_out().await;
                if !self.begin_replay() {
                    self.messages.restart();
                    self.skipped = self.discarded();
                    self.send(true).await;
                }
            }
            Event::Disconnected(error) => self.disconnected(&error),
        }
    }

    /// Has the messages to come known as this exporter's own, before the first of them.
    async fn leave_out(&mut self) {
        let Some(control) = &self.control else { return };
        let opened = super::socket(&self.link);
        let closed = std::mem::replace(&mut self.socket, opened);
        let (done, is_done) = oneshot::channel();
        control.send(Command::Own { opened, closed, done });
        // It is not done where nothing is metered any more.
        let _ = is_done.await;
    }

    /// What its socket sends is nobody's own any more: the port may become another program's.
    pub(super) fn forget_socket(&mut self) {
        if let (Some(control), Some(closed)) = (&self.control, self.socket.take()) {
            let (done, _) = oneshot::channel();
            control.send(Command::Own { opened: None, closed: Some(closed), done });
        }
    }

    /// What has arrived is sent; it counts when that is known.
    pub(super) fn settle(&mut self) {
        let acknowledged = self.link.acknowledged();
        self.settle_replay(acknowledged);
        while let Some((octets, volume)) = self.unacknowledged.pop(acknowledged) {
            self.books.message_sent(octets, volume);
        }
    }

    /// There is no connection, or no longer: what did not arrive goes first over the next one.
    pub(super) fn disconnected(&mut self, error: &TransportError) {
        self.settle();
        self.books.session_ended();
        let wait = self.link.give_up(clock::now().monotonic);
        let mut again: Vec<_> = self.unacknowledged.take_back().into();
        again.append(&mut self.pending);
        self.pending = again;
        self.spool_pending();
        self.set_health(Health::Failing);
        warn!("records wait: {}; next attempt in {} s", chain(error), wait.as_secs());
    }

    /// A collector that was not there, and of which nothing was heard since, may be back without its templates: they go
    /// before the records. Says whether that is so.
    pub(super) fn expect_return(&mut self) -> bool {
        let is_expected =
            self.health == Health::Refused && clock::now().monotonic.since(self.last_trouble) >= QUIET;
        if is_expected {
            self.messages.announce_templates();
        }
        is_expected
    }
}
