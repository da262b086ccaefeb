//! The agent's program as it is: flows, new flows, IP versions, hooks.

use std::time::Duration;

use ::tests::meter::LOAD_OPTIONS;
use anyhow::Result;
use netflow_user::kernel::{EntryPoint, Link, LoadOptions};

use super::{
    Choice, Compared, DEFAULT_MAP, FLOWS, Hook, LARGE_MAP, Meter, NEW_FLOWS, Run, Vary, Version, packets,
    rounds, udp,
};
use crate::{Cell, Context, Outcome, Series, Table, Target, Unit, machine};

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

/// Measures; the lines of a plot over flows.
pub(super) fn run(context: &Context, vary: &mut Vary, outcome: &mut Outcome) -> Result<Vec<Series>> {
    let mut results: [[Option<Compared>; COLUMNS.len()]; ROWS.len()] = Default::default();
    for large in [false, true] {
        let map_size = if large { LARGE_MAP } else { DEFAULT_MAP };
        let options = LoadOptions { map_size, flow_table: map_size, kernel_memory: 8 << 30, ..LOAD_OPTIONS };
        if large && !machine::has_memory(2 << 30) {
            outcome.not_run.push("1 M flows: less than 2 GiB of memory is free".to_owned());
            break;
        }
        let mut meter = Meter::load(&options, EntryPoint::XdpFragments)?;
        for (place, column) in COLUMNS.iter().enumerate() {
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
        line.points.extend(of_row[0].iter().map(|it| (row.flows as f64, it.added.median())));
    }
    Ok(vec![line])
}

fn measure(
    context: &Context,
    vary: &mut Vary,
    meter: &mut Meter,
    column: &Column,
    row: &Row,
) -> Result<Compared> {
    let frame = udp(column.version);
    let choice = Choice { flows: row.flows, new: row.new };
    let all_new = row.new == 1.0;
    let packets = if all_new { NEW_FLOWS } else { packets(context) };
    let run = Run { hook: column.hook, frame: &frame, choice, packets, rounds: rounds(context) };
    let program = meter.program()?;
    vary.fill(&program, &run)?;
    meter.sent(u32::try_from(row.flows)?);
    let compared = vary.compare(&program, &run, |packets| {
        meter.sent(packets);
        // Each round of nothing but new flows finds empty maps.
        if all_new { meter.close().map(drop) } else { Ok(()) }
    })?;
    meter.close()?;
    Ok(compared)
}

fn tables(outcome: &mut Outcome, results: &[[Option<Compared>; COLUMNS.len()]]) {
    let headings: Vec<&str> = [""].into_iter().chain(COLUMNS.iter().map(|column| column.name)).collect();
    let mut added = Table::new("What the program adds to a packet, ns:", &headings);
    let raw_headings = ["", "harness alone, ns", "with the program, ns", "added, ns"];
    let mut raw = Table::new("The same with both raw values:", &raw_headings);
    for (row, of_row) in ROWS.iter().zip(results) {
        if of_row.iter().all(Option::is_none) {
            continue;
        }
        added.row(row.name, of_row.iter().map(|it| Cell::from(it.as_ref().map(|it| it.added.clone()))));
        for (column, compared) in COLUMNS.iter().zip(of_row) {
            if let Some(compared) = compared {
                raw.row(format!("{}, {}", column.name, row.name), compared.cells());
            }
        }
    }
    outcome.tables.extend([added, raw]);
}

fn targets(outcome: &mut Outcome, results: &[[Option<Compared>; COLUMNS.len()]]) {
    let median = |row: usize, column: usize| results[row][column].as_ref().map(|it| it.added.median());
    for (row, limit) in TARGETS {
        let name = format!("XDP, IPv4, {}", ROWS[row].name);
        outcome.targets.push(Target::at_most(name, limit, Unit::Nanoseconds, median(row, 0)));
    }
    for (row, limit) in TARGETS {
        let name = format!("XDP, IPv6, {}", ROWS[row].name);
        outcome.targets.push(Target::at_most(name, limit * IPV6_TIMES, Unit::Nanoseconds, median(row, 1)));
    }
}
