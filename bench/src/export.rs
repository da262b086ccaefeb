//! Part d, the agent's side: records from the queue to the socket, and new flows all the way from the kernel's maps.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use netflow_common::{Address, FlowCounters, FlowKey, IpVersion, NetworkU16, Ports};
use netflow_user::{
    agent::Exporter,
    clock,
    kernel::Flip,
    record::{FlowEndReason, FlowRecord, IntoRecord as _},
    time::Instant as Now,
};
use tokio::runtime::Runtime;

use crate::{
    Context, Measurement, Outcome, Plot, Series, Table, Target, Unit,
    drain::{self, Stage},
    machine::{self, Pinned},
    memory,
    outcome::PlotKind,
    packet::{Vary, thread_nanos},
};

/// Records that are sent in one round: what the queue takes.
const RECORDS: u32 = 1_000_000;
/// As the meter hands them over.
const BATCH: usize = Exporter::BATCH;
/// Records per second of one core.
const LIMIT: f64 = 2e6;
/// New flows per second of one core, from the kernel's maps to the socket.
const LIMIT_NEW: f64 = 1e6;
/// A round that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// The idle timeout of flows that are to end at the drain that brings them, and a little more than that.
const IDLE: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_millis(100);

/// What is sent, and to whom.
struct Case {
    name: &'static str,
    protocol: &'static str,
    /// Every third record is of IPv6.
    mixed: bool,
    /// Somebody reads the socket.
    read: bool,
    /// Has a target.
    target: bool,
}

const CASES: [Case; 5] = [
    Case { name: "IPFIX", protocol: "ipfix", mixed: false, read: false, target: true },
    Case { name: "IPFIX, every third of IPv6", protocol: "ipfix", mixed: true, read: false, target: false },
    Case {
        name: "IPFIX to a socket that is read",
        protocol: "ipfix",
        mixed: false,
        read: true,
        target: false,
    },
    Case { name: "NetFlow v9", protocol: "v9", mixed: false, read: false, target: true },
    Case { name: "NetFlow v5", protocol: "v5", mixed: false, read: false, target: true },
];

/// Thread time and elapsed time of a million records, each made a rate.
#[derive(Default)]
struct Rates {
    of_core: Vec<f64>,
    elapsed: Vec<f64>,
}

