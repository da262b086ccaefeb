//! Part c: drain and merge, and how long a flip takes.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use ::tests::meter::LOAD_OPTIONS;
use anyhow::{Result, ensure};
use netflow_common::{FlowCounters, FlowKey};
use netflow_user::{
    clock,
    drain::{Drain, Drained, Place, TickClock},
    flow_cache::{FlowCache, Timeouts},
    kernel::{EntryPoint, Flip, Kernel, LoadOptions},
    record::FlowEndReason,
};

use crate::{
    Cell, Context, Measurement, Outcome, Plot, Series, Table, Target, Unit,
    machine::{self, Pinned},
    measurement::number,
    outcome::PlotKind,
    packet::{Choice, Hook, Run, Vary, Version, thread_nanos, udp},
};

type Delta = (FlowKey, FlowCounters);
/// A flow cache as the agent has it.
pub type Cache = FlowCache<FlowKey, FlowCounters>;

/// How many flows, their name in tables, and how many slots the table, or entries the map without it, have for them: up
/// to 100 k as the agent by default.
const FLOWS: [(u32, &str, u32); 3] =
    [(1000, "1 k flows", DEFAULT), (100_000, "100 k flows", DEFAULT), (1_000_000, "1 M flows", LARGE)];
const DEFAULT: u32 = 262_144;
/// For a million flows.
pub const LARGE: u32 = 1_500_000;
/// What a million flows take, from loading the program on.
const ESTIMATE: Duration = Duration::from_secs(5);
/// The agent's default.
pub const IDLE: Duration = Duration::from_secs(15);
/// Nanoseconds of an entry, at a million.
const LIMIT: f64 = 250.0;

/// Runs the part.
///
/// # Errors
/// The kernel side cannot be loaded.
pub fn run(context: &Context) -> Result<Outcome> {
    let cpu = machine::last_cpu();
    let _pinned = Pinned::to(cpu);
    let mut outcome = Outcome {
        method: format!(
            "Test runs on CPU {cpu} give each of N flows a packet; then the generation is flipped, and the thread's time on the \
             same CPU is taken while the agent's own drain empties it and its flow cache merges the entries. *New flows*: none of them \
             is in the cache; *known flows*: all are. The entries come in the order of their hashes. UDP over IPv4."
        ),
        ..Outcome::default()
    };
    let mut vary = Vary::load()?;
    let headings = ["ns per entry", "drain alone", "drain + merge, new flows", "drain + merge, known flows"];
    let mut table = Table::new("", &headings);
    let mut plotted = Vec::new();
    let mut at_most = [None; 2];
    for (with_table, name) in [(true, "flow table"), (false, "flow map alone")] {
        let mut line = Series { name: format!("{name}, new flows"), points: Vec::new() };
        for (flows, flows_name, entries) in FLOWS {
            if flows == 1_000_000 && !context.has_time_for(ESTIMATE) {
                outcome.not_run.push(format!("{name}, {flows_name}: the time of this part is over"));
                continue;
            }
            let options = if with_table { options_for(entries) } else { without_table(entries) };
            let mut stage = Stage::new(&options, flows)?;
            let [alone, new, known] = stage.measure(context, &mut vary)?;
            line.points.push((f64::from(flows), new.median()));
            if with_table && flows == 1_000_000 {
                at_most = [Some(new.median()), Some(known.median())];
            }
            let name = format!("{name}, {flows_name} ({} in the table)", number(stage.in_table as f64));
            table.row(name, [alone, new, known].map(Cell::from));
        }
        plotted.push(line);
    }
    outcome.tables.push(table);
    outcome.plots.push(Plot {
        name: "drain".to_owned(),
        title: "Drain and merge of new flows".to_owned(),
        x_label: "flows".to_owned(),
        y_label: "ns per entry".to_owned(),
        kind: PlotKind::Lines,
        series: plotted,
    });
    outcome.tables.push(flips(context)?);
    for (name, measured) in ["new", "known"].into_iter().zip(at_most) {
        let name = format!("drain + merge of an entry, 1 M {name} flows");
        outcome.targets.push(Target::at_most(name, LIMIT, Unit::Nanoseconds, measured));
    }
    Ok(outcome)
}

/// A table of so many slots; the map behind it is that of the default.
pub fn options_for(slots: u32) -> LoadOptions {
    LoadOptions { map_size: DEFAULT, flow_table: slots, kernel_memory: 16 << 30, ..LOAD_OPTIONS }
}

fn without_table(entries: u32) -> LoadOptions {
    LoadOptions { map_size: entries, flow_table: 0, kernel_memory: 16 << 30, ..LOAD_OPTIONS }
}

