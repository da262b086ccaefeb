//! The agent's program as it is: flows, new flows, IP versions, hooks.

use std::time::Duration;

use ::tests::meter::LOAD_OPTIONS;
use anyhow::{Result, ensure};
use netflow_user::kernel::{EntryPoint, Link, LoadOptions, Sizes};

use super::{
    Choice, Closed, Compared, DEFAULT_MAP, FLOWS, Hook, LARGE_MAP, Meter, NEW_FLOWS, Run, Vary, Version,
    latency, packets, rounds, udp,
};
use crate::{Cell, Context, Outcome, Series, Table, Target, Unit, machine, measurement::number};

/// Where the program stands, and the frame.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Column {
    name: &'static str,
    entry: EntryPoint,
    hook: Hook,
    version: Version,
}

const TC: EntryPoint = EntryPoint::TcIngress(Link::Ethernet);
const COLUMNS: [Column; 4] = [
    Column {
        name: "XDP, IPv4",
        entry: EntryPoint::XdpFragments,
        hook: Hook::XdpFragments,
        version: Version::V4,
    },
    Column {
        name: "XDP, IPv6",
        entry: EntryPoint::XdpFragments,
        hook: Hook::XdpFragments,
        version: Version::V6,
    },
    Column { name: "TC, IPv4", entry: TC, hook: Hook::Tc, version: Version::V4 },
    Column { name: "TC, IPv6", entry: TC, hook: Hook::Tc, version: Version::V6 },
];

/// Which packets.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Row {
    name: &'static str,
    flows: u64,
    new: f64,
}

const ROWS: [Row; 9] = [
    row("1 flow", 0, 0.0),
    row("1 k flows", 1, 0.0),
    row("64 k flows", 2, 0.0),
    row("1 M flows", 3, 0.0),
    row("1 flow, 1 % of the packets new ones", 0, 0.01),
    row("1 k flows, 1 % new", 1, 0.01),
    row("64 k flows, 1 % new", 2, 0.01),
    row("1 M flows, 1 % new", 3, 0.01),
    row("every packet a new flow", 0, 1.0),
];

const fn row(name: &'static str, flows: usize, new: f64) -> Row {
    Row { name, flows: FLOWS[flows].0, new }
}

/// Bounds of what is added to an IPv4 packet by XDP, nanoseconds.
const TARGETS: [(usize, f64); 5] = [(0, 20.0), (1, 20.0), (2, 60.0), (3, 120.0), (8, 200.0)];
/// IPv6 may cost so many times as much.
const IPV6_TIMES: f64 = 1.4;

/// What came out of a case, and where its flows were.
type Measured = (Compared, Closed);
type Results = [[Option<Measured>; COLUMNS.len()]; ROWS.len()];

/// How the agent is started for so many flows of a version: the table, which has half as many slots for IPv6 as for
/// IPv4, is to be at most half full, and the map behind it is that of the default.
fn options(large: bool, version: Version) -> LoadOptions {
    let slots = if large { LARGE_MAP } else { DEFAULT_MAP };
    let flow_table = if large && version == Version::V6 { 2 * slots } else { slots };
    LoadOptions { map_size: DEFAULT_MAP, flow_table, kernel_memory: 16 << 30, ..LOAD_OPTIONS }
}

/// Measures; the lines of a plot over flows.
pub(super) fn run(context: &Context, vary: &mut Vary, outcome: &mut Outcome) -> Result<Vec<Series>> {
    let mut results = Results::default();
    for (large, version) in [false, true].into_iter().flat_map(|it| [(it, Version::V4), (it, Version::V6)]) {
        let options = options(large, version);
        let memory = Sizes::within(&options, machine::cpus_up_to_highest()).kernel_memory;
        if !machine::has_memory(memory + (1 << 30)) {
            outcome.not_run.push(format!(
                "{}, {}: {} MiB of memory are not free",
                version.name(),
                if large { "1 M flows" } else { "up to 64 k flows" },
                number((memory >> 20) as f64)
            ));
            continue;
        }
        let mut meter = Meter::load(&options, EntryPoint::XdpFragments)?;
        for (place, column) in COLUMNS.iter().enumerate().filter(|(_, column)| column.version == version) {
            meter.stand_at(column.entry)?;
            for (row, of_row) in ROWS.iter().zip(&mut results) {
                let is_large = row.flows > u64::from(DEFAULT_MAP);
                if is_large != large || context.quick && row.new == 0.01 && row.flows != 65_536 {
                    continue;
                }
                if context.has_time_for(Duration::from_millis(800)) {
                    of_row[place] = Some(measure(context, vary, &mut meter, column, row)?);
                }
            }
        }
    }
    tables(outcome, &results);
    targets(outcome, &results);
    let mut line = Series { name: "netflow".to_owned(), points: Vec::new() };
    for (row, of_row) in ROWS.iter().zip(&results).filter(|(row, _)| row.new == 0.0) {
        line.points.extend(of_row[0].iter().map(|(it, _)| (row.flows as f64, it.added.median())));
    }
    Ok(vec![line])
}