/// Runs the part; adds to what is told of it.
///
/// # Errors
/// A session cannot be opened, or records are missing.
pub fn run(context: &Context, outcome: &mut Outcome) -> Result<()> {
    let cpu = machine::last_cpu();
    let _pinned = Pinned::to(cpu);
    outcome.method.push_str(&format!(
        "The agent: a million records of IPv4 flows, in batches of {BATCH} as the meter hands them over, go through its own queue and session \
         (encoding, packing, UDP_SEGMENT) to a socket on loopback, all on one thread on CPU {cpu}, as fast as it can. Per core: by \
         the thread's time on the CPU, in which the kernel's way to the receiving socket is included. Nobody reads that socket, where nothing else is said: what \
         its buffer cannot hold the kernel drops. Every record must have been sent. "
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(
        "Records per second, from the queue to the socket:",
        &["", "of one core", "by elapsed time", "records a message"],
    );
    let mut bars = Vec::new();
    for case in &CASES {
        let (rates, per_message) = measure(context, &runtime, case)?;
        let rate = Measurement::of(Unit::RecordsPerSecond, rates.of_core).context("no rounds")?;
        bars.push(Series::bar(case.name, rate.median()));
        if case.target {
            let name = format!("{}, records of one core", case.name);
            outcome.targets.push(Target::at_least(name, LIMIT, Unit::RecordsPerSecond, Some(rate.median())));
        }
        let elapsed = Measurement::of(Unit::RecordsPerSecond, rates.elapsed);
        table.row(case.name, [rate.into(), elapsed.into(), per_message.into()]);
    }
    let (rates, parts) = new_flows(context, &runtime)?;
    let rate = Measurement::of(Unit::RecordsPerSecond, rates.of_core).context("no rounds")?;
    bars.push(Series::bar("new flow: drain to socket (IPFIX)", rate.median()));
    let name = "new flows of one core, drain to socket";
    outcome.targets.push(Target::at_least(name, LIMIT_NEW, Unit::RecordsPerSecond, Some(rate.median())));
    let elapsed = Measurement::of(Unit::RecordsPerSecond, rates.elapsed);
    table.row("new flow: drain to socket (IPFIX)", [rate.into(), elapsed.into(), crate::Cell::Nothing]);
    outcome.tables.extend([table, parts]);
    outcome.plots.push(Plot {
        name: "export".to_owned(),
        title: "Records per second of one core".to_owned(),
        x_label: String::new(),
        y_label: "records per second".to_owned(),
        kind: PlotKind::Bars,
        series: bars,
    });
    Ok(())
}

/// Rates, and how many records stand in a message.
fn measure(context: &Context, runtime: &Runtime, case: &Case) -> Result<(Rates, f64)> {
    let sink = Sink::open(case.read)?;
    let config = memory::defaults(&["-c", &sink.url(case.protocol)])?.export;
    let target = config.destinations.first().context("no destination")?;
    let now = clock::now();
    let records: Vec<_> = (0..RECORDS).map(|number| record(number, case.mixed, &now)).collect();
    let (mut rates, mut per_message) = (Rates::default(), 0.0);
    // The first round is the first time that memory is touched.
    for round in 0..=context.rounds(2, 9) {
        let begin = (thread_nanos(), Instant::now());
        let (sent, messages) = runtime.block_on(async {
            let exporter = Exporter::start(target, &config).await?;
            let mut list = Vec::with_capacity(BATCH);
            records.chunks(BATCH).for_each(|batch| {
                list.extend_from_slice(batch);
                exporter.offer(&mut list);
            });
            anyhow::Ok(exporter.finish(PATIENCE).await)
        })?;
        if round > 0 {
            rates.push(begin, RECORDS);
        }
        ensure!(sent == u64::from(RECORDS), "{}: {sent} records of {RECORDS} were sent", case.name);
        per_message = sent as f64 / messages as f64;
        if round > 0 && !context.has_time_for(begin.1.elapsed()) {
            break;
        }
    }
    Ok((rates, per_message))
}

impl Rates {
    fn push(&mut self, (thread, start): (u64, Instant), records: u32) {
        let elapsed = start.elapsed();
        let nanos = thread_nanos() - thread;
        self.of_core.push(f64::from(records) * 1e9 / nanos as f64);
        self.elapsed.push(f64::from(records) / elapsed.as_secs_f64());
    }
}

/// A million flows of one packet each: drained, merged, ended, made records, queued, sent. Where the time goes stands in
/// the second table.
fn new_flows(context: &Context, runtime: &Runtime) -> Result<(Rates, Table)> {
    let sink = Sink::open(false)?;
    let config = memory::defaults(&["-c", &sink.url("ipfix")])?.export;
    let target = config.destinations.first().context("no destination")?;
    let mut stage = Stage::new(&drain::options_for(drain::LARGE), RECORDS)?;
    stage.cache = drain::cache(RECORDS, IDLE)?;
    let mut vary = Vary::load()?;
    let mut rates = Rates::default();
    let mut parts = [const { Vec::new() }; 3];
    for round in 0..=context.rounds(2, 9) {
        stage.fill(&mut vary)?;
        thread::sleep(LATER);
        let exporter = runtime.block_on(Exporter::start(target, &config))?;
        let begin = (thread_nanos(), Instant::now());
        let (now, _) = clock::read(&mut stage.kernel)?;
        let frozen = stage.kernel.flip(Flip::NoWait)?;
        let Stage { kernel, drain, ticks, cache, .. } = &mut stage;
        let drained = drain.take(kernel, frozen, ticks, |deltas| {
            cache.merge_all(deltas, &mut |_, _, _| {});
        })?;
        let merged = thread_nanos();
        let mut records: Vec<FlowRecord> = Vec::with_capacity(BATCH);
        cache.expire(now.monotonic, &mut |key, counters, reason| {
            records.push((key, counters).into_record(reason, &now));
            if records.len() == BATCH {
                exporter.offer(&mut records);
            }
        });
        exporter.offer(&mut records);
        let queued = thread_nanos();
        let (sent, _) = runtime.block_on(exporter.finish(PATIENCE));
        if round > 0 {
            let ends = [begin.0, merged, queued, thread_nanos()];
            rates.push(begin, RECORDS);
            for (samples, pair) in parts.iter_mut().zip(ends.windows(2)) {
                samples.push((pair[1] - pair[0]) as f64 / f64::from(RECORDS));
            }
        }
        stage.check(&drained)?;
        ensure!(sent == u64::from(RECORDS), "{sent} records of {RECORDS} new flows were sent");
        if round > 0 && !context.has_time_for(2 * begin.1.elapsed()) {
            break;
        }
    }
    let mut table = Table::new(
        "Where the time of a new flow goes, from the kernel's maps to the socket (a million flows of one packet):",
        &["", "ns"],
    );
    let names = ["drained and merged", "ended, made a record, queued", "encoded and sent"];
    for (name, samples) in names.into_iter().zip(parts) {
        table.row(name, [Measurement::of(Unit::Nanoseconds, samples).into()]);
    }
    Ok((rates, table))
}

fn record(number: u32, mixed: bool, now: &Now) -> FlowRecord {
    let is_ipv6 = mixed && number.is_multiple_of(3);
    let ip_version = if is_ipv6 { IpVersion::V6 } else { IpVersion::V4 };
    let address = |first: u8| match is_ipv6 {
        true => Address::from_words([u64::from(first), u64::from(number)]),
        false => Address::from_ipv4(((u32::from(first) << 24) | number).to_be_bytes()),
    };
    let key = FlowKey {
        source_address: address(10),
        destination_address: address(192),
        interface: 2,
        source_port: NetworkU16::new(1024 + (number % 50_000) as u16),
        destination_port: NetworkU16::new(443),
        protocol: FlowKey::UDP,
        ip_version,
        ports: Ports::PRESENT,
        ..FlowKey::default()
    };
    let counters = FlowCounters {
        packets: 3,
        octets: 4000,
        first: now.monotonic.0 - 1_000_000_000,
        last: now.monotonic.0,
        minimum_ttl: 64,
        maximum_ttl: 64,
        ..FlowCounters::default()
    };
    FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, now)
}

/// Where messages go.
struct Sink {
    socket: Arc<UdpSocket>,
    ended: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Sink {
    /// A socket on loopback; with `read` a thread on the first CPU reads it.
    fn open(read: bool) -> Result<Self> {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
        let ended = Arc::new(AtomicBool::new(false));
        let reader = read.then(|| {
            let (socket, ended) = (Arc::clone(&socket), Arc::clone(&ended));
            thread::spawn(move || {
                let _pinned = Pinned::to(0);
                let _ = socket.set_read_timeout(Some(Duration::from_millis(100)));
                let mut buffer = [0; 65_535];
                while !ended.load(Ordering::Relaxed) {
                    let _ = socket.recv(&mut buffer);
                }
            })
        });
        Ok(Self { socket, ended, reader })
    }

    fn url(&self, protocol: &str) -> String {
        let port = self.socket.local_addr().map_or(0, |address| address.port());
        format!("udp://127.0.0.1:{port}?protocol={protocol}")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_offered_to_an_exporter_is_sent_before_its_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sink = Sink::open(true).unwrap();
        for protocol in ["ipfix", "v9", "v5"] {
            let config = memory::defaults(&["-c", &sink.url(protocol)]).unwrap().export;
            let mut records: Vec<_> = (0..1000).map(|number| record(number, false, &clock::now())).collect();
            let (sent, messages) = runtime.block_on(async {
                let exporter = Exporter::start(&config.destinations[0], &config).await.unwrap();
                exporter.offer(&mut records);
                exporter.finish(PATIENCE).await
            });
            assert_eq!(sent, 1000, "{protocol}");
            assert!((1..1000).contains(&messages), "{protocol}: {messages}");
        }
    }
}