/// A cache for so many flows; but for this idle timeout with the agent's default ones.
///
/// # Errors
/// No memory.
pub fn cache(flows: u32, idle: Duration) -> Result<Cache> {
    let timeouts = Timeouts::new(idle, Duration::from_secs(1800), Duration::from_secs(2))?;
    // Nobody sends to the bench what is to collide.
    Ok(FlowCache::new(NonZeroU32::new(flows).unwrap_or(NonZeroU32::MIN), timeouts, [1, 2])?)
}

/// The kernel side, the drain and the cache of the agent.
pub struct Stage {
    /// The meter.
    pub kernel: Kernel,
    /// The drain.
    pub drain: Drain<Delta>,
    /// Its clock.
    pub ticks: TickClock,
    /// The cache.
    pub cache: Cache,
    /// Slots that were taken at the last drain.
    pub in_table: u64,
    flows: u32,
}

impl Stage {
    /// Loads the meter, and makes a cache for so many flows.
    ///
    /// # Errors
    /// The kernel refuses it, or there is no memory.
    pub fn new(options: &LoadOptions, flows: u32) -> Result<Self> {
        let mut kernel = Kernel::load(options)?;
        kernel.test(EntryPoint::XdpFragments)?;
        let ticks = clock::calibrate(&mut kernel)?;
        Ok(Self {
            kernel,
            drain: Drain::new(Place::default()),
            ticks,
            cache: cache(flows, IDLE)?,
            in_table: 0,
            flows,
        })
    }

    /// Gives each flow a packet.
    ///
    /// # Errors
    /// They do not get there.
    pub fn fill(&mut self, vary: &mut Vary) -> Result<()> {
        let program = self.kernel.tested_program()?.try_clone()?;
        let frame = udp(Version::V4);
        let choice = Choice { flows: self.flows.into(), new: 0.0 };
        let run = Run { hook: Hook::XdpFragments, frame: &frame, choice, packets: 0, rounds: 0 };
        vary.fill(&program, &run)
    }

    /// Nanoseconds of an entry: drained, merged as new ones, merged as known ones.
    fn measure(&mut self, context: &Context, vary: &mut Vary) -> Result<[Measurement; 3]> {
        let mut samples = [const { Vec::new() }; 3];
        // Few flows take no time, and are measured more often.
        let rounds = context.rounds(2, 9) * if self.flows < 10_000 { 5 } else { 1 };
        // The first round is the first time that memory is touched.
        for round in 0..=rounds {
            let begin = Instant::now();
            for (step, samples) in samples.iter_mut().enumerate() {
                self.fill(vary)?;
                let frozen = self.kernel.flip(Flip::NoWait)?;
                let Self { kernel, drain, ticks, cache, .. } = self;
                let begin = thread_nanos();
                let drained = drain.take(kernel, frozen, ticks, |deltas| {
                    if step > 0 {
                        cache.merge_all(deltas, &mut |_, _, _| {});
                    }
                })?;
                let nanos = (thread_nanos() - begin) as f64 / f64::from(self.flows);
                if round > 0 {
                    samples.push(nanos);
                }
                self.check(&drained)?;
            }
            ensure!(self.cache.flows() as u64 == u64::from(self.flows), "flows are missing in the cache");
            self.cache.flush(FlowEndReason::ForcedEnd, &mut |_, _, _| {});
            if round > 0 && !context.has_time_for(begin.elapsed()) {
                break;
            }
        }
        let [alone, new, known] = samples.map(|samples| Measurement::of(Unit::Nanoseconds, samples));
        match (alone, new, known) {
            (Some(alone), Some(new), Some(known)) => Ok([alone, new, known]),
            _ => anyhow::bail!("no rounds"),
        }
    }

    /// Every flow is to have been drained.
    ///
    /// # Errors
    /// One is missing.
    pub fn check(&mut self, drained: &Drained) -> Result<()> {
        ensure!(
            drained.entries == u64::from(self.flows) && drained.packets == drained.entries,
            "{} entries of {} flows",
            drained.entries,
            self.flows
        );
        self.in_table = drained.stats.slots.iter().sum();
        Ok(())
    }
}

/// A flip with its wait, as the agent makes one each second.
fn flips(context: &Context) -> Result<Table> {
    let mut kernel = Kernel::load(&LOAD_OPTIONS)?;
    let mut of = |flip, number: usize| -> Result<Cell> {
        let mut samples = Vec::new();
        for _ in 0..number {
            let begin = Instant::now();
            kernel.flip(flip)?;
            samples.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        Ok(Measurement::of(Unit::Microseconds, samples).into())
    };
    let mut table = Table::new("How long a flip takes (packets are metered meanwhile):", &["", "µs"]);
    table.row("the word that packets are sent by", [of(Flip::NoWait, 1000)?]);
    table.row(
        "with the wait for programs that still run (an RCU grace period)",
        [of(Flip::Wait, context.rounds(20, 200))?],
    );
    Ok(table)
}
