//! Part b: live traffic at full speed past the agent and past other exporters, in turns.

pub mod closing;
pub mod exporter;
pub mod report;
pub mod run;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::Result;

pub use self::{
    exporter::Exporter,
    run::{Baseline, EXPORTER_CPU, GENERATOR_CPU, Run, Traffic},
};
use crate::{Context, Measurement, Outcome, Unit};

/// What is sent, and what the project has set itself for it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name in tables.
    pub name: &'static str,
    /// What is sent.
    pub traffic: Traffic,
    /// How many times less than the best lossless rival the agent is to add; none where no such bound is set.
    pub less: Option<f64>,
    /// How long one run may take, for the budget of `--quick`.
    pub estimate: Duration,
}

/// How long an exporter does nothing when it has read all that has arrived.
const QUIET: Duration = Duration::from_millis(200);

const MILLION: u64 = 1_000_000;

const fn case(name: &'static str, flows: u64, packets: u64, less: Option<f64>, seconds: u64) -> Case {
    Case { name, traffic: Traffic { packets, flows }, less, estimate: Duration::from_secs(seconds) }
}

const FULL: [Case; 4] = [
    case("16 flows", 16, 10 * MILLION, None, 15),
    case("10 k flows", 10_000, 10 * MILLION, Some(5.0), 15),
    case("1 M flows, 20 packets each", MILLION, 20 * MILLION, Some(5.0), 40),
    case("1 M flows, 2 packets each", MILLION, 2 * MILLION, Some(2.0), 20),
];

const QUICK: [Case; 2] = [
    case("10 k flows", 10_000, 2 * MILLION, Some(5.0), 4),
    case("200 k flows, 2 packets each", 200_000, 400_000, Some(2.0), 5),
];

/// An exporter, and what it is compared with: its own set-up without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Contender {
    exporter: Exporter,
    baseline: Baseline,
}

const CONTENDERS: [Contender; 6] = [
    Contender { exporter: Exporter::Netflow, baseline: Baseline::Stack },
    Contender { exporter: Exporter::NetflowTap, baseline: Baseline::Drop },
    Contender { exporter: Exporter::Softflowd, baseline: Baseline::Stack },
    Contender { exporter: Exporter::Pmacctd, baseline: Baseline::Stack },
    Contender { exporter: Exporter::Fprobe, baseline: Baseline::Stack },
    Contender { exporter: Exporter::Rustflow, baseline: Baseline::Stack },
];

/// The rounds of one contender in one case.
pub struct Rounds {
    /// Which.
    pub exporter: Exporter,
    /// What it is compared with.
    pub baseline: Baseline,
    /// Each round's run, with what a packet costs in the same round without the exporter, nanoseconds.
    pub runs: Vec<(Run, f64)>,
}

impl Rounds {
    /// What the generator's CPU does more for each packet: the kernel part, nanoseconds.
    pub fn kernel(&self) -> Option<Measurement> {
        self.measured(Unit::Nanoseconds, |run, bare| run.generator_nanos - bare)
    }

    /// What the exporter's processes take for each packet, nanoseconds.
    pub fn exporter(&self) -> Option<Measurement> {
        self.measured(Unit::Nanoseconds, |run, _| run.exporter_nanos)
    }

    /// Both together, nanoseconds.
    pub fn added(&self) -> Option<Measurement> {
        self.measured(Unit::Nanoseconds, |run, bare| run.generator_nanos - bare + run.exporter_nanos)
    }

    /// Something of each round.
    pub fn measured(&self, unit: Unit, of: impl Fn(&Run, f64) -> f64) -> Option<Measurement> {
        Measurement::of(unit, self.runs.iter().map(|(run, bare)| of(run, *bare)))
    }

    /// The most packets that were in no record in a round, and how many of them the exporter has told of.
    pub fn most_missing(&self) -> Option<(i64, u64)> {
        let missing = self.runs.iter().map(|(run, _)| (run.not_in_records(), run.lost.unwrap_or(0)));
        missing.max_by_key(|(missing, _)| missing.abs())
    }

    /// Whether of `packets` nothing is lost but what an unfilled capture block holds back at the end of a run, or one in
    /// ten thousand.
    pub fn is_lossless(&self, packets: u64) -> bool {
        const HELD_BACK: i64 = 1000;
        let few = HELD_BACK.max(i64::try_from(packets / 10_000).unwrap_or(i64::MAX));
        !self.runs.is_empty() && self.runs.iter().all(|(run, _)| run.not_in_records().abs() <= few)
    }
}

/// One case, measured.
pub struct Measured {
    /// Which.
    pub case: Case,
    /// Nanoseconds for each packet and packets per second without an exporter, by baseline.
    pub bare: Vec<(Baseline, run::Bare)>,
    /// The contenders.
    pub contenders: Vec<Rounds>,
}

