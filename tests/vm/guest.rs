//! What `cargo xtask vm` runs on an old kernel: loads every program, meters 100,000 packets on a veth pair in this
//! process and by the agent, and demands that the books balance. Its last line is the result.

mod associations;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use netflow_common::{FlowCounters, FlowKey, Group, KernelStats, Tunnel};
use netflow_user::drain::{self, Drain, TickClock};
use netflow_user::filter::Filter;
use netflow_user::filter::classic::{ClassicProgram, RawInstruction};
use netflow_user::kernel::{
    AttachOptions, Direction, EntryPoint, Flip, Kernel, KernelVersion, LoadOptions, Measure, Outcome,
    OwnExport, XdpMode,
};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use tests::agent::{AgentProcess, Signal};
use tests::captures;
use tests::frames::{frame, udp};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::ledger::Ledger;
use tests::meter::{Counted, LOAD_OPTIONS};
use tests::raw::RawSender;
use tests::sctp_capture::{self, SctpCapture};
use tests::sctp_sink::SctpSink;

const PACKETS: usize = 100_000;
const FLOWS: usize = 5_000;
/// 20 octets of IP header, 8 of UDP, 10 of payload.
const OCTETS: u64 = 38;

/// A full SCTP socket holds the records of three.
const ROUNDS: u64 = 20;
/// Records that one message can hold.
const MOST_OF_A_MESSAGE: u64 = 100;

/// The verifier gives up after this many instructions.
const VERIFIER_LIMIT: u32 = 1_000_000;
/// The agent's wide entries, with all that they can be asked for.
const EVERYTHING: [&str; 6] = [
    "--decapsulate",
    "all",
    "--group",
    "l2,size,mpls,opts,spi,igmp,tos,dscp,ttl,frag,fragments,tcp,tunnel,encapsulation",
    "--enterprise-number",
    "32473",
];

/// Where packets are metered.
#[derive(Clone, Copy)]
enum Place {
    /// Where they are received.
    Monitor(XdpMode),
    /// Where they are sent, by TC.
    Generator,
}

/// What `cargo xtask vm` looks for at the beginning of the last line.
const PASSED: &str = "vm-guest passed";
const FAILED: &str = "vm-guest failed";

fn main() -> ExitCode {
    match result() {
        Ok(result) => {
            println!("{PASSED}: {result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{FAILED}: {}", format!("{error:#}").replace('\n', " | "));
            ExitCode::FAILURE
        }
    }
}

fn result() -> Result<String> {
    let everything = Measure {
        join_fragments: true,
        groups: (0..=Group::Tcp as u32).map(|bit| 1 << bit).sum(),
        tunnels: Tunnel::ALL.iter().map(|tunnel| tunnel.bit()).sum(),
        ..Measure::DEFAULT
    };
    let default = programs("default", Measure::DEFAULT)?;
    let filtered = filters()?;
    println!("{filtered} programs with a filter before them loaded");
    let frames = frames();
    let mut balanced = Vec::new();
    for (what, place) in [
        ("native XDP", Place::Monitor(XdpMode::Native)),
        ("TC ingress", Place::Monitor(XdpMode::Tc)),
        ("TC egress", Place::Generator),
    ] {
        let packets = meter(&frames, place).with_context(|| format!("metering by {what}"))?;
        balanced.push(format!("{packets} packets counted by {what} in {FLOWS} flows"));
        println!("{}", balanced[balanced.len() - 1]);
    }
    let native = ["--xdp-mode", "native"];
    let tc = ["--xdp-mode", "tc"];
    for (what, arguments) in [
        ("by native XDP", native.to_vec()),
        ("by TC", tc.to_vec()),
        ("by native XDP with everything on", [&native, &EVERYTHING[..]].concat()),
        ("by TC with everything on", [&tc, &EVERYTHING[..]].concat()),
    ] {
        let packets = export(&frames, &arguments).with_context(|| format!("exporting, {what}"))?;
        balanced.push(format!("{packets} packets exported by the agent {what}"));
        println!("{}", balanced[balanced.len() - 1]);
    }
    let messages = over_sctp(&frames).context("exporting over SCTP")?;
    balanced.push(format!("{FLOWS} records in {messages} messages over SCTP"));
    println!("{}", balanced[balanced.len() - 1]);
    let discarded = sctp_with_a_full_queue(&frames).context("a collector by SCTP that does not read")?;
    balanced.push(format!("{discarded} records discarded before SCTP are a gap in its sequence"));
    println!("{}", balanced[balanced.len() - 1]);
    for (with_spool, what) in [(false, "in memory"), (true, "in a spool")] {
        let came = associations::broken(&frames, with_spool)
            .with_context(|| format!("associations of SCTP that fail, records wait {what}"))?;
        balanced.push(format!("{came} records over SCTP associations that failed, waiting {what}"));
        println!("{}", balanced[balanced.len() - 1]);
    }
    let wide = programs("everything on", everything)?;
    Ok(format!(
        "programs: {default}; with everything on: {wide}; {filtered} with a filter before them; {}; all books balanced",
        balanced.join(", ")
    ))
}

