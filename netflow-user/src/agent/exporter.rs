//! One destination by itself, as the meter sees it: for measurements of what is behind the flow cache.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    AgentError,
    queue::Batch,
    session::{Outlet, Pacing, Session, SessionClock},
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
}

impl Exporter {
    /// Opens the session to `destination`, with messages as `config` says. sysUpTime is the system's.
    ///
    /// # Errors
    /// The destination cannot be reached, or the messages cannot be made.
    pub async fn start(destination: &Target, config: &ExportConfig) -> Result<Self, AgentError> {
        let mut ledger = Ledger::new();
        let clock = SessionClock::Live(Arc::new(KernelClock::new(&clock::now())));
        let (pacing, origin) = (Pacing::Rate(u64::MAX), MonotonicNanos(0));
        let outlet = Session::start(destination, config, pacing, clock, origin, &mut ledger, None).await?;
        let books = outlet.queue.books();
        Ok(Self { outlet, books })
    }

    /// Puts records into the queue, which takes 1,048,576 and counts what it does not take.
    pub fn offer(&self, records: &[FlowRecord]) {
        self.outlet.queue.offer(Batch::new(records, None));
    }

    /// Waits until what was offered is sent, for so long at most; how many records were sent, and in how many messages.
    pub async fn finish(self, patience: Duration) -> (u64, u64) {
        let (_never, hurry) = watch::channel(false);
        self.outlet.finish(patience, hurry).await;
        let books = self.books.read();
        (books.sent.records, books.messages)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::UdpSocket;

    use clap::Parser as _;
    use netflow_common::{FlowCounters, FlowKey, IpVersion};

    use super::*;
    use crate::{
        cli::{Cli, Command},
        config::RunConfig,
        record::FlowEndReason,
    };

    #[tokio::test]
    async fn what_is_offered_is_sent_before_the_end() {
        let sink = UdpSocket::bind("127.83.1.21:0").unwrap();
        let url = format!("udp://{}", sink.local_addr().unwrap());
        let Command::Run(run) = Cli::parse_from(["netflow", "run", "-c", &url]).command else { panic!() };
        let config = RunConfig::new(*run).unwrap().export;
        let exporter = Exporter::start(&config.destinations[0], &config).await.unwrap();
        let key = FlowKey { ip_version: IpVersion::V4, ..FlowKey::default() };
        let counters = FlowCounters { packets: 1, octets: 40, ..FlowCounters::default() };
        let record = FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &clock::now());
        exporter.offer(&vec![record; 1000]);
        let (records, messages) = exporter.finish(Duration::from_secs(10)).await;
        assert_eq!(records, 1000);
        assert!((1..1000).contains(&messages), "{messages}");
    }
}
