//! Streams and secured datagrams, over sockets of loopback.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::output::Pipe;
use super::*;
use crate::collect::{CollectError, Format, ListenUrl, Listener, Summary, run};
use crate::time::MonotonicNanos;

/// A collector at work.
pub struct Running {
    pub addresses: Vec<SocketAddr>,
    pipe: Pipe,
    stop: watch::Sender<bool>,
    work: JoinHandle<Result<Summary, CollectError>>,
}

impl Running {
    pub fn start(urls: &[&str]) -> Self {
        let places: Vec<ListenUrl> = urls.iter().map(|url| ListenUrl::parse(url).unwrap()).collect();
        let listener = Listener::open(&places).unwrap();
        let addresses = listener.places().iter().map(|place| place.address).collect();
        let (pipe, (stop, stopped)) = (Pipe::default(), watch::channel(false));
        let work = tokio::spawn(run(listener, Format::Json, stopped, pipe.clone(), MonotonicNanos::default));
        Self { addresses, pipe, stop, work }
    }

    /// Waits until so many records are there.
    pub async fn until(&self, lines: usize) {
        let enough = async {
            while self.text().lines().count() < lines {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), enough).await;
        assert!(waited.is_ok(), "{lines} records expected: {}", self.text());
    }

    fn text(&self) -> String {
        String::from_utf8(self.pipe.0.lock().unwrap().clone()).unwrap()
    }

    /// The records and the summary.
    pub async fn finish(self) -> (Vec<String>, Summary) {
        self.stop.send(true).unwrap();
        let summary = self.work.await.unwrap().unwrap();
        let text = String::from_utf8(self.pipe.0.lock().unwrap().clone()).unwrap();
        (text.lines().map(str::to_owned).collect(), summary)
    }
}

/// Flows in one order and without what tells the ways apart.
pub fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Templates, 16 options records and five flows.
pub fn messages() -> Vec<Vec<u8>> {
    [6, 7, 8].map(vector).into()
}