/// Loads every program with these settings.
fn programs(what: &str, measure: Measure) -> Result<String> {
    let own_export = OwnExport::LeftOut;
    let options = LoadOptions { measure, own_export, explain: true, map_size: 1024, ..LOAD_OPTIONS };
    let mut kernel = Kernel::load(&options).with_context(|| format!("loading, {what}"))?;
    let verdicts = kernel.try_every_program();
    for verdict in &verdicts {
        println!("{what}: {verdict}");
    }
    let refused: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| matches!(verdict.outcome, Outcome::Refused(_)))
        .map(|verdict| verdict.program.as_str())
        .collect();
    ensure!(refused.is_empty(), "refused, {what}: {}", refused.join(", "));
    for verdict in &verdicts {
        // Kernels before 5.16 do not tell.
        if let Outcome::Loaded(Some(count)) = verdict.outcome {
            ensure!(
                count < VERIFIER_LIMIT / 2,
                "half of what the verifier grants and more, {what}: {verdict}"
            );
        }
    }
    let lines: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
    Ok(lines.join(", "))
}

/// Loads a filter before every program of the meter that this kernel knows. There is no compiler for filters here:
/// these instructions load octets at known places and at one that depends on others, and ask for the length.
fn filters() -> Result<usize> {
    let raw = |code, jump_true, jump_false, k| RawInstruction { code, jump_true, jump_false, k };
    let instructions = [
        raw(0x28, 0, 0, 12),
        raw(0x15, 0, 5, 0x800),
        raw(0xb1, 0, 0, 14),
        raw(0x48, 0, 0, 16),
        raw(0x25, 0, 2, 1000),
        raw(0x80, 0, 0, 0),
        raw(0x06, 0, 0, 1),
        raw(0x06, 0, 0, 0),
    ];
    let filter = Some(Arc::new(Filter::of_program(&ClassicProgram::new(&instructions)?)));
    let options = LoadOptions { filter, map_size: 1024, ..LOAD_OPTIONS };
    let fragments = KernelVersion::running().is_some_and(|version| version >= KernelVersion::XDP_FRAGMENTS);
    let mut kernel = Kernel::load_entry_point(&options, fragments).context("loading with a filter")?;
    let known = EntryPoint::ALL.into_iter().filter(|entry| fragments || *entry != EntryPoint::XdpFragments);
    let mut loaded = 0;
    for entry in known {
        kernel.test(entry).with_context(|| format!("a filter before {entry:?}"))?;
        loaded += 1;
    }
    Ok(loaded)
}

/// One packet of each flow.
fn frames() -> Vec<Vec<u8>> {
    let to: SocketAddr = ([10, 2, 0, 2], 2000).into();
    let flow =
        |number: usize| frame(&udp(([10, 1, (number >> 8) as u8, number as u8], 1000).into(), to, &[7; 10]));
    (0..FLOWS).map(flow).collect()
}

fn send(lab: &Lab, frames: &[Vec<u8>]) -> Result<()> {
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
    for number in 0..PACKETS {
        send_frame(&sender, &frames[number % frames.len()])?;
        if number % 64 == 0 {
            thread::yield_now();
        }
    }
    lab.wait_for_packets(PACKETS as u64)
}

