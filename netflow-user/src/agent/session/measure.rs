//! What a record costs from the queue to the socket.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{net::UdpSocket, time::Instant as Stopwatch};

use netflow_common::{Address, FlowCounters, FlowKey, IpVersion};

use super::{
    tests::{NOW, session_of},
    *,
};
use crate::{record::FlowEndReason, transport::ExportProtocol};

const RECORDS: u32 = 1_000_000;
/// As the meter hands them over.
const BATCH: u32 = 1024;

/// One record of many; of IPv6, every third where they are `mixed`.
fn record(number: u32, mixed: bool) -> FlowRecord {
    let is_ipv6 = mixed && number.is_multiple_of(3);
    let ip_version = if is_ipv6 { IpVersion::V6 } else { IpVersion::V4 };
    let source_address = Address::from_ipv4(number.to_be_bytes());
    let key = FlowKey { ip_version, source_address, protocol: 17, ..FlowKey::default() };
    let counters = FlowCounters { packets: 3, octets: 4000, ..FlowCounters::default() };
    FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &NOW)
}

#[test]
#[ignore = "a measurement, for a release build: cargo test --release -p netflow-user --lib session::measure -- --ignored --nocapture"]
fn what_a_record_costs_from_the_queue_to_the_socket() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Its buffer is full soon; what the kernel does to find that is part of sending over loopback.
    let sink = UdpSocket::bind("127.83.1.9:0").unwrap();
    let url = format!("udp://{}", sink.local_addr().unwrap());
    for (protocol, mixed) in [
        (ExportProtocol::Ipfix, false),
        (ExportProtocol::Ipfix, true),
        (ExportProtocol::NetflowV9, false),
        (ExportProtocol::NetflowV5, false),
    ] {
        let batches: Vec<_> = (0..RECORDS.div_ceil(BATCH))
            .map(|batch| {
                (batch * BATCH..RECORDS.min((batch + 1) * BATCH)).map(|n| record(n, mixed)).collect()
            })
            .map(|records: Vec<_>| Batch::of(&records, Some(NOW)))
            .collect();
        let mut rates: Vec<_> = (0..5)
            .map(|_| {
                let books = crate::ledger::Ledger::new().join("sink");
                let nanos = runtime.block_on(async {
                    let link = Link::open(&Target::parse(&url, protocol).unwrap(), None).await.unwrap();
                    let mut session = session_of(protocol, link, Arc::clone(&books));
                    batches.iter().for_each(|batch| session.queue.offer(batch.clone()));
                    session.queue.close();
                    let start = Stopwatch::now();
                    session.run().await;
                    start.elapsed().as_nanos()
                });
                let sent = books.read();
                assert_eq!(sent.sent.records, u64::from(RECORDS));
                (u128::from(RECORDS) * 1_000_000_000 / nanos, sent.messages)
            })
            .collect();
        rates.sort_unstable();
        let (rate, messages) = rates[rates.len() / 2];
        let mixed = if mixed { ", IPv6 among IPv4" } else { "" };
        eprintln!("{}{mixed}: {rate} records/s of a core, {messages} messages", protocol.name());
    }
}
