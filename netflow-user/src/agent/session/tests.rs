//! A session whose link takes nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;

use netflow_common::{FlowCounters, FlowKey, IpVersion};

use super::*;
use crate::{
    message::{Packer, PackerConfig, Protocol, TemplateOptions, TemplateSet},
    record::FlowEndReason,
    transport::{FileTarget, Sync},
};

const NOW: Instant =
    Instant { monotonic: MonotonicNanos(1_000_000_000), unix_nanos: 1_767_225_600_000_000_000 };

/// A session whose link takes nothing: its directory is gone.
async fn with_a_link_that_fails(ledger: &mut Ledger) -> Session {
    let directory = std::env::temp_dir().join(format!("netflow-gone-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let target = FileTarget {
        prefix: directory.join("flows"),
        rotate_size: None,
        rotate_time: None,
        sync: Sync::Close,
    };
    let link = Link::open(&Target::File(target), None).await.unwrap();
    std::fs::remove_dir(&directory).unwrap();
    let config = PackerConfig {
        observation_domain_id: 1,
        template_refresh: Duration::from_secs(60),
        template_refresh_messages: NonZeroU32::MIN,
        options_refresh: Duration::from_secs(60),
        exporter_address: [0; 4],
        sys_up_time_origin: MonotonicNanos(0),
        message_size: link.message_limit(),
    };
    let templates = TemplateSet::new(&TemplateOptions::new(Protocol::Ipfix)).unwrap();
    let books = ledger.join("gone".to_owned());
    Session {
        queue: Arc::new(Queue::new(Arc::clone(&books))),
        books,
        messages: Messages::Templates(Box::new(Packer::new(config, templates).unwrap())),
        link,
        clock: SessionClock::Capture(NOW),
        pacing: Pacing::Rate(u64::MAX),
        pace: Pace::new(u64::MAX, BURST),
        spread: SLOWEST_SPREAD,
        spreading: false,
        pending: Vec::new(),
        at: None,
        health: Health::Good,
        last_trouble: MonotonicNanos(0),
    }
}

#[test]
fn a_link_that_takes_nothing_is_not_tried_without_end_and_its_records_are_counted() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let trying = runtime.spawn(async {
        let mut ledger = Ledger::new();
        let mut session = with_a_link_that_fails(&mut ledger).await;
        // Templates alone: they are due again as soon as they did not go.
        session.send(true).await;
        let key = FlowKey { ip_version: IpVersion::V4, ..FlowKey::default() };
        let counters = FlowCounters { packets: 3, octets: 120, ..FlowCounters::default() };
        let record = FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &NOW);
        session.queue.offer(Batch::new(&[record], Some(NOW)));
        session.queue.close();
        session.run().await;
        session.books.read()
    });
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), trying).await });
    // A session that tries without end does not end with the runtime either.
    runtime.shutdown_background();
    let books = ended.expect("it ends").unwrap();
    assert_eq!((books.offered.packets, books.queued.packets, books.sent.packets), (3, 0, 0));
    assert_eq!(books.not_sent[NotSent::SendFailed as usize].packets, 3);
}