/// Sends a frame, if need be again. The pair's ring has 256 places, and whoever empties it may wait for this very CPU. (Since 6.6,
/// and in the later 5.10s and 6.1s, a packet that found none is told, and did not leave.)
fn send_frame(sender: &RawSender, frame: &[u8]) -> Result<()> {
    while let Err(error) = sender.send(frame) {
        ensure!(error.downcast_ref() == Some(&nix::errno::Errno::ENOBUFS), error);
        thread::yield_now();
    }
    Ok(())
}

/// Meters the packets with the program attached by this process.
fn meter(frames: &[Vec<u8>], place: Place) -> Result<u64> {
    let lab = Lab::new(LabOptions::default())?;
    let mut kernel = Kernel::load(&LOAD_OPTIONS)?;
    let mut drain = Drain::<(FlowKey, FlowCounters)>::new(drain::Place::default());
    let (namespace, interface, mode, direction) = match place {
        Place::Monitor(mode) => (&lab.monitor, MONITOR_INTERFACE, mode, Direction::Ingress),
        Place::Generator => (&lab.generator, GENERATOR_INTERFACE, XdpMode::Tc, Direction::Egress),
    };
    let how = AttachOptions { mode, direction, ..AttachOptions::default() };
    namespace.enter(|| -> Result<()> {
        let index = nix::net::if_::if_nametoindex(interface)?;
        kernel.attach(interface, index, &how)?;
        Ok(())
    })??;
    // One CPU sends and receives, so that the pair's ring never fills faster than it is emptied.
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu());
    sched_setaffinity(None, &cpus)?;
    send(&lab, frames)?;
    kernel.detach_all();

    // A flow may have entries in the maps of several CPUs, and in both generations.
    let mut counted = Counted { flows: HashMap::new(), stats: KernelStats::default() };
    for _generation in 0..2 {
        let frozen = kernel.flip(Flip::Wait)?;
        let mut enter = |deltas: &[(FlowKey, FlowCounters)]| {
            for (key, counters) in deltas {
                let flow = counted.flows.entry(*key).or_default();
                flow.packets += counters.packets;
                flow.octets += counters.octets;
            }
        };
        let drained = drain.take(&mut kernel, frozen, &TickClock::Nanos, &mut enter)?;
        counted.stats.add(&drained.stats);
    }
    let packets: u64 = counted.flows.values().map(|flow| flow.packets).sum();
    ensure!(counted.balanced(), "the books do not balance: {:?}", counted.stats);
    ensure!(packets == PACKETS as u64, "{packets} packets in flows, {PACKETS} sent: {:?}", counted.stats);
    ensure!(counted.flows.len() == FLOWS, "{} flows, {FLOWS} sent", counted.flows.len());
    let each = (PACKETS / FLOWS) as u64;
    match counted.flows.iter().find(|(_, flow)| flow.packets != each || flow.octets != each * OCTETS) {
        Some((key, flow)) => bail!("{key:?} has {} packets and {} octets", flow.packets, flow.octets),
        None => Ok(packets),
    }
}

