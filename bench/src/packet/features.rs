//! Each optional feature on alone.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use ::tests::meter::LOAD_OPTIONS;
use anyhow::Result;
use netflow_common::{FlowKey, Group, SamplingMode, Tunnel, WideKey};
use netflow_user::{
    filter::Filter,
    kernel::{EntryPoint, Link, LoadOptions, Measure, OwnExport},
};

use super::{Choice, Compared, DEFAULT_MAP, Hook, Meter, Run, Vary, Version, packets, rounds, tcp, udp};
use crate::{Context, Outcome, Table};

/// One feature.
struct Feature {
    name: &'static str,
    options: LoadOptions,
    entry: EntryPoint,
    frame: Vec<u8>,
    /// Also measured with `--quick`.
    quick: bool,
}

const TC_EGRESS: EntryPoint = EntryPoint::TcEgress(Link::Ethernet);
/// Flows that each is measured with.
const FLOWS: [(u64, &str); 2] = [(1000, "1 k flows"), (65_536, "64 k flows")];
/// One in so many packets, where they are sampled.
const SAMPLED: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// Measures.
pub(super) fn run(context: &Context, vary: &mut Vary, outcome: &mut Outcome) -> Result<()> {
    let columns = ["", "harness alone, ns", "with the program, ns", "added, ns"];
    let mut table =
        Table::new("Each feature on alone (XDP, IPv4, UDP, where nothing else is said):", &columns);
    for feature in features(outcome) {
        if context.quick && !feature.quick {
            continue;
        }
        for (flows, name) in if context.quick { &FLOWS[..1] } else { &FLOWS } {
            if !context.has_time_for(Duration::from_millis(1500)) {
                outcome.not_run.push(format!("{}, {name}: the time of this part is over", feature.name));
                continue;
            }
            match measure(context, vary, &feature, *flows) {
                Ok(compared) => table.row(format!("{}, {name}", feature.name), compared.cells()),
                Err(error) => outcome.not_run.push(format!("{}, {name}: {error:#}", feature.name)),
            }
        }
    }
    outcome.tables.push(table.detail());
    outcome.notes.push(format!("Sampled: one in {SAMPLED}; the cost is that of a packet seen."));
    Ok(())
}

fn measure(context: &Context, vary: &mut Vary, feature: &Feature, flows: u64) -> Result<Compared> {
    let mut meter = Meter::load(&feature.options, feature.entry)?;
    let hook = if feature.entry.is_xdp() { Hook::XdpFragments } else { Hook::Tc };
    let run = Run {
        hook,
        frame: &feature.frame,
        choice: Choice { flows, new: 0.0 },
        packets: packets(context) / 2,
        rounds: rounds(context),
    };
    let program = meter.program()?;
    vary.fill(&program, &run)?;
    meter.sent(u32::try_from(flows)?);
    let compared = vary.compare(&program, &run, |packets| {
        meter.sent(packets);
        Ok(())
    })?;
    meter.close()?;
    Ok(compared)
}

/// All features. What cannot be tried is said.
fn features(outcome: &mut Outcome) -> Vec<Feature> {
    let options = || LoadOptions {
        map_size: DEFAULT_MAP,
        flow_table: DEFAULT_MAP,
        kernel_memory: 8 << 30,
        ..LOAD_OPTIONS
    };
    let xdp = |name, quick, options| Feature {
        name,
        options,
        entry: EntryPoint::XdpFragments,
        frame: udp(Version::V4),
        quick,
    };
    let measuring = |measure| LoadOptions { measure, ..options() };
    let sampled = |sampling| Measure { sampling, sampling_interval: SAMPLED, ..Measure::DEFAULT };
    let groups = |groups| measuring(Measure { groups, ..Measure::DEFAULT });
    let every_group = Group::Tcp.bit() * 2 - 1;
    let every_tunnel = Tunnel::ALL.iter().map(|tunnel| tunnel.bit()).fold(0, |all, bit| all | bit);
    let mut features = vec![
        xdp("default", true, options()),
        xdp("tap mode (dropped after counting)", false, LoadOptions { tap: true, ..options() }),
        xdp("without the flow table", true, LoadOptions { flow_table: 0, ..options() }),
        xdp("precise clock", true, LoadOptions { precise_clock: true, ..options() }),
        xdp("fragments joined", false, measuring(Measure { join_fragments: true, ..Measure::DEFAULT })),
        xdp("key without destination port", false, measuring(masked())),
        xdp("sampled by count", true, measuring(sampled(SamplingMode::Count))),
        xdp("sampled at random", false, measuring(sampled(SamplingMode::Random))),
        xdp("sampled by flow", false, measuring(sampled(SamplingMode::FlowHash))),
        Feature { frame: tcp(), ..xdp("default, TCP", false, options()) },
        Feature {
            frame: tcp(),
            ..xdp(
                "biflows' mark, TCP",
                false,
                measuring(Measure { mark_initial_syn: true, ..Measure::DEFAULT }),
            )
        },
        Feature { entry: TC_EGRESS, ..xdp("default, TC egress", false, options()) },
        Feature {
            entry: TC_EGRESS,
            ..xdp(
                "own export left out, TC egress",
                false,
                LoadOptions { own_export: OwnExport::LeftOut, ..options() },
            )
        },
    ];
    for (name, expression) in [("filter, all match", "udp"), ("filter, none matches", "tcp")] {
        match Filter::compile(expression) {
            Ok(filter) => features.push(xdp(
                name,
                expression == "udp",
                LoadOptions { filter: Some(Arc::new(filter)), ..options() },
            )),
            Err(error) => outcome.not_run.push(format!("{name}: {error}")),
        }
    }
    for (name, group) in [
        ("group layer2", Group::Layer2),
        ("group size", Group::Size),
        ("group mpls", Group::Mpls),
        ("group options", Group::Options),
        ("group spi", Group::Spi),
        ("group igmp", Group::Igmp),
        ("group fragments", Group::Fragments),
        ("group class of service", Group::ClassOfService),
        ("group ttl", Group::Ttl),
        ("group tcp", Group::Tcp),
    ] {
        features.push(xdp(name, false, groups(group.bit())));
    }
    features.push(Feature { frame: tcp(), ..xdp("group tcp, TCP", false, groups(Group::Tcp.bit())) });
    features.push(xdp("every group", true, groups(every_group)));
    features.push(xdp(
        "every tunnel looked for",
        true,
        measuring(Measure { tunnels: every_tunnel, ..Measure::DEFAULT }),
    ));
    features.push(xdp(
        "every group and tunnel",
        false,
        measuring(Measure { groups: every_group, tunnels: every_tunnel, ..Measure::DEFAULT }),
    ));
    features
}

/// A key whose words are masked; as many flows as before, by their source addresses.
fn masked() -> Measure {
    let mut flow: FlowKey = bytemuck::cast([u64::MAX; 6]);
    flow.destination_port = netflow_common::NetworkU16::new(0);
    let mask = WideKey { flow, ..WideKey::default() };
    Measure { key_masks: Some([mask; 2]), ..Measure::DEFAULT }
}
