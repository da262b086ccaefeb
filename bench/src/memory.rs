//! Part e: memory, of the agent's flow cache and of the kernel's maps.

use std::{collections::BTreeMap, fs, path::Path, process};

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;
use clap::Parser as _;
use netflow_common::{Address, FlowCounters, FlowKey, IpVersion, NetworkU16, Ports};
use netflow_user::{
    cli::{Cli, Command},
    config::RunConfig,
    kernel::{Kernel, LoadOptions},
    time::MonotonicNanos,
};

use crate::{Cell, Context, Outcome, Table, Target, Unit, drain, machine, measurement::number};

/// How many flows.
const FLOWS: [(u32, &str); 2] = [(1_000_000, "1 M"), (5_000_000, "5 M")];
/// Octets of a cached flow.
const LIMIT: f64 = 160.0;
/// What the drain hands on at once.
const DELTAS: usize = 1024;
/// Maps of fewer octets are not told of one by one.
const SMALL: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

/// Runs the part.
///
/// # Errors
/// The kernel side cannot be loaded.
pub fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome {
        method: "Flow cache: the resident memory of a process with a cache that is full, less that before it was made, \
                 index and lists included. *Used again*: all flows ended, and as many others came. Kernel: what the kernel \
                 says of each map of the agent with its default options on this machine (`memlock` in `/proc/self/fdinfo`)."
            .to_owned(),
        ..Outcome::default()
    };
    let mut table =
        Table::new("Octets of a flow in the flow cache:", &["flows", "first filled", "used again"]);
    for (flows, name) in FLOWS {
        if !machine::has_memory(u64::from(flows) * 200) {
            outcome.not_run.push(format!("{name} flows: not so much memory is free"));
            continue;
        }
        let [first, again] = in_a_process_of_its_own(context, flows)?;
        table.row(name, [first, again].map(Cell::from));
        let name = format!("flow in the cache, {name} flows, used again");
        outcome.targets.push(Target::at_most(name, LIMIT, Unit::Octets, Some(again)));
    }
    outcome.tables.push(table);
    kernel(&mut outcome)?;
    Ok(outcome)
}

/// What other parts have freed would be used again, and not be seen as new.
fn in_a_process_of_its_own(context: &Context, flows: u32) -> Result<[f64; 2]> {
    let output = process::Command::new(std::env::current_exe().context("cannot find the bench's program")?)
        .arg("--binary")
        .arg(&context.binary)
        .args(["--octets-per-flow", &flows.to_string()])
        .output()
        .context("cannot start the bench once more")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let error = String::from_utf8_lossy(&output.stderr);
    numbers.try_into().ok().with_context(|| format!("no octets of {flows} flows: {error}"))
}

/// Of a cache of so many flows: filled the first time, and after all flows have ended once.
///
/// # Errors
/// No memory.
pub fn octets_per_flow(flows: u32) -> Result<[f64; 2]> {
    let mut deltas: Vec<(FlowKey, FlowCounters)> = Vec::with_capacity(DELTAS);
    let before = resident()?;
    let mut cache = drain::cache(flows, drain::IDLE)?;
    let mut filled = |number: u64| -> Result<f64> {
        let at = number * 100 * SECOND;
        cache.expire(MonotonicNanos(at), &mut |_, _, _| {});
        for first in (0..flows).step_by(DELTAS) {
            deltas.clear();
            deltas.extend((first..flows.min(first + DELTAS as u32)).map(|flow| delta(flow, number, at)));
            cache.merge_all(&deltas, &mut |_, _, _| {});
        }
        anyhow::ensure!(cache.flows() == flows as usize, "{} flows of {flows}", cache.flows());
        Ok((resident()?.saturating_sub(before)) as f64 / f64::from(flows))
    };
    Ok([filled(1)?, filled(2)?])
}

/// Of a flow that none of another number has.
fn delta(flow: u32, number: u64, at: u64) -> (FlowKey, FlowCounters) {
    let source = (flow | (number as u32) << 28).to_be_bytes();
    let key = FlowKey {
        source_address: Address::from_ipv4(source),
        destination_address: Address::from_ipv4([192, 0, 2, 1]),
        interface: 2,
        source_port: NetworkU16::new(1024),
        destination_port: NetworkU16::new(443),
        protocol: FlowKey::UDP,
        ip_version: IpVersion::V4,
        ports: Ports::PRESENT,
        ..FlowKey::default()
    };
    let counters = FlowCounters { packets: 1, octets: 46, first: at, last: at, ..FlowCounters::default() };
    (key, counters)
}