/// Meters the packets with the agent. What it sends goes to its own collector.
fn export(frames: &[Vec<u8>], arguments: &[&str]) -> Result<u64> {
    let lab = Lab::new(LabOptions::default())?;
    let common =
        ["-i", MONITOR_INTERFACE, "--direction", "ingress", "--kernel-memory", "64MiB", "--format", "json"];
    let agent = AgentProcess::start(&lab.monitor, &[&common, arguments].concat())?;
    send(&lab, frames)?;
    let stopped = agent.stop(Signal::INT)?;
    ensure!(stopped.exit_code == Some(0), "the agent failed: {}", stopped.stderr);
    let ledger = stopped.ledger.context("the agent left no books")?;
    ensure!(ledger.0["balanced"] == true, "the agent's books do not balance: {}", ledger.0);
    // Every line, and not only that they add up: nothing else came by, and each packet sent is in a record that was sent.
    // (What its collector read is not asked: on a busy machine datagrams overflow the socket, and UDP tells nobody.)
    let packets = PACKETS as u64;
    let (all, octets, none) = (packets, packets * OCTETS, 0);
    for (line, expected) in [
        ("/packets/seen", all),
        ("/packets/filtered", none),
        ("/packets/own_export", none),
        ("/packets/sampled_out", none),
        ("/packets/metered", all),
        ("/packets/in_cache", none),
        ("/packets/in_records", all),
        ("/octets/seen", octets),
        ("/octets/in_records", octets),
        ("/destinations/0/offered/packets", all),
        ("/destinations/0/sent/packets", all),
        ("/destinations/0/sent/octets", octets),
        ("/destinations/0/queued/packets", none),
    ] {
        let found = ledger.number(line)?;
        ensure!(found == expected, "{line} is {found}, not {expected}: {}", ledger.0);
    }
    for reasons in ["/packets/not_ip", "/packets/bad_ip", "/packets/lost", "/destinations/0/not_sent"] {
        ensure!(ledger.sum(reasons)? == 0, "something in {reasons}: {}", ledger.0);
    }
    let records = ledger.number("/destinations/0/sent/records")?;
    ensure!(records >= FLOWS as u64, "{records} records of {FLOWS} flows");
    Ok(packets)
}

/// Exports a capture of the frames over SCTP: each user message is one IPFIX message, and together they are a stream in
/// which nothing is missing.
fn over_sctp(frames: &[Vec<u8>]) -> Result<usize> {
    // SCTP-1, SCTP-4, SCTP-7, TRANS-1
    let namespace = Namespace::new()?;
    let capture_of_chunks = SctpCapture::start(&namespace)?;
    let sink = SctpSink::start(&namespace, ([127, 0, 0, 1], 4739).into())?;
    let directory = tempfile::tempdir()?;
    let capture = directory.path().join("flows.pcap");
    captures::write(&capture, frames, Duration::from_millis(1))?;
    let stopped = AgentProcess::read(&namespace, &capture, &["-c", "sctp://127.0.0.1?dscp=46&ttl=7"])?;
    ensure!(stopped.exit_code == Some(0), "the agent failed: {}", stopped.stderr);
    let ledger = stopped.ledger.context("the agent left no books")?;
    let sent = ledger.number("/destinations/0/sent/records")?;
    ensure!(sent == FLOWS as u64, "{sent} records sent: {}", stopped.stderr);
    let messages = sink.finish()?;
    for message in &messages {
        let length = message.get(2..4).map(|length| usize::from(length[0]) << 8 | usize::from(length[1]));
        let is_whole = message.starts_with(&[0, 10]) && length == Some(message.len());
        ensure!(is_whole, "not one message but {:?}...", message.get(..16));
    }
    let chunks = capture_of_chunks.stop()?;
    let of = |kind: u8| chunks.iter().filter(move |chunk| chunk.kind == kind);
    let offers =
        |chunk: &sctp_capture::Chunk| chunk.parameters().contains(&sctp_capture::FORWARD_TSN_SUPPORTED);
    ensure!(of(sctp_capture::INIT).any(offers), "no INIT offers partial reliability");
    let data = of(sctp_capture::DATA).filter(|chunk| chunk.to == 4739).count();
    ensure!(data >= messages.len(), "{data} DATA chunks of {} messages", messages.len());
    ensure!(of(sctp_capture::DATA).all(|chunk| chunk.flags & sctp_capture::UNORDERED == 0), "out of order");
    let marks: Vec<_> =
        chunks.iter().filter(|chunk| chunk.to == 4739).map(|chunk| (chunk.dscp, chunk.ttl)).collect();
    ensure!(marks.iter().all(|marks| *marks == (46, 7)), "other DSCP or TTL: {marks:?}");
    ensure!(of(sctp_capture::FORWARD_TSN).count() == 0, "a message was skipped");
    let ends = [sctp_capture::SHUTDOWN, sctp_capture::SHUTDOWN_COMPLETE, sctp_capture::ABORT];
    let ends = ends.map(|kind| of(kind).count() > 0);
    ensure!(ends == [true, true, false], "it did not end in order: {ends:?}");
    let file = directory.path().join("all.ipfix");
    std::fs::write(&file, messages.concat())?;
    let (binary, file) = (tests::agent::binary()?, file.to_string_lossy().into_owned());
    let binary = binary.to_string_lossy().into_owned();
    let collected = namespace.run(&binary, &["collect", "--format", "json", &file])?;
    let records = collected.stdout.lines().count();
    ensure!(records == FLOWS, "{records} records of {FLOWS}: {}", collected.stderr);
    Ok(messages.len())
}

