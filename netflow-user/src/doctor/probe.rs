//! Tries on this kernel what the agent will do: loads its programs with the options given, into small maps, and attaches
//! nothing.

use netflow_common::{FlowCounters, FlowKey, WideCounters, WideKey};

use super::finding::Finding;
use crate::{
    agent::chain,
    clock,
    drain::TickClock,
    kernel::{Batch, Flip, Generation, Kernel, LoadOptions, Width},
};

/// Entries and slots of the maps that are made for this.
const SMALL: u32 = 64;
/// A flip that waits longer than this delays the drain (milliseconds).
const LONG_FLIP: u128 = 500;

/// Tries it all, as far as it goes.
pub(super) fn look(options: &LoadOptions) -> Vec<Finding> {
    let small = LoadOptions {
        map_size: SMALL,
        flow_table: options.flow_table.min(SMALL),
        kernel_memory: 1 << 30,
        explain: false,
        ..options.clone()
    };
    let mut kernel = match Kernel::load(&small) {
        Ok(kernel) => kernel,
        Err(error) => {
            return vec![
                Finding::fault("meter", format!("its programs do not load: {}", chain(&error)))
                    .with("sudo netflow doctor; dmesg | tail"),
            ];
        }
    };
    let mut findings = vec![loaded(&kernel), fragments(&kernel)];
    findings.push(flip(&mut kernel));
    findings.push(batches(&kernel));
    findings.push(ticks(&mut kernel));
    findings
}

fn loaded(kernel: &Kernel) -> Finding {
    let most = kernel
        .verified_instructions()
        .ok()
        .and_then(|counts| counts.into_iter().filter_map(|(_, instructions)| instructions).max());
    match most {
        Some(most) => {
            Finding::ok("meter", format!("its programs load: the verifier took {most} steps of 1,000,000"))
        }
        None => Finding::ok("meter", "its programs load"),
    }
}

fn fragments(kernel: &Kernel) -> Finding {
    if kernel.takes_fragments() {
        Finding::ok("XDP", "also for frames of several buffers (xdp.frags)")
    } else {
        Finding::warning(
            "XDP",
            "not for frames of several buffers: interfaces with jumbo frames are metered by TC or not at all",
        )
    }
}

fn flip(kernel: &mut Kernel) -> Finding {
    let begun = clock::now().monotonic;
    match kernel.flip(Flip::Wait) {
        Ok(_) => {
            let took = clock::now().monotonic.since(begun).as_millis();
            let text = format!("a flip waited {took} ms for running programs");
            if took > LONG_FLIP { Finding::warning("flip", text) } else { Finding::ok("flip", text) }
        }
        Err(error) => Finding::fault("flip", chain(&error)),
    }
}

/// Drains an empty map as it is done at each tick.
fn batches(kernel: &Kernel) -> Finding {
    let Some(map) = (0..kernel.sizes().cpus).find_map(|cpu| kernel.flow_map(Generation::FIRST, cpu)) else {
        return Finding::unknown("drain", "there is no flow map to drain");
    };
    let drained = match kernel.width() {
        Width::Default => Batch::<FlowKey, FlowCounters>::new(SMALL as usize).next(map),
        Width::Wide => Batch::<WideKey, WideCounters>::new(SMALL as usize).next(map),
    };
    match drained {
        Ok(_) => Finding::ok("drain", "maps are emptied in batches"),
        Err(error) => Finding::fault("drain", format!("maps cannot be emptied in batches: {error}")),
    }
}

fn ticks(kernel: &mut Kernel) -> Finding {
    match clock::calibrate(kernel) {
        Ok(ticks) => match ticks {
            TickClock::Nanos => Finding::ok("packet times", "in nanoseconds"),
            TickClock::Jiffies { .. } => {
                let step = ticks.step() as f64 / 1e6;
                Finding::ok(
                    "packet times",
                    format!("in steps of {step} ms (--clock precise has nanoseconds)"),
                )
            }
        },
        Err(error) => Finding::fault("packet times", chain(&error)),
    }
}