/// Runs the part.
///
/// # Errors
/// The network cannot be made, or frames get lost in it.
pub fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome { method: report::method(), ..Outcome::default() };
    let contenders: Vec<Contender> = CONTENDERS
        .into_iter()
        .filter(|contender| match contender.exporter.program(&context.binary) {
            Ok(_) => true,
            Err(missing) => {
                outcome.not_run.push(format!("{missing:#}"));
                false
            }
        })
        .collect();
    let cases: &[Case] = if context.quick { &QUICK } else { &FULL };
    let rounds = context.rounds(1, 3);
    if let Some(first) = cases.first() {
        warm_up(context, first.traffic)?;
    }
    let mut complaints = HashSet::new();
    for case in cases {
        let mut measured = Measured {
            case: *case,
            bare: Vec::new(),
            contenders: contenders
                .iter()
                .map(|it| Rounds { exporter: it.exporter, baseline: it.baseline, runs: Vec::new() })
                .collect(),
        };
        for _ in 0..rounds {
            round(context, &mut measured, &mut outcome, &mut complaints)?;
        }
        report::case(&measured, &mut outcome);
    }
    Ok(outcome)
}

/// The first run of a program is slower than those behind it.
fn warm_up(context: &Context, traffic: Traffic) -> Result<()> {
    let traffic = Traffic { packets: traffic.packets.min(MILLION), ..traffic };
    run::bare(traffic, Baseline::Stack)?;
    run::run(Exporter::Netflow, &context.binary, traffic, QUIET).map(drop)
}

/// Each once, right behind one another.
fn round(
    context: &Context,
    measured: &mut Measured,
    outcome: &mut Outcome,
    complaints: &mut HashSet<String>,
) -> Result<()> {
    let case = measured.case;
    let stack = run::bare(case.traffic, Baseline::Stack)?;
    let dropped = run::bare(case.traffic, Baseline::Drop)?;
    measured.bare.extend([(Baseline::Stack, stack), (Baseline::Drop, dropped)]);
    for rounds in &mut measured.contenders {
        let bare = if rounds.baseline == Baseline::Stack { stack } else { dropped };
        let name = rounds.exporter.name();
        if !context.has_time_for(case.estimate) {
            outcome.not_run.push(format!("{name}, {}: no time left", case.name));
            continue;
        }
        let begin = Instant::now();
        let run = run::run(rounds.exporter, &context.binary, case.traffic, QUIET);
        eprintln!("  {}, {name}: {:.1} s", case.name, begin.elapsed().as_secs_f64());
        match run {
            Ok(run) => rounds.runs.push((run, bare.nanos)),
            Err(error) => {
                let complaint = format!("{name}, {}: {error:#}", case.name).replace('\n', " ");
                if complaints.insert(complaint.clone()) {
                    outcome.not_run.push(complaint);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::datagram::Exported;

    pub(super) fn run(packets: u64, lost: Option<u64>) -> Run {
        Run {
            generated: 10_000,
            generator_nanos: 500.0,
            rate: 2e6,
            exporter_nanos: 40.0,
            closing: Duration::ZERO,
            exported: Exported { packets, ..Exported::default() },
            exported_before: Exported::default(),
            lost,
            memory: 0,
            maps: 0,
        }
    }

    fn rounds(runs: Vec<(Run, f64)>) -> Rounds {
        Rounds { exporter: Exporter::Softflowd, baseline: Baseline::Stack, runs }
    }

    #[test]
    fn what_is_added_is_both_parts_of_the_same_round() {
        let rounds = rounds(vec![(run(10_000, None), 450.0), (run(10_000, None), 470.0)]);
        assert_eq!(rounds.kernel().unwrap().samples(), [50.0, 30.0]);
        assert_eq!(rounds.added().unwrap().samples(), [90.0, 70.0]);
    }

    #[test]
    fn a_capture_block_that_was_not_filled_is_no_loss_but_more_is() {
        assert!(rounds(vec![(run(9840, None), 0.0)]).is_lossless(10_000));
        assert!(!rounds(vec![(run(10_000, None), 0.0), (run(5000, None), 0.0)]).is_lossless(10_000));
        assert!(!rounds(vec![(run(11_500, None), 0.0)]).is_lossless(10_000));
        assert!(!rounds(Vec::new()).is_lossless(10_000));
        let rounds = rounds(vec![(run(9000, Some(1000)), 0.0), (run(10_000, Some(0)), 0.0)]);
        assert_eq!(rounds.most_missing(), Some((1000, 1000)));
        assert_eq!(rounds.runs[0].0.unaccounted(), 0);
    }
}
