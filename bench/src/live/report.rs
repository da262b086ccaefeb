//! What part b tells: a table for each case, the targets, a plot.

use super::{Baseline, Case, EXPORTER_CPU, Exporter, GENERATOR_CPU, Measured, Rounds};
use crate::{Cell, Measurement, Outcome, Plot, Series, Table, Target, Unit, outcome::PlotKind};

const MEBIBYTE: f64 = 1_048_576.0;

const COLUMNS: [&str; 11] = [
    "",
    "packets/s",
    "kernel part, ns",
    "exporter's part, ns",
    "added, ns per packet",
    "times netflow's",
    "records",
    "packets in no record",
    "of them counted",
    "memory, MiB",
    "BPF maps, MiB",
];

/// How it is measured.
pub fn method() -> String {
    let own = [Exporter::Netflow, Exporter::NetflowTap];
    let rivals = [Exporter::Softflowd, Exporter::Pmacctd, Exporter::Fprobe, Exporter::Rustflow];
    let settings: Vec<String> = own
        .iter()
        .chain(&rivals)
        .map(|exporter| format!("{}: `{}`", exporter.name(), exporter.settings()))
        .collect();
    format!(
        "A veth pair in namespaces of its own, GRO on at the metered end. The generator sends packets of 64 octets (60 without check \
         sequence) at full speed from CPU {GENERATOR_CPU}, and what the receiving end does with a packet (XDP, AF_PACKET, the stack, which \
         drops it) is done there as well. The exporter starts on CPU {EXPORTER_CPU}, so that it is not measured twice; the agent's drain \
         moves to the CPU whose map it empties. Kernel part: processor time of the generator and of its CPU's ksoftirqd for each packet, less \
         the same without exporter in the same round. Exporter's part: user and system time of all its processes, from the first packet until it \
         has been asked to end and has exported all. Packets/s are by the wall clock: there, time that the drain takes of the generator's CPU shows \
         as well. The sink is a socket that is read when the exporter has ended. `--tap` is measured against a program that drops all. The \
         best lossless rival is the one that adds least among those with all packets in records, but for up to 1,000 in a capture block that is \
         not full at the end, or one in 10,000. Memory: the peak of each process (VmHWM), rings that are mapped included, and the agent's BPF maps apart. \
         Settings: {}.",
        settings.join("; ")
    )
}

/// The table of a case, its targets and its plot.
pub fn case(measured: &Measured, outcome: &mut Outcome) {
    let Measured { case, contenders, .. } = measured;
    let own = contenders.iter().find(|rounds| rounds.exporter == Exporter::Netflow);
    let own_added = own.and_then(Rounds::added).map(|added| added.median());
    let mut table =
        Table::new(format!("{}, {} million packets", case.name, case.traffic.packets as f64 / 1e6), &COLUMNS);
    for (baseline, name) in [(Baseline::Stack, "no exporter"), (Baseline::Drop, "no exporter, all dropped")] {
        let rates = measured.bare.iter().filter(|(of, _)| *of == baseline).map(|(_, bare)| bare.rate);
        let mut cells = vec![Measurement::of(Unit::PacketsPerSecond, rates).into()];
        cells.resize(COLUMNS.len() - 1, Cell::Nothing);
        table.row(name, cells);
    }
    for rounds in contenders {
        table.row(rounds.exporter.name(), cells(rounds, own_added));
    }
    outcome.tables.push(table);
    let bars: Vec<Series> = contenders
        .iter()
        .filter_map(|rounds| Some(Series::bar(rounds.exporter.name(), rounds.added()?.median().max(0.0))))
        .collect();
    if bars.iter().any(|bar| bar.points.iter().any(|(_, value)| *value > 0.0)) {
        outcome.plots.push(Plot {
            name: format!("live-{}", slug(case.name)),
            title: format!("What an exporter adds to a packet: {}", case.name),
            x_label: String::new(),
            y_label: "ns per packet, kernel and exporter".to_owned(),
            kind: PlotKind::Bars,
            series: bars,
        });
    }
    targets(case, contenders, outcome);
}

fn cells(rounds: &Rounds, own_added: Option<f64>) -> Vec<Cell> {
    let times = rounds.added().zip(own_added).map(|(added, own)| added.median() / own);
    let missing = rounds.most_missing();
    let has_counter = rounds.runs.iter().any(|(run, _)| run.lost.is_some());
    let records = rounds.measured(Unit::Records, |run, _| run.exported.records as f64);
    vec![
        rounds.measured(Unit::PacketsPerSecond, |run, _| run.rate).into(),
        rounds.kernel().into(),
        rounds.exporter().into(),
        rounds.added().into(),
        times.map_or(Cell::Nothing, Cell::Number),
        records.map_or(Cell::Nothing, |records| Cell::Number(records.median())),
        missing.map_or(Cell::Nothing, |(missing, _)| Cell::Number(missing as f64)),
        missing.filter(|_| has_counter).map_or(Cell::Nothing, |(_, counted)| Cell::Number(counted as f64)),
        rounds.measured(Unit::Mebibytes, |run, _| run.memory as f64 / MEBIBYTE).into(),
        if rounds.exporter.is_ours() {
            rounds.measured(Unit::Mebibytes, |run, _| run.maps as f64 / MEBIBYTE).into()
        } else {
            Cell::Nothing
        },
    ]
}

