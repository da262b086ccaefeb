//! One destination by itself, as the meter sees it: for measurements of what is behind the flow cache.

use std::{sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};

use super::{
    AgentError,
    batch::{BATCH_RECORDS, Batch, Spare},
    session::{Outlet, Pacing, Session, SessionClock, Surroundings},
};
use crate::{
    clock::{self, KernelClock},
    config::ExportConfig,
    ledger::{DestinationBooks, Ledger},
    record::FlowRecord,
    time::MonotonicNanos,
    transport::Target,
};

/// A queue and the session behind it, which sends as fast as it can.
pub struct Exporter {
    outlet: Outlet,
    books: Arc<DestinationBooks>,
    spare: Spare,
}

impl Exporter {
    /// Records that the meter hands over at once.
    pub const BATCH: usize = BATCH_RECORDS;

    /// Opens the session to `destination`, with messages as `config` says. sysUpTime is the system's.
    ///
    /// # Errors
    /// The destination cannot be reached, or the messages cannot be made.
    pub async fn start(destination: &Target, config: &ExportConfig) -> Result<Self, AgentError> {
        let mut ledger = Ledger::new();
        let clock = SessionClock::Live(Arc::new(KernelClock::new(&clock::now())));
        let (pacing, origin) = (Pacing::Rate(u64::MAX), MonotonicNanos(0));
        let surroundings = Surroundings { pacing, clock, origin, control: None };
        let books = ledger.join(destination.to_string());
        let (_, at_once) = oneshot::channel();
        let outlet = Session::start(destination, config, &surroundings, Arc::clone(&books), at_once).await?;
        Ok(Self { outlet, books, spare: Spare::default() })
    }

    /// Puts records into the queue, which takes 1,048,576 and counts what it does not take; leaves the list empty.
    pub fn offer(&self, records: &mut Vec<FlowRecord>) {
        self.outlet.queue.offer(Batch::new(self.spare.empty(records), &self.spare, None));
    }

    /// Waits until what was offered is sent, for so long at most; how many records were sent, and in how many messages.
    pub async fn finish(self, patience: Duration) -> (u64, u64) {
        let (_never, hurry) = watch::channel(false);
        self.outlet.finish(patience, hurry).await;
        let books = self.books.read();
        (books.sent.records, books.messages)
    }
}
