//! What a session tells its Collector of the metering process and of itself.

use super::Session;
use crate::{
    ledger::{LossTimes, Volume},
    message::Statistics,
    time::Instant,
};

/// What was not sent, as far as it has been noticed.
#[derive(Default)]
pub(super) struct Noticed {
    not_sent: Volume,
    at: LossTimes,
}

impl Session {
    /// Before a message is made: the books as they are without it.
    pub(super) fn tell_statistics(&mut self, now: &Instant) {
        if !self.messages.has_statistics() {
            return;
        }
        let books = self.books.read();
        let not_sent = books.all_not_sent();
        if not_sent != self.noticed.not_sent {
            self.noticed.at.note(now.unix_millis());
            self.noticed.not_sent = not_sent;
        }
        let metering = self.books.metering().read();
        let times = |at: LossTimes| [at.first, at.last];
        self.messages.set_statistics(&Statistics {
            messages: books.messages,
            flow_records: books.sent.records,
            octets: books.message_octets,
            observed_flows: metering.observed_flows,
            ignored_packets: metering.ignored.packets,
            ignored_octets: metering.ignored.octets,
            ignored_at: times(metering.ignored_at),
            selector_observed: metering.selection.observed,
            selector_selected: metering.selection.selected,
            exporting_process: self.books.number(),
            not_sent_records: not_sent.records,
            not_sent_packets: not_sent.packets,
            not_sent_octets: not_sent.octets,
            not_sent_at: times(self.noticed.at),
        });
    }

    /// All that could be sent has been: the last word is what came of it.
    pub(super) async fn conclude(&mut self) {
        if self.messages.announce_statistics() {
            self.send(true).await;
        }
    }
}
