//! Part a: nanoseconds per packet, by test runs in the kernel.

mod compare;
mod features;
mod frames;
mod latency;
mod meter;
mod other_maps;
mod own;
mod variants;
mod vary;

use anyhow::Result;

use crate::{
    Context, Outcome, Plot,
    machine::{self, Pinned},
    outcome::PlotKind,
};

pub use self::{
    compare::{Compared, Run},
    frames::{Version, tcp, udp},
    meter::{Closed, Meter},
    vary::{Choice, Hook, Vary, thread_nanos},
};

/// How many flows, and their name in tables.
const FLOWS: [(u64, &str); 4] = [(1, "1"), (1000, "1 k"), (65_536, "64 k"), (1_000_000, "1 M")];
/// Entries of flow maps up to 64 k flows: the agent's default.
const DEFAULT_MAP: u32 = 262_144;
/// Entries of flow maps for a million flows, and some new ones.
const LARGE_MAP: u32 = 1_500_000;
/// New flows in one run: they stay within the default map.
const NEW_FLOWS: u32 = 100_000;

/// Runs the part.
///
/// # Errors
/// The harness cannot be loaded.
pub fn run(context: &Context) -> Result<Outcome> {
    let cpu = machine::last_cpu();
    let _pinned = Pinned::to(cpu);
    let mut outcome = Outcome {
        method: format!(
            "`BPF_PROG_TEST_RUN` on CPU {cpu}, nothing else on purpose on it. A small program writes the source address and port of \
             a flow into the packet (one of N existing flows at random, or a new one) and tail-calls the agent's own \
             program; subtracted is the same with a program that does nothing, run in turns with it. UDP packets, 60 octets \
             (IPv6: 66) without check sequence, metered whole: the parser, totals, times, key, counters. Time is that of the thread \
             on its CPU. After each case the books must close: every packet sent is in a flow."
        ),
        ..Outcome::default()
    };
    let mut vary = Vary::load()?;
    let own = own::run(context, &mut vary, &mut outcome)?;
    let mut lines = own;
    lines.extend(other_maps::run(context, &mut vary, &mut outcome)?);
    if lines.iter().any(|line| !line.points.is_empty()) {
        outcome.plots.push(Plot {
            name: "packet".to_owned(),
            title: "What one packet costs (XDP, IPv4)".to_owned(),
            x_label: "flows".to_owned(),
            y_label: "ns per packet".to_owned(),
            kind: PlotKind::Lines,
            series: lines,
        });
    }
    features::run(context, &mut vary, &mut outcome)?;
    Ok(outcome)
}

/// Packets of one run of a case.
fn packets(context: &Context) -> u32 {
    if context.quick { 150_000 } else { 500_000 }
}

/// Rounds of one case.
fn rounds(context: &Context) -> usize {
    context.rounds(3, 9)
}