/// Octets of this process that are in memory.
fn resident() -> Result<u64> {
    let rollup =
        fs::read_to_string("/proc/self/smaps_rollup").context("cannot read /proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kibibytes.context("/proc/self/smaps_rollup says nothing")? * 1024)
}

/// What the agent decides when nothing is asked for.
///
/// # Errors
/// It refuses its own defaults.
pub fn defaults(arguments: &[&str]) -> Result<RunConfig> {
    let cli = Cli::try_parse_from(["netflow", "run"].iter().chain(arguments))?;
    let Command::Run(run) = cli.command else { anyhow::bail!("not what `run` takes") };
    Ok(RunConfig::new(*run)?)
}

/// Maps of one name.
#[derive(Default)]
struct Maps {
    number: u64,
    entries: u64,
    octets: u64,
}

fn kernel(outcome: &mut Outcome) -> Result<()> {
    let options: LoadOptions = defaults(&[])?.load;
    let before = maps()?;
    let kernel = Kernel::load(&options)?;
    let sizes = *kernel.sizes();
    let mut by_name: BTreeMap<String, Maps> = BTreeMap::new();
    let mut total = 0;
    for (id, (entries, octets)) in maps()?.into_iter().filter(|(id, _)| !before.contains_key(id)) {
        let name = MapInfo::from_id(id)?.name_as_str().unwrap_or_default().to_owned();
        let maps = by_name.entry(name).or_default();
        maps.number += 1;
        maps.entries += entries;
        maps.octets += octets;
        total += octets;
    }
    let title = format!(
        "Kernel memory by map ({} CPUs, two generations; {} entries of each flow map, {} slots of IPv4 of each part of the \
         flow table):",
        sizes.cpus,
        number(sizes.map_size.into()),
        number(sizes.flow_table.into())
    );
    let mut table = Table::new(title, &["map", "maps", "entries", "octets an entry", "MiB"]);
    let mut rows: Vec<_> = by_name.into_iter().collect();
    rows.sort_by_key(|(_, maps)| std::cmp::Reverse(maps.octets));
    let mebibytes = |octets: u64| Cell::from(octets as f64 / f64::from(1 << 20));
    let mut others = Maps::default();
    for (name, maps) in rows {
        if maps.octets < SMALL {
            others.number += maps.number;
            others.octets += maps.octets;
            continue;
        }
        let cells = [
            Cell::from(maps.number as f64),
            Cell::from(maps.entries as f64),
            Cell::from((maps.octets as f64 / maps.entries as f64).round()),
            mebibytes(maps.octets),
        ];
        table.row(label(&name), cells);
    }
    let sum = |octets| [Cell::Nothing, Cell::Nothing, Cell::Nothing, mebibytes(octets)];
    let mut rest = sum(others.octets);
    rest[0] = Cell::from(others.number as f64);
    table.row("others", rest);
    table.row("all", sum(total));
    table.row("the agent's own statement of flow maps and table", sum(sizes.kernel_memory));
    outcome.tables.push(table);
    Ok(())
}

/// What a map is called in the table. aya gives those that are made alone a name of its own.
fn label(name: &str) -> String {
    match name {
        "" | "standalone_hash" => "flow maps".to_owned(),
        "IPV4_SLOTS" => "`IPV4_SLOTS` (an entry: four slots)".to_owned(),
        "FLOW_SLOTS" => "`FLOW_SLOTS`, for IPv6 (an entry: four slots)".to_owned(),
        name => format!("`{name}`"),
    }
}

/// The maps that this process holds: id -> entries, octets.
fn maps() -> Result<BTreeMap<u32, (u64, u64)>> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo").context("cannot read /proc/self/fdinfo")? {
        // One of them was the directory itself.
        let Some(text) = entry.ok().and_then(|entry| read(&entry.path())) else { continue };
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))?;
            line.trim().parse::<u64>().ok()
        };
        if let (Some(id), Some(entries), Some(octets)) =
            (field("map_id"), field("max_entries"), field("memlock"))
        {
            maps.insert(u32::try_from(id)?, (entries, octets));
        }
    }
    Ok(maps)
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn flows_of_different_numbers_are_different_flows() {
        let keys: std::collections::HashSet<_> = (1..3)
            .flat_map(|number| {
                (0..1000).map(move |flow| bytemuck::bytes_of(&delta(flow, number, 0).0).to_vec())
            })
            .collect();
        assert_eq!(keys.len(), 2000);
    }

    #[test]
    fn the_agents_defaults_are_those_of_its_command_line() {
        let config = defaults(&[]).unwrap();
        assert_eq!((config.load.map_size, config.load.flow_table), (262_144, 262_144));
    }
}
