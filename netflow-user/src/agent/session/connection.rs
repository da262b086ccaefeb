//! A session over connections: what it does when one comes about or breaks, and when its messages count as sent.

use tracing::{info, warn};

use super::{Health, Session};
use crate::{
    agent::chain,
    clock,
    transport::{Event, TransportError},
};

impl Session {
    /// Whether nothing is under way.
    pub(super) fn has_delivered(&self) -> bool {
        self.pending.is_empty() && self.unacknowledged.is_empty()
    }

    /// Something happened to a connection.
    pub(super) async fn on(&mut self, event: Event) {
        match event {
            Event::Acknowledged => self.settle(),
            Event::Connected => {
                info!("collector {}: connected", self.link.peer());
                self.health = Health::Good;
                self.messages.restart();
                self.send(true).await;
            }
            Event::Disconnected(error) => self.disconnected(&error),
        }
    }

    /// What has arrived is sent; it counts when that is known.
    pub(super) fn settle(&mut self) {
        let acknowledged = self.link.acknowledged();
        while let Some((octets, volume)) = self.unacknowledged.pop(acknowledged) {
            self.books.message_sent(octets, volume);
        }
    }

    /// There is no connection, or no longer: what did not arrive goes first over the next one.
    pub(super) fn disconnected(&mut self, error: &TransportError) {
        self.settle();
        let wait = self.link.give_up(clock::now().monotonic);
        let mut again: Vec<_> = self.unacknowledged.take_back().into();
        again.append(&mut self.pending);
        self.pending = again;
        self.health = Health::Failing;
        warn!("records wait: {}; next attempt in {} s", chain(error), wait.as_secs());
    }
}
