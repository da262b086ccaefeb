//! Sessions whose links take nothing, break, and come back.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;

use netflow_common::{FlowCounters, FlowKey, IpVersion};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    agent::spool::Spool,
    ledger::Ledger,
    message::{ONCE, Packer, PackerConfig, Protocol, TemplateOptions, TemplateSet, V5Packer, V5PackerConfig},
    record::FlowEndReason,
    transport::{Content, ExportProtocol, FileTarget, Sync},
};

pub(super) const NOW: Instant =
    Instant { monotonic: MonotonicNanos(1_000_000_000), unix_nanos: 1_767_225_600_000_000_000 };

fn messages(message_size: usize) -> Messages {
    messages_of(Protocol::Ipfix, message_size)
}

fn messages_of(protocol: Protocol, message_size: usize) -> Messages {
    let config = PackerConfig {
        observation_domain_id: 1,
        template_refresh: ONCE,
        template_refresh_messages: NonZeroU32::MAX,
        options_refresh: ONCE,
        statistics_interval: ONCE,
        exporter_address: [0; 4],
        sys_up_time_origin: MonotonicNanos(0),
        message_size,
    };
    let templates = TemplateSet::new(&TemplateOptions::new(protocol)).unwrap();
    Messages::Templates(Box::new(Packer::new(config, templates).unwrap()))
}

/// A session that is ready to run.
fn session(link: Link, books: Arc<DestinationBooks>) -> Session {
    session_of(ExportProtocol::Ipfix, link, books)
}

/// The same, of any protocol.
pub(super) fn session_of(protocol: ExportProtocol, link: Link, books: Arc<DestinationBooks>) -> Session {
    let message_size = link.message_limit();
    let messages = match protocol {
        ExportProtocol::Ipfix => messages_of(Protocol::Ipfix, message_size),
        ExportProtocol::NetflowV9 => messages_of(Protocol::NetflowV9, message_size),
        ExportProtocol::NetflowV5 => {
            let config = V5PackerConfig {
                observation_domain_id: 1,
                sampling: None,
                prefix_lengths: [None; 2],
                sys_up_time_origin: MonotonicNanos(0),
                message_size,
            };
            Messages::V5(V5Packer::new(config).unwrap())
        }
    };
    Session {
        queue: Arc::new(Queue::new(Arc::clone(&books), QUEUE_RECORDS)),
        books,
        messages,
        link,
        clock: SessionClock::Capture(NOW),
        pacing: Pacing::Rate(u64::MAX),
        pace: Pace::new(u64::MAX, BURST),
        pending: Vec::new(),
        gone: 0,
        outgoing: Outgoing::default(),
        skipped: 0,
        unacknowledged: Unacknowledged::default(),
        spooling: None,
        noticed: statistics::Noticed::default(),
        control: None,
        socket: None,
        at: None,
        health: Health::Good,
        last_trouble: MonotonicNanos(0),
    }
}

fn record(packets: u64) -> FlowRecord {
    let key = FlowKey { ip_version: IpVersion::V4, ..FlowKey::default() };
    let counters = FlowCounters { packets, octets: 40 * packets, ..FlowCounters::default() };
    FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &NOW)
}

/// The record, every so many of IPv6.
fn of_family(record: FlowRecord, ipv6_every: u64) -> FlowRecord {
    let is_ipv6 = record.packets().is_multiple_of(ipv6_every);
    let ip_version = if is_ipv6 { IpVersion::V6 } else { IpVersion::V4 };
    FlowRecord { key: FlowKey { ip_version, ..record.key }, ..record }
}