fn targets(case: &Case, contenders: &[Rounds], outcome: &mut Outcome) {
    for rounds in contenders.iter().filter(|rounds| rounds.exporter.is_ours()) {
        let name = rounds.exporter.name();
        let worst = |of: &dyn Fn(&super::Run) -> u64| {
            rounds.runs.iter().map(|(run, _)| of(run)).max().map(|value| value as f64)
        };
        let lost = worst(&|run| run.lost.unwrap_or(0));
        let unaccounted = worst(&|run| run.unaccounted().unsigned_abs());
        let target = |what: &str, value| {
            Target::at_most(format!("{name}, {}: packets {what}", case.name), 0.0, Unit::Packets, value)
        };
        outcome.targets.extend([target("lost", lost), target("unaccounted", unaccounted)]);
    }
    let Some(less) = case.less else { return };
    let own = contenders.iter().find(|rounds| rounds.exporter == Exporter::Netflow).and_then(Rounds::added);
    let best = best_rival(contenders, case.traffic.packets);
    let measured = own.zip(best.as_ref()).map(|(own, (_, best))| best / own.median());
    let rival = best.map_or("the best lossless rival", |(name, _)| name);
    let name = format!("{}: added cost of {rival} to netflow's", case.name);
    let target = Target::at_least(name, less, Unit::Times, measured);
    outcome.targets.push(match parts(case, contenders) {
        Some(parts) => target.because(parts),
        None => target,
    });
}

/// Where the agent's own cost lies.
fn parts(case: &Case, contenders: &[Rounds]) -> Option<String> {
    let own = contenders.iter().find(|rounds| rounds.exporter == Exporter::Netflow)?;
    let [kernel, exporter] = [own.kernel()?, own.exporter()?].map(|part| part.median());
    Some(format!(
        "{kernel:.0} ns of a packet are the kernel's part, where a flow of so many is in no cache of the processor and as a rule not in the \
         flow table yet (see a); {exporter:.0} ns the agent's: each flow is drained and merged once for each flip in which it had packets, \
         and is a record of {:.0} packets at the end",
        case.traffic.packets as f64 / case.traffic.flows as f64
    ))
}

/// The one that adds least of those that lose nothing, and what it adds, nanoseconds.
fn best_rival(contenders: &[Rounds], packets: u64) -> Option<(&'static str, f64)> {
    contenders
        .iter()
        .filter(|rounds| !rounds.exporter.is_ours() && rounds.is_lossless(packets))
        .filter_map(|rounds| Some((rounds.exporter.name(), rounds.added()?.median())))
        .min_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// A file's name of a case's.
fn slug(name: &str) -> String {
    let words: Vec<&str> =
        name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::live::{Traffic, tests::run};

    fn rounds(exporter: Exporter, packets: u64, bare: f64) -> Rounds {
        Rounds {
            exporter,
            baseline: Baseline::Stack,
            runs: vec![(run(packets, exporter.is_ours().then_some(0)), bare)],
        }
    }

    #[test]
    fn the_agent_is_compared_with_the_cheapest_rival_that_loses_nothing() {
        let case = Case {
            name: "10 k flows",
            traffic: Traffic { packets: 10_000, flows: 10 },
            less: Some(5.0),
            estimate: Duration::ZERO,
        };
        // The agent adds 10 + 40 ns, the others 300, 400 and, with loss, 100.
        let contenders = vec![
            rounds(Exporter::Netflow, 10_000, 490.0),
            rounds(Exporter::Softflowd, 9900, 240.0),
            rounds(Exporter::Pmacctd, 10_000, 140.0),
            rounds(Exporter::Rustflow, 2000, 440.0),
        ];
        let mut outcome = Outcome::default();
        super::case(&Measured { case, bare: Vec::new(), contenders }, &mut outcome);
        let targets: Vec<_> = outcome
            .targets
            .iter()
            .map(|target| (target.name.as_str(), target.measured, target.met))
            .collect();
        assert_eq!(
            targets,
            [
                ("netflow, 10 k flows: packets lost", Some(0.0), Some(true)),
                ("netflow, 10 k flows: packets unaccounted", Some(0.0), Some(true)),
                ("10 k flows: added cost of softflowd to netflow's", Some(6.0), Some(true)),
            ]
        );
        assert_eq!(outcome.tables[0].rows.len(), 6);
        assert_eq!(outcome.plots[0].name, "live-10-k-flows");
    }
}