/// A collector that takes nothing for a while: what finds no place in the queue is counted, and missing in the sequence
/// numbers by as many.
fn sctp_with_a_full_queue(frames: &[Vec<u8>]) -> Result<u64> {
    // SCTP-8, IPFIX-SEQ-7
    let lab = Lab::new(LabOptions::default())?;
    let sink = SctpSink::start_waiting(&lab.monitor, ([127, 0, 0, 1], 4739).into())?;
    let times = ["--idle-timeout", "1s", "--drain-interval", "200ms", "--kernel-memory", "64MiB"];
    let arguments = ["-i", MONITOR_INTERFACE, "-c", "sctp://127.0.0.1?queue=2048&timeout=10m"];
    let agent = AgentProcess::start(&lab.monitor, &[&arguments[..], &times].concat())?;
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
    let turned_away = |ledger: &Ledger| ledger.number("/destinations/0/not_sent/queue_full/records");
    let mut sent = 0;
    // More than the queue and the buffers on the way take.
    for round in 1..=ROUNDS {
        for frame in &frames[..FLOWS] {
            send_frame(&sender, frame)?;
            sent += 1;
            if sent % 64 == 0 {
                lab.wait_for_packets(sent)?;
            }
        }
        let offered =
            |ledger: &Ledger| Ok(ledger.number("/destinations/0/offered/records")? == round * FLOWS as u64);
        if turned_away(&agent.wait_for_ledger("records", offered)?)? > 0 {
            break;
        }
    }
    sink.go_on();
    let queued = "/destinations/0/queued/records";
    agent.wait_for_ledger("an empty queue", |ledger| Ok(ledger.number(queued)? == 0))?;
    // Behind the gap there is something.
    let behind = &frames[..FLOWS / 5];
    behind.iter().try_for_each(|frame| send_frame(&sender, frame))?;
    lab.wait_for_packets(sent + behind.len() as u64)?;
    let stopped = agent.stop(Signal::INT)?;
    ensure!(stopped.exit_code == Some(0), "the agent failed: {}", stopped.stderr);
    let ledger = stopped.ledger.context("the agent left no books")?;
    ensure!(ledger.0["balanced"] == true, "the agent's books do not balance: {}", ledger.0);
    let (discarded, sent) = (turned_away(&ledger)?, ledger.number("/destinations/0/sent/records")?);
    ensure!(discarded > 0, "the queue was never full: {}", ledger.0);
    ensure!(discarded + sent == ledger.number("/records/total")?, "other losses: {}", ledger.0);
    let messages = sink.finish()?;
    let last = messages.last().and_then(|message| message.get(8..12)).context("no message")?;
    let sequence = u64::from(u32::from_be_bytes(last.try_into()?));
    // The last message has some of them itself.
    let before_its_end = (discarded + sent).checked_sub(sequence);
    ensure!(
        before_its_end.is_some_and(|records| (1..=MOST_OF_A_MESSAGE).contains(&records)),
        "the last sequence number is {sequence}, with {sent} records sent and {discarded} discarded"
    );
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("all.ipfix");
    std::fs::write(&file, messages.concat())?;
    let (binary, file) = (tests::agent::binary()?, file.to_string_lossy().into_owned());
    let collected = lab.monitor.run(&binary.to_string_lossy(), &["collect", "--format", "json", &file])?;
    ensure!(collected.stdout.lines().count() as u64 == sent, "{sent} sent: {}", collected.stderr);
    let missing = format!("{discarded} records missing (IPFIX)");
    ensure!(collected.stderr.contains(&missing), "{discarded} discarded: {}", collected.stderr);
    Ok(discarded)
}