/// A session whose link takes nothing: its directory is gone.
async fn with_a_link_that_fails(ledger: &mut Ledger) -> Session {
    let directory = std::env::temp_dir().join(format!("netflow-gone-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let target = FileTarget {
        prefix: directory.join("flows"),
        rotate_size: None,
        rotate_time: None,
        sync: Sync::Close,
        content: Content::Ipfix,
    };
    let link = Link::open(&Target::File(target), None).await.unwrap();
    std::fs::remove_dir(&directory).unwrap();
    session(link, ledger.join("gone".to_owned()))
}

#[test]
fn a_link_that_takes_nothing_is_not_tried_without_end_and_its_records_are_counted() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let trying = runtime.spawn(async {
        let mut ledger = Ledger::new();
        let mut session = with_a_link_that_fails(&mut ledger).await;
        // Templates alone: they are due again as soon as they did not go.
        session.send(true).await;
        session.queue.offer(Batch::of(&[record(3)], Some(NOW)));
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

/// What one connection carried: octets, cut into messages by their Length.
async fn read_messages(stream: &mut TcpStream) -> Vec<Vec<u8>> {
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).await.unwrap();
    let mut rest = octets.as_slice();
    let mut messages = Vec::new();
    while let Some(length) = rest.get(2..4) {
        let length = u16::from_be_bytes([length[0], length[1]]).into();
        messages.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    messages
}

fn sequence_number(message: &[u8]) -> u32 {
    u32::from_be_bytes(message[8..12].try_into().unwrap())
}

/// The packets of each record in messages of the default template for IPv4.
fn packets(messages: &[Vec<u8>]) -> Vec<u64> {
    let mut collector = crate::collect::Collector::new();
    let from = "192.0.2.1:1".parse().unwrap();
    messages
        .iter()
        .flat_map(|message| collector.decode(from, message))
        .map(|flow| flow.packets().unwrap())
        .collect()
}

#[tokio::test]
async fn a_new_connection_has_templates_first_sequence_numbers_from_zero_and_what_did_not_arrive() {
    // IPFIX-SEQ-6, TMPL-SES-1, TCP-TMPL-1, TCP-CONN-4, and STAT-CNT-3: the books go on.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Target::parse(&format!("tcp://127.0.0.1:{port}?retry=1s"), ExportProtocol::Ipfix).unwrap();
    let link = Link::open(&target, None).await.unwrap();
    let books = Ledger::new().join("collector");
    let mut session = session(link, Arc::clone(&books));
    let queue = Arc::clone(&session.queue);
    let running = tokio::spawn(async move { session.run().await });

    queue.offer(Batch::of(&[record(1), record(2)], Some(NOW)));
    let (mut first, _) = listener.accept().await.unwrap();
    while books.read().sent.records < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It stops, in order; what comes then goes to the next one.
    first.shutdown().await.unwrap();
    let before = read_messages(&mut first).await;
    queue.offer(Batch::of(&[record(4)], Some(NOW)));
    queue.offer(Batch::of(&[record(8)], Some(NOW)));
    queue.close();
    let (mut second, _) = listener.accept().await.unwrap();
    let after = read_messages(&mut second).await;
    running.await.unwrap();

    for messages in [&before, &after] {
        assert_eq!(sequence_number(&messages[0]), 0);
        // TMPL-SES-2
        assert!(messages[1..].iter().all(|message| message[16..18] != [0, 2]));
        // Set 2, behind the header of 16 octets.
        assert_eq!(messages[0][16..18], [0, 2]);
    }
    assert_eq!((packets(&before), packets(&after)), (vec![1, 2], vec![4, 8]));
    let numbers = books.read();
    assert_eq!((numbers.offered.packets, numbers.sent.packets, numbers.queued.packets), (15, 15, 0));
}

#[tokio::test]
async fn records_wait_for_a_collector_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("tcp://{address}?retry=1s");
    let link = Link::open(&Target::parse(&url, ExportProtocol::Ipfix).unwrap(), None).await.unwrap();
    let books = Ledger::new().join("collector");
    let mut session = session(link, Arc::clone(&books));
    session.queue.offer(Batch::of(&[record(1)], Some(NOW)));
    session.queue.close();
    let running = tokio::spawn(async move { session.run().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((books.read().queued.records, running.is_finished()), (1, false));
    let listener = TcpListener::bind(address).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(packets(&read_messages(&mut stream).await), [1]);
    running.await.unwrap();
    assert_eq!(books.read().sent.records, 1);
}

/// A session with a spool in this directory, for a collector at this port.
async fn with_a_spool(port: u16, directory: &std::path::Path) -> (Session, Arc<DestinationBooks>) {
    let url = format!("tcp://127.0.0.1:{port}?retry=1s&spool={}", directory.display());
    let target = Target::parse(&url, ExportProtocol::Ipfix).unwrap();
    let books = Ledger::new().join("collector");
    let mut session = session(Link::open(&target, None).await.unwrap(), Arc::clone(&books));
    let options = target.spool().unwrap();
    let spool = Spool::open(options, "c", None, |size| Ok(messages(size)), Arc::clone(&books)).unwrap();
    session.spooling = Some(Spooling::new(spool, options.rate));
    (session, books)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_collector_is_away_records_go_to_disk_and_from_there_first() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (mut session, books) = with_a_spool(address.port(), directory.path()).await;
    let queue = Arc::clone(&session.queue);
    let running = tokio::spawn(async move { session.run().await });
    for packets in 1..=50 {
        queue.offer(Batch::of(&[record(packets)], Some(NOW)));
    }
    while books.read().spooled.records < 50 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(packets(&read_messages(&mut stream).await), (1..=50).collect::<Vec<_>>());
    // What is younger goes over the next connection.
    queue.offer(Batch::of(&[record(51)], Some(NOW)));
    queue.close();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(packets(&read_messages(&mut stream).await), [51]);
    running.await.unwrap();
    let numbers = books.read();
    assert_eq!((numbers.offered.records, numbers.sent.records, numbers.spooled.records), (51, 51, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_at_the_end_is_left_to_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (mut session, books) = with_a_spool(address.port(), directory.path()).await;
    let queue = Arc::clone(&session.queue);
    queue.offer(Batch::of(&[record(1), record(2)], Some(NOW)));
    queue.close();
    session.run().await;
    let numbers = books.read();
    assert_eq!((numbers.spooled.records, numbers.queued.records), (2, 0));
    assert!(numbers.not_sent.iter().all(|lost| lost.records == 0));

    let listener = TcpListener::bind(address).await.unwrap();
    let (mut session, books) = with_a_spool(address.port(), directory.path()).await;
    assert_eq!(books.read().inherited.packets, 3);
    let queue = Arc::clone(&session.queue);
    let running = tokio::spawn(async move { session.run().await });
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(packets(&read_messages(&mut stream).await), [1, 2]);
    queue.close();
    running.await.unwrap();
    assert_eq!((books.read().sent.packets, books.read().spooled.packets), (3, 0));
}

#[tokio::test]
async fn what_waits_goes_in_few_system_calls_in_full_messages_whose_numbers_agree() {
    let (collector, mut session, books) = with_a_listener("127.83.2.1:0").await;
    // Families are mixed, as they come out of a flow cache.
    let records: Vec<_> = (1..=900).map(record).map(|record| of_family(record, 4)).collect();
    session.queue.offer(Batch::of(&records[..600], Some(NOW)));
    session.queue.offer(Batch::of(&records[600..], Some(NOW)));
    session.queue.close();
    session.run().await;
    let numbers = books.read();
    let messages: Vec<_> = (0..numbers.messages).map(|_| receive(&collector)).collect();
    let mut seen = packets(&messages);
    seen.sort_unstable();
    assert_eq!(seen, (1..=900).collect::<Vec<_>>());
    assert_eq!((numbers.sent.records, numbers.queued.records), (900, 0));
    assert_eq!(numbers.message_octets, messages.iter().map(|message| message.len() as u64).sum::<u64>());
    let counted = messages.iter().scan(0, |next, message| {
        let expected = *next;
        *next += packets(&[messages[0].clone(), message.clone()]).len() as u32;
        *next -= packets(&[messages[0].clone()]).len() as u32;
        Some((sequence_number(message), expected))
    });
    for (stated, expected) in counted {
        assert_eq!(stated, expected);
    }
    let calls = session.link.counters().calls;
    assert!(calls * 3 < numbers.messages, "{calls} calls for {} messages", numbers.messages);
}

/// A collector that listens, and a session for it.
async fn with_a_listener(address: &str) -> (std::net::UdpSocket, Session, Arc<DestinationBooks>) {
    let collector = std::net::UdpSocket::bind(address).unwrap();
    collector.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let url = format!("udp://{}", collector.local_addr().unwrap());
    let link = Link::open(&Target::parse(&url, ExportProtocol::Ipfix).unwrap(), None).await.unwrap();
    let books = Ledger::new().join("collector");
    (collector, session(link, Arc::clone(&books)), books)
}

fn receive(collector: &std::net::UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2000];
    let length = collector.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_does_not_wait_for_others_to_fill_its_message() {
    // UDP-TIME-1
    let (collector, mut session, _) = with_a_listener("127.83.2.2:0").await;
    let queue = Arc::clone(&session.queue);
    let running = tokio::spawn(async move { session.run().await });
    queue.offer(Batch::of(&[record(7)], Some(NOW)));
    // Nothing else comes, and the session does not end.
    let message = tokio::task::spawn_blocking(move || receive(&collector)).await.unwrap();
    assert_eq!((packets(&[message]), running.is_finished()), (vec![7], false));
    queue.close();
    running.await.unwrap();
}

#[tokio::test]
async fn duplicates_at_several_collectors_are_the_same_in_every_octet() {
    // TRANS-6
    let mut received = Vec::new();
    for address in ["127.83.2.3:0", "127.83.2.4:0"] {
        let (collector, mut session, books) = with_a_listener(address).await;
        session.queue.offer(Batch::of(&(1..=50).map(record).collect::<Vec<_>>(), Some(NOW)));
        session.queue.close();
        session.run().await;
        received.push((0..books.read().messages).map(|_| receive(&collector)).collect::<Vec<_>>());
    }
    assert!(received[0].len() > 2);
    assert_eq!(received[0], received[1]);
}
