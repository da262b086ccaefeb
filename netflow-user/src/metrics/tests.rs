#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;

use super::{Listener, Server, picture::Picture};
use crate::{
    agent::{CollectorState, Latencies, Status, Timings},
    interface::{Interfaces, ReceiveDrops},
    ledger::{Ledger, NotSent, Volume},
    time::UnixMillis,
};

/// With whatever ends a label value.
const COLLECTOR: &str = "udp://192.0.2.1:4739?group=\"a\\b\n\"";

fn status() -> Status {
    let mut ledger = Ledger::new();
    let books = [ledger.join(COLLECTOR), ledger.join("json:-"), ledger.join("json:-")];
    books[0].queued(Volume { records: 3, packets: 30, octets: 3000 });
    books[0].turned_away(NotSent::QueueFull, Volume { records: 1, packets: 10, octets: 1000 });
    books[0].session_began(UnixMillis(1_767_225_600_500));
    let state = CollectorState { is_good: true, queue_limit: 1 << 20 };
    Status {
        at: UnixMillis(1_767_225_601_250),
        started: UnixMillis(1_767_225_600_000),
        books: ledger.books(),
        timings: Timings::default(),
        latencies: Latencies::default(),
        drain_interval: Duration::from_millis(1500),
        collectors: vec![state; 3],
        sampled_one_in: 8,
        traffic: crate::control::Traffic::default(),
        interfaces: Vec::new(),
    }
}

fn picture() -> Picture {
    let drops = ReceiveDrops { missed: 7, ..ReceiveDrops::default() };
    Picture { status: Some(Arc::new(status())), interfaces: vec![("m0".to_owned(), drops)] }
}

/// The samples, by name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert_eq!(samples.insert(name, value.parse().unwrap()), None, "twice: {name}");
    }
    samples
}

#[test]
fn a_scrape_has_each_series_once_and_the_values_of_the_picture() {
    let text = picture().plain().unwrap();
    let samples = samples(&text);
    for (name, value) in [
        ("netflow_ledger_balanced", 1.0),
        ("netflow_sampling_interval_packets", 8.0),
        ("netflow_drain_interval_seconds", 1.5),
        ("netflow_last_flip_timestamp_seconds", 1_767_225_601.25),
        ("process_start_time_seconds", 1_767_225_600.0),
        (r#"netflow_interface_receive_drops_packets_total{interface="m0",reason="missed"}"#, 7.0),
        (r#"netflow_destination_queue_limit_records{collector="json:-"}"#, 1_048_576.0),
        (r#"netflow_destination_up{collector="json:- (2)"}"#, 1.0),
        (r#"netflow_destination_queued_bytes{collector="udp://192.0.2.1:4739?group=\"a\\b\n\""}"#, 3000.0),
        (
            r#"netflow_destination_not_sent_records_total{collector="udp://192.0.2.1:4739?group=\"a\\b\n\"",reason="queue_full"}"#,
            1.0,
        ),
        (r#"netflow_flip_duration_seconds_bucket{le="+Inf"}"#, 0.0),
        (concat!(r#"netflow_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in {text}");
    }
}

#[test]
fn plain_text_declares_each_family_under_the_name_of_its_samples() {
    let text = picture().plain().unwrap();
    let mut declared = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert_eq!(declared.insert(name, kind), None, "{name} is declared twice");
        }
    }
    for name in samples(&text).keys() {
        let name = name.split('{').next().unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let kind = declared.get(name).or_else(|| declared.get(of_histogram?));
        let kind = kind.unwrap_or_else(|| panic!("{name} is not declared"));
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
    }
    assert!(text.lines().all(|line| !line.starts_with("# UNIT") && line != "# EOF"));
    let open = picture().open_metrics().unwrap();
    assert!(open.contains("# TYPE netflow_seen_packets counter") && open.ends_with("# EOF\n"));
}

#[test]
fn before_the_first_flip_there_is_little_to_show() {
    let text = Picture::default().plain().unwrap();
    assert!(samples(&text).keys().all(|name| name.starts_with("netflow_build_info")), "{text}");
}

fn serve() -> (Server, SocketAddr) {
    let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let (_, statuses) = watch::channel(Some(Arc::new(status())));
    let (_, metered) = watch::channel(Vec::new());
    (listener.serve(statuses, metered, Interfaces::open().unwrap()), address)
}

/// Sends octets and returns all that comes back.
async fn ask(address: SocketAddr, request: &'static str) -> String {
    let ask = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // It may be reset, where not all was read.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_got_and_everything_else_is_refused() {
    let (_server, address) = serve();
    let plain = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 200 OK\r\n"), "{plain}");
    assert!(plain.contains("content-type: text/plain; version=0.0.4"), "{plain}");
    assert!(plain.contains("\nnetflow_ledger_balanced 1\n"), "{plain}");
    let accept = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/html;q=0.1, application/openmetrics-text;version=1.0.0\r\n\r\n";
    let open = ask(address, accept).await;
    assert!(open.contains("content-type: application/openmetrics-text") && open.ends_with("# EOF\n"));
    let head = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for (request, code) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /metrics/../etc HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = ask(address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_without_end_and_clients_that_say_nothing_are_put_out() {
    const LINES: usize = 100_000;
    let (_server, address) = serve();
    // As many as there is room for, and more.
    let silent: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut endless = TcpStream::connect(address).unwrap();
    let flood = tokio::task::spawn_blocking(move || {
        let line = format!("x: {}\r\n", "a".repeat(1000));
        let _ = endless.write_all(b"GET /metrics HTTP/1.1\r\n");
        // More than sockets hold.
        (0..LINES).take_while(|_| endless.write_all(line.as_bytes()).is_ok()).count()
    });
    let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.contains("\nnetflow_ledger_balanced 1\n"), "{answer}");
    assert!(flood.await.unwrap() < LINES, "a header without end was taken");
    drop(silent);
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let first = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
    assert!(Listener::open(first.address()).is_err());
}

/// Words in a text that look like metrics of this exporter, which have no capital letters: packages' files may.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let words = words.filter(|word| !word.contains(char::is_uppercase));
    words.filter(|word| word.starts_with("netflow_") || word.starts_with("process_")).collect()
}

#[test]
fn dashboard_alert_rules_and_readme_name_metrics_that_exist() {
    let text = picture().plain().unwrap();
    let known: BTreeSet<&str> =
        samples(&text).keys().map(|name| name.split('{').next().unwrap_or_default()).collect();
    let dashboard = include_str!("../../../packaging/grafana/netflow.json");
    let rules = include_str!("../../../packaging/prometheus/netflow.rules.yml");
    let readme = include_str!("../../../README.md");
    // README speaks of histograms as a whole.
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let documented: BTreeSet<&str> = known.iter().copied().chain(families).collect();
    for (what, text, known) in
        [("the dashboard", dashboard, &known), ("the rules", rules, &known), ("README", readme, &documented)]
    {
        let named = named(text);
        assert!(named.len() > 3, "{what} names too few: {named:?}");
        let unknown: Vec<&&str> = named.difference(known).collect();
        assert!(unknown.is_empty(), "{what} names what does not exist: {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_json_and_each_panel_asks_for_something() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../packaging/grafana/netflow.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        let asked = targets
            .iter()
            .all(|target| target["expr"].as_str().is_some_and(|expression| !named(expression).is_empty()));
        assert!(asked && !targets.is_empty(), "{}", panel["title"]);
    }
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels share an id");
}
