//! One run: an exporter, or none, while a known number of packets of known flows goes through the interface that it
//! meters.

use std::{path::Path, time::Duration};

use ::tests::{
    generator::{Generator, GeneratorOptions, Sent},
    idle::Idle,
    lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE},
};
use anyhow::{Result, ensure};

use super::exporter::{COLLECTOR, Exporter};
use crate::{
    datagram::Exported,
    sink::{self, Sink},
    usage::{ProcessTree, kernel_thread},
};

/// The generator, and with it the receiving end of the pair: XDP, AF_PACKET and the stack's drop.
pub const GENERATOR_CPU: usize = 0;
/// The exporter's. The agent's drain moves to the CPU whose map it empties.
pub const EXPORTER_CPU: usize = 1;

/// How long an exporter may go on reading what has arrived.
const CATCH_UP: Duration = Duration::from_secs(30);

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// Packets of 64 octets (60 without the frame check sequence).
    pub packets: u64,
    /// Flows; the packets go through them in turn.
    pub flows: u64,
}

/// What a packet costs without any exporter.
#[derive(Clone, Copy, Debug)]
pub struct Bare {
    /// Processor time of generator and receiving end for each packet, nanoseconds.
    pub nanos: f64,
    /// Packets per second.
    pub rate: f64,
}

/// What happens at the receiving end where nothing is metered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Baseline {
    /// The stack drops the packets, which are addressed to nobody here.
    Stack,
    /// An XDP program drops them.
    Drop,
}

/// What came of a run with an exporter.
#[derive(Clone, Debug)]
pub struct Run {
    /// Packets sent.
    pub generated: u64,
    /// Processor time of generator and receiving end for each packet, nanoseconds.
    pub generator_nanos: f64,
    /// Packets per second.
    pub rate: f64,
    /// User and system time of the exporter for each packet, from the first packet to its end, nanoseconds.
    pub exporter_nanos: f64,
    /// The part of that time that came after it was asked to end: it exports what it has.
    pub closing: Duration,
    /// What the sink has received.
    pub exported: Exported,
    /// What had been received before the exporter was asked to end.
    pub exported_before: Exported,
    /// Packets that the exporter says it has lost; none where it says nothing.
    pub lost: Option<u64>,
    /// Peak of its processes' memory, octets.
    pub memory: u64,
    /// Its BPF maps, octets.
    pub maps: u64,
}

impl Run {
    /// Packets that are in no record; negative where records have more than was sent.
    pub fn not_in_records(&self) -> i64 {
        self.generated as i64 - self.exported.packets as i64
    }

    /// Of those, the ones that the exporter has not told of.
    pub fn unaccounted(&self) -> i64 {
        self.not_in_records() - self.lost.unwrap_or(0) as i64
    }
}

/// Sends it with nothing attached.
///
/// # Errors
/// The network cannot be made, or packets get lost in it.
pub fn bare(traffic: Traffic, baseline: Baseline) -> Result<Bare> {
    let lab = lab()?;
    let _program = match baseline {
        Baseline::Stack => None,
        Baseline::Drop => Some(Idle::dropping(&lab.monitor, MONITOR_INTERFACE)?),
    };
    let (nanos, rate) = send(&lab, traffic)?;
    Ok(Bare { nanos, rate })
}

/// Sends it past an exporter, which is asked to end when it has done nothing for so long.
///
/// # Errors
/// The exporter is not here or fails; packets get lost before they reach it, or messages behind it.
pub fn run(exporter: Exporter, agent: &Path, traffic: Traffic, quiet: Duration) -> Result<Run> {
    let lab = lab()?;
    let sink = Sink::start(&lab.monitor, COLLECTOR.parse()?)?;
    let mut running = exporter.start(agent, &lab.monitor, EXPORTER_CPU)?;
    let at_start = ProcessTree::of(running.id()).processor();
    let (generator_nanos, rate) = send(&lab, traffic)?;
    let tree = ProcessTree::of(running.id());
    tree.wait_until_idle(quiet, CATCH_UP);
    let (maps, before) = (tree.map_memory(), tree.processor());
    let mut reader = sink.reader();
    let exported_before = reader.count()?;
    running.ask_to_end()?;
    let (lost, processor, memory) = tree.end(|| running.finish())?;
    let exported = reader.count()?;
    let lost_behind = sink::datagrams_lost(&lab.monitor)?;
    ensure!(lost_behind == 0, "the sink has lost {lost_behind} messages");
    Ok(Run {
        generated: traffic.packets,
        generator_nanos,
        rate,
        exporter_nanos: processor.saturating_sub(at_start).as_nanos() as f64 / traffic.packets as f64,
        closing: processor.saturating_sub(before),
        exported,
        exported_before,
        lost,
        memory,
        maps,
    })
}

fn lab() -> Result<Lab> {
    // Without GRO frames get lost where no XDP program is; with it the receiving end is the same with and without one.
    Lab::new(LabOptions { gro_in_monitor: true, ..LabOptions::default() })
}

/// Returns nanoseconds of processor time for each packet, and packets per second.
fn send(lab: &Lab, traffic: Traffic) -> Result<(f64, f64)> {
    let options =
        GeneratorOptions { flows: traffic.flows, cpu: GENERATOR_CPU, ..GeneratorOptions::default() };
    let mut generator = Generator::new(&lab.generator, GENERATOR_INTERFACE, options)?;
    let thread = format!("ksoftirqd/{GENERATOR_CPU}");
    let before = kernel_thread(&thread);
    let sent: Sent = generator.send(traffic.packets)?;
    lab.wait_for_packets(traffic.packets)?;
    // What the receiving end put off.
    let later = kernel_thread(&thread).saturating_sub(before);
    Ok(((sent.processor + later).as_nanos() as f64 / traffic.packets as f64, sent.rate()))
}