/// What the same messages give as datagrams.
pub fn expected() -> Vec<String> {
    let mut collector = Collector::new();
    let from = Peer::by_datagrams("127.0.0.1:1".parse().unwrap());
    let flows = messages().into_iter().flat_map(|message| collector.decode_all(from, &message));
    sorted(flows.map(|flow| serde_json::to_string(&flow).unwrap()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_by_length_whatever_is_read_at_once() {
    // TCP-FRAME-1
    let running = Running::start(&["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]);
    let stream = messages().concat();
    for piece in [1, 7, 16, stream.len()] {
        let mut peer = TcpStream::connect(running.addresses[0]).unwrap();
        peer.set_nodelay(true).unwrap();
        stream.chunks(piece).for_each(|octets| peer.write_all(octets).unwrap());
    }
    running.until(84).await;
    let (lines, summary) = running.finish().await;
    let expected: Vec<String> =
        expected().into_iter().flat_map(|line| [(); 4].map(|()| line.clone())).collect();
    assert_eq!(sorted(lines), sorted(expected));
    assert_eq!(
        summary.to_string(),
        "collected 20 records, 104 packets, 33.5 GiB and 64 options records in 12 messages; nothing lost"
    );
}

// RFC 7011 section 8.1: templates live as long as the Transport Session.
#[tokio::test(flavor = "multi_thread")]
async fn templates_die_with_their_connection() {
    let running = Running::start(&["tcp://127.0.0.1:0"]);
    let mut first = TcpStream::connect(running.addresses[0]).unwrap();
    first.write_all(&messages().concat()).unwrap();
    running.until(21).await;
    let mut second = TcpStream::connect(running.addresses[0]).unwrap();
    second.write_all(&vector(8)).unwrap();
    drop((first, second));
    let (lines, summary) = running.finish().await;
    assert_eq!(lines.len(), 21);
    let unknown = vector(8);
    let set = u16::from_be_bytes([unknown[16], unknown[17]]);
    assert!(summary.to_string().contains("sets without template"), "{summary}");
    let said = summary.not_decoded().join("\n");
    assert!(
        said.contains(&format!(
            "1 sets with id {set}: no template {set} has come (from 127.0.0.1, IPFIX, domain 7)"
        )),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_ipfix_is_closed_and_counted() {
    let running = Running::start(&["tcp://127.0.0.1:0"]);
    for foreign in [&b"GET / HTTP/1.1\r\n"[..], &[0, 9, 0, 30], &[0, 10, 0, 15]] {
        let mut peer = TcpStream::connect(running.addresses[0]).unwrap();
        // A good message before it is decoded.
        peer.write_all(&messages().concat()).unwrap();
        peer.write_all(foreign).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let closed = peer.read(&mut [0]);
        assert!(
            !matches!(closed, Ok(1))
                && closed.map_err(|error| error.kind()) != Err(std::io::ErrorKind::WouldBlock)
        );
    }
    let mut cut = TcpStream::connect(running.addresses[0]).unwrap();
    cut.write_all(&vector(6)[..30]).unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    cut.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(cut.read(&mut [0]).unwrap(), 0);
    running.until(63).await;
    let (lines, summary) = running.finish().await;
    assert_eq!(lines.len(), 63);
    assert!(
        summary
            .to_string()
            .ends_with("; 3 connections that were not IPFIX, 1 connections cut within a message"),
        "{summary}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stops_in_a_message_holds_up_nobody() {
    let running = Running::start(&["tcp://127.0.0.1:0"]);
    let stream = messages().concat();
    let stuck: Vec<TcpStream> = (0..50)
        .map(|length| {
            let mut peer = TcpStream::connect(running.addresses[0]).unwrap();
            peer.write_all(&stream[..length]).unwrap();
            peer
        })
        .collect();
    let mut peers: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(running.addresses[0]).unwrap()).collect();
    // In turns: each connection has its own state.
    for octets in stream.chunks(50) {
        peers.iter_mut().for_each(|peer| peer.write_all(octets).unwrap());
    }
    running.until(2100).await;
    drop((peers, stuck));
    let (lines, summary) = running.finish().await;
    assert_eq!((lines.len(), summary.counters().records), (2100, 500));
}

/// A Template Withdrawal (RFC 7011 section 8.1) of `id`.
fn withdrawal(set: u16, id: u16) -> Vec<u8> {
    let mut message = vec![0, 10, 0, 24];
    message.extend(vector(8)[4..16].iter());
    message.extend([set, 8, id, 0].into_iter().flat_map(u16::to_be_bytes));
    message
}

// RFC 7011 section 8.1, and 8.4 for UDP.
#[test]
fn a_withdrawn_template_is_forgotten_by_a_connection_and_kept_for_datagrams() {
    let address = exporter();
    let connection = Peer { address, way: Way::Connection { number: 1 } };
    let datagrams = Peer::by_datagrams(address);
    let data = vector(8);
    let set = u16::from_be_bytes([data[16], data[17]]);
    for (peer, id, left) in [
        (connection, set, false),
        (connection, 2, false),
        (connection, 3, true),
        (connection, 999, true),
        (datagrams, set, true),
        (datagrams, 2, true),
    ] {
        let mut collector = Collector::new();
        for number in [6, 7] {
            collector.decode_all(peer, &vector(number)).for_each(drop);
        }
        let kind = if id == 3 { 3 } else { 2 };
        collector.decode_all(peer, &withdrawal(kind, id)).for_each(drop);
        collector.decode_all(peer, &data).for_each(drop);
        let counters = collector.counters();
        assert_eq!(counters.unknown_template == 0, left, "{peer:?} {id}: {counters:?}");
        assert_eq!(counters.malformed, 0);
    }
}

#[test]
fn the_withdrawals_of_the_vectors_take_one_template_or_all_of_both_kinds() {
    // VEC-10, VEC-11
    let mut withdrawn = withdrawal(2, 256);
    withdrawn[8..12].copy_from_slice(&26_u32.to_be_bytes());
    assert_eq!(withdrawn, vector(10));
    let connection = Peer { address: exporter(), way: Way::Connection { number: 1 } };
    // VEC-8 has one Set of template 256 and one of 257, VEC-7 fifteen Sets of options data.
    for (number, flows, flow_sets, options_sets) in [(10, 2, 1, 0), (11, 0, 2, 15)] {
        let mut collector = Collector::new();
        for number in [6, number] {
            collector.decode_all(connection, &vector(number)).for_each(drop);
        }
        assert_eq!(collector.decode_all(connection, &vector(8)).count(), flows, "VEC-{number}");
        assert_eq!(collector.counters().unknown_template, flow_sets, "VEC-{number}");
        collector.decode_all(connection, &vector(7)).for_each(drop);
        assert_eq!(collector.counters().unknown_template, flow_sets + options_sets, "VEC-{number}");
        assert_eq!(collector.counters().malformed, 0);
    }
}

#[test]
fn who_connects_cannot_take_the_room_of_others() {
    let message = |domain: u32| {
        let mut message = vector(6);
        message[12..16].copy_from_slice(&domain.to_be_bytes());
        message
    };
    let mut collector = Collector::new();
    let peer = |number| Peer { address: exporter(), way: Way::Connection { number } };
    collector.decode_all(peer(1), &message(7)).for_each(drop);
    (0..3000).for_each(|domain| collector.decode_all(peer(2), &message(domain)).for_each(drop));
    for port in 1..3000 {
        let from = SocketAddr::new(exporter().ip(), port);
        collector.decode(from, &message(1));
    }
    assert_eq!(collector.sessions(), 1 + 64 + 1024);
    collector.forget(peer(2));
    assert_eq!(collector.sessions(), 1 + 1024);
    collector.decode_all(peer(1), &vector(7)).for_each(drop);
    let before = collector.counters().records;
    assert!(collector.decode_all(peer(1), &vector(8)).count() > 0, "its templates are known");
    assert!(collector.counters().records > before);
}