fn measure(
    context: &Context,
    vary: &mut Vary,
    meter: &mut Meter,
    column: &Column,
    row: &Row,
) -> Result<Measured> {
    let frame = udp(column.version);
    let choice = Choice { flows: row.flows, new: row.new };
    let all_new = row.new == 1.0;
    let packets = if all_new { NEW_FLOWS } else { packets(context) };
    let run = Run { hook: column.hook, frame: &frame, choice, packets, rounds: rounds(context) };
    let program = meter.program()?;
    vary.fill(&program, &run)?;
    meter.sent(u32::try_from(row.flows)?);
    let mut closed = None;
    let compared = vary.compare(&program, &run, |packets| {
        meter.sent(packets);
        if all_new {
            // Each round of nothing but new flows finds empty maps.
            closed = Some(meter.close()?);
        }
        Ok(())
    })?;
    let closed = match closed {
        Some(closed) => closed,
        None => meter.close()?,
    };
    // Packets that are to be of flows that are there have been.
    ensure!(
        row.new > 0.0 || closed.entries == row.flows,
        "{}, {}: {} entries",
        column.name,
        row.name,
        closed.entries
    );
    Ok((compared, closed))
}

fn tables(outcome: &mut Outcome, results: &Results) {
    let headings: Vec<&str> = [""].into_iter().chain(COLUMNS.iter().map(|column| column.name)).collect();
    let mut added = Table::new("What the program adds to a packet, ns:", &headings);
    let raw_headings = ["", "harness alone, ns", "with the program, ns", "added, ns"];
    let mut raw = Table::new("The same with both raw values:", &raw_headings);
    let mut places = Table::new("Where the flows were, in the table / in the map behind it:", &headings);
    for (row, of_row) in ROWS.iter().zip(results) {
        if of_row.iter().all(Option::is_none) {
            continue;
        }
        added.row(row.name, of_row.iter().map(|it| Cell::from(it.as_ref().map(|(it, _)| it.added.clone()))));
        places.row(row.name, of_row.iter().map(|it| it.as_ref().map_or(Cell::Nothing, |(_, it)| place(it))));
        for (column, compared) in COLUMNS.iter().zip(of_row) {
            if let Some((compared, _)) = compared {
                raw.row(format!("{}, {}", column.name, row.name), compared.cells());
            }
        }
    }
    outcome.tables.extend([added, places.detail(), raw.detail()]);
}

fn place(closed: &Closed) -> Cell {
    format!("{} / {}", number(closed.in_table() as f64), number(closed.in_map() as f64)).into()
}

fn targets(outcome: &mut Outcome, results: &Results) {
    let median = |row: usize, column: usize| results[row][column].as_ref().map(|(it, _)| it.added.median());
    // Slots of the table for each of the flows: what is read lies as far apart.
    let reads = [(2, 65_536, 4), (3, 1_000_000, 2)].map(|(row, lines, spread)| {
        let nanos = number(latency::of_lines(lines, spread));
        (
            row,
            format!("one read of memory at random takes {nanos} ns where {} lie as slots do", ROWS[row].name),
        )
    });
    outcome
        .notes
        .extend(reads.iter().map(|(_, note)| format!("A flow's slot is a cache line of its own: {note}.")));
    let target = |row: usize, column: usize, limit| {
        let name = format!("{}, {}", COLUMNS[column].name, ROWS[row].name);
        let target = Target::at_most(name, limit, Unit::Nanoseconds, median(row, column));
        match reads.iter().find(|(of, _)| *of == row) {
            Some((_, note)) => target.because(format!("most of it is waiting for memory: {note}")),
            None => target,
        }
    };
    for (column, times) in [(0, 1.0), (1, IPV6_TIMES)] {
        outcome.targets.extend(TARGETS.map(|(row, limit)| target(row, column, limit * times)));
    }
}
