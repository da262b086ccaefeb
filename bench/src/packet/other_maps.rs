//! The same program over other kinds of flow maps.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    Choice, Compared, DEFAULT_MAP, FLOWS, Hook, LARGE_MAP, NEW_FLOWS, Run, Vary, Version, packets, rounds,
    udp,
    variants::{Kind, Variant},
};
use crate::{Cell, Context, Outcome, Series, Table, machine, measurement::number};

/// Measures; the lines of a plot over flows.
pub(super) fn run(context: &Context, vary: &mut Vary, outcome: &mut Outcome) -> Result<Vec<Series>> {
    let headings: Vec<String> =
        FLOWS.iter().map(|(_, name)| format!("{name} flow{}", if *name == "1" { "" } else { "s" })).collect();
    let headings: Vec<&str> =
        [""].into_iter().chain(headings.iter().map(String::as_str)).chain(["every packet new"]).collect();
    let title = "Other ways to keep flows, in the same program (no flow table; XDP, IPv4, added ns):";
    let mut table = Table::new(title, &headings);
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        match measure(context, vary, kind, outcome) {
            Ok(results) => {
                let points = FLOWS
                    .iter()
                    .zip(&results)
                    .filter_map(|((flows, _), it)| Some((*flows as f64, it.as_ref()?.added.median())));
                lines.push(Series { name: kind.name().to_owned(), points: points.collect() });
                let cells = results.into_iter().map(|it| Cell::from(it.map(|it| it.added)));
                table.row(kind.name(), cells);
            }
            Err(error) => outcome.not_run.push(format!("{}: {error:#}", kind.name())),
        }
    }
    outcome.tables.push(table);
    Ok(lines)
}

/// By number of flows, then new flows only.
fn measure(
    context: &Context,
    vary: &mut Vary,
    kind: Kind,
    outcome: &mut Outcome,
) -> Result<Vec<Option<Compared>>> {
    let frame = udp(Version::V4);
    let cpus = machine::cpus_up_to_highest();
    let mut results = vec![None; FLOWS.len() + 1];
    for large in [false, true] {
        let entries = if large { LARGE_MAP } else { DEFAULT_MAP };
        if large && !machine::has_memory(2 * kind.octets(entries, machine::possible_cpus())) {
            break;
        }
        let mut variant = Variant::load(kind, entries, cpus)?;
        let program = variant.program()?.try_clone()?;
        let cases = FLOWS.iter().map(|(flows, _)| (*flows, 0.0)).chain([(1, 1.0)]);
        for ((flows, new), result) in cases.zip(&mut results) {
            let is_large = flows > u64::from(DEFAULT_MAP);
            if is_large != large || !context.has_time_for(Duration::from_millis(800)) {
                continue;
            }
            let all_new = new == 1.0;
            let run = Run {
                hook: Hook::XdpFragments,
                frame: &frame,
                choice: Choice { flows, new },
                packets: if all_new { NEW_FLOWS } else { packets(context) },
                rounds: rounds(context),
            };
            variant.empty()?;
            variant.take_stats()?;
            vary.fill(&program, &run)?;
            let mut made = variant.take_stats()?.inserted;
            ensure!(made == flows, "{made} entries of {flows} flows");
            if all_new {
                variant.empty()?;
            }
            let compared = vary.compare(&program, &run, |packets| {
                let stats = variant.take_stats()?;
                let lost: u64 = stats.lost_packets.iter().sum();
                made = stats.inserted;
                ensure!(stats.seen_packets == u64::from(packets) && lost == 0, "{lost} packets lost");
                ensure!(!all_new || made == u64::from(packets), "{made} entries of {packets} new flows");
                if all_new { variant.empty() } else { Ok(()) }
            })?;
            if !all_new && made > 0 {
                outcome.notes.push(format!(
                    "{}, {} flows: of the last {} packets {} found that their flow's entry had been thrown away, and made it anew.",
                    kind.name(),
                    number(flows as f64),
                    number(f64::from(run.packets)),
                    number(made as f64)
                ));
            }
            *result = Some(compared);
        }
    }
    Ok(results)
}
