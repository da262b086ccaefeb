//! The ledger as metrics: every line of it, under the names of the ledger file.

use std::{collections::HashMap, fmt};

use super::pen::{Labels, Of, Pen, label};
use crate::ledger::{Books, ByReason, DestinationLines, Volume};

/// Writes all of them.
pub(super) fn write(pen: &mut Pen<'_>, books: &Books) -> fmt::Result {
    pen.gauge(
        "netflow_ledger_balanced",
        Of::Things,
        "1 as long as every line of the ledger closed at every check",
        u64::from(books.balanced),
    )?;
    pen.counter(
        "netflow_ledger_imbalances",
        Of::Things,
        "Times that a line of the ledger did not close",
        books.imbalances,
    )?;
    pen.counter("netflow_flips", Of::Things, "Flips closed", books.flips)?;
    packets(pen, books)?;
    octets(pen, books)?;
    flows(pen, books)?;
    destinations(pen, &books.destinations)
}

fn packets(pen: &mut Pen<'_>, books: &Books) -> fmt::Result {
    let lines = &books.packets;
    for (name, help, value) in [
        ("netflow_seen", "Packets that entered the kernel program", lines.seen),
        ("netflow_filtered", "Packets that the filter does not match", lines.filtered),
        ("netflow_own_export", "Messages of this exporter, which are not metered", lines.own_export),
        ("netflow_sampled_out", "Packets that sampling did not select", lines.sampled_out),
        ("netflow_metered", "Packets drained from the flow maps", lines.metered),
        ("netflow_in_records", "Packets in records", lines.in_records),
    ] {
        pen.counter(name, Of::Packets, help, value)?;
    }
    for (name, help, values) in [
        ("netflow_not_ip", "Packets that are not IP, by reason", &lines.not_ip),
        ("netflow_bad_ip", "Packets without a usable IP header, by reason", &lines.bad_ip),
        ("netflow_lost", "Packets that found no place in the kernel's maps, by reason", &lines.lost),
    ] {
        pen.counters(name, Of::Packets, help, by("reason", values))?;
    }
    pen.counters(
        "netflow_noted",
        Of::Packets,
        "Metered packets of which something is worth saying, by what",
        by("note", &books.notes),
    )?;
    pen.gauge("netflow_in_cache", Of::Packets, "Packets in the flow cache now", lines.in_cache)
}

fn octets(pen: &mut Pen<'_>, books: &Books) -> fmt::Result {
    let lines = &books.octets;
    for (name, help, value) in [
        ("netflow_seen", "IP octets of flow packets that entered the kernel program", lines.seen),
        ("netflow_filtered", "IP octets that the filter does not match", lines.filtered),
        ("netflow_own_export", "IP octets of this exporter's messages", lines.own_export),
        ("netflow_sampled_out", "IP octets that sampling did not select", lines.sampled_out),
        ("netflow_metered", "IP octets drained from the flow maps", lines.metered),
        ("netflow_in_records", "IP octets in records", lines.in_records),
        ("netflow_not_ip_frames", "Frame octets of packets that are not IP", lines.not_ip_frames),
    ] {
        pen.counter(name, Of::Bytes, help, value)?;
    }
    let help = "IP octets that found no place in the kernel's maps, by reason";
    pen.counters("netflow_lost", Of::Bytes, help, by("reason", &lines.lost))?;
    pen.gauge("netflow_in_cache", Of::Bytes, "IP octets in the flow cache now", lines.in_cache)
}

fn flows(pen: &mut Pen<'_>, books: &Books) -> fmt::Result {
    let lines = &books.flows;
    pen.counter(
        "netflow_flow_table_slots",
        Of::Things,
        "Slots taken in the kernel's flow table: one per flow, CPU and flip with packets",
        lines.table_slots,
    )?;
    pen.counter(
        "netflow_flow_map_entries",
        Of::Things,
        "Entries made in the kernel's flow maps, by flows that found no slot",
        lines.map_entries,
    )?;
    pen.gauge("netflow_in_cache", Of::Flows, "Flows in the flow cache now", lines.in_cache)?;
    let help = "Further flows that have room in the flow cache";
    pen.gauge("netflow_unused_in_cache", Of::Flows, help, lines.unused_in_cache)?;
    let help = "Flow Records that left the flow cache, by flowEndReason";
    pen.counters("netflow_ended", Of::Records, help, by("end_reason", &books.records.end_reason))
}

/// A line of a destination, in one of the three units.
type Line = (&'static str, &'static str, fn(&DestinationLines) -> Volume);
/// A number of a destination.
type Number<N> = (&'static str, Of, &'static str, fn(&DestinationLines) -> N);

/// One of the three.
type InUnit = (Of, fn(Volume) -> u64);

const UNITS: [InUnit; 3] = [
    (Of::Records, |volume| volume.records),
    (Of::Packets, |volume| volume.packets),
    (Of::Bytes, |volume| volume.octets),
];

const COUNTED: [Line; 3] = [
    ("netflow_destination_offered", "Given to the destination since it joined", |lines| lines.offered),
    ("netflow_destination_inherited", "In the spool that an earlier run left behind", |lines| {
        lines.inherited
    }),
    ("netflow_destination_sent", "In messages that the destination's socket accepted", |lines| lines.sent),
];

const WAITING: [Line; 2] = [
    ("netflow_destination_queued", "Waiting in the destination's queue", |lines| lines.queued),
    ("netflow_destination_spooled", "Waiting in the destination's spool", |lines| lines.spooled),
];

const COUNTERS: [Number<u64>; 8] = [
    ("netflow_destination_messages", Of::Things, "Messages that the socket accepted", |lines| lines.messages),
    ("netflow_destination_message", Of::Bytes, "Octets of these messages", |lines| lines.message_octets),
    (
        "netflow_destination_refused_datagrams",
        Of::Things,
        "Datagrams that the collector's host refused: nobody listens",
        |lines| lines.refused_datagrams,
    ),
    ("netflow_destination_retries", Of::Things, "Messages handed to the socket again", |lines| lines.retries),
    ("netflow_destination_sessions", Of::Things, "Transport Sessions begun", |lines| lines.session.begun),
    ("netflow_destination_templates", Of::Things, "Template Records in messages", |lines| {
        lines.session.templates
    }),
    ("netflow_destination_options_templates", Of::Things, "Options Template Records in messages", |lines| {
        lines.session.options_templates
    }),
    ("netflow_destination_discarded_messages", Of::Things, "Messages that were made and given up", |lines| {
        lines.session.discarded_messages
    }),
];

fn destinations(pen: &mut Pen<'_>, destinations: &[DestinationLines]) -> fmt::Result {
    let names = names(destinations);
    let all = || names.iter().cloned().zip(destinations);
    for (of, unit) in UNITS {
        for (name, help, line) in COUNTED {
            pen.counters(name, of, help, all().map(|(labels, lines)| (labels, unit(line(lines)))))?;
        }
        for (name, help, line) in WAITING {
            pen.gauges(name, of, help, all().map(|(labels, lines)| (labels, unit(line(lines)))))?;
        }
        let not_sent = all().flat_map(|(labels, lines)| {
            let with = move |reason: &str| [labels.clone(), label("reason", reason)].concat();
            lines.not_sent.0.iter().map(move |(reason, volume)| (with(reason), unit(*volume)))
        });
        pen.counters("netflow_destination_not_sent", of, "Given up, by reason", not_sent)?;
    }
    for (name, of, help, number) in COUNTERS {
        pen.counters(name, of, help, all().map(|(labels, lines)| (labels, number(lines))))?;
    }
    let active = all().map(|(labels, lines)| (labels, u64::from(lines.session.is_active)));
    let help = "1 where there is a Transport Session; over a connection: where it is established";
    pen.gauges("netflow_destination_session_active", Of::Things, help, active)?;
    let began = all().map(|(labels, lines)| (labels, lines.session.began.0 as f64 / 1e3));
    let help = "When the last Transport Session began, since 1970; 0 before the first one";
    pen.gauges("netflow_destination_session_start_time", Of::Seconds, help, began)
}

/// The destinations by their names, which are those of the operator's; one that is given again has its number too.
pub(super) fn names(destinations: &[DestinationLines]) -> Vec<Labels> {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let name = |lines: &DestinationLines, times: u32| match times {
        1 => label("collector", &lines.name),
        times => label("collector", &format!("{} ({times})", lines.name)),
    };
    let mut names = Vec::with_capacity(destinations.len());
    for lines in destinations {
        let times = known.entry(&lines.name).or_default();
        *times += 1;
        names.push(name(lines, *times));
    }
    names
}

fn by<'a>(name: &'static str, values: &'a ByReason<u64>) -> impl Iterator<Item = (Labels, u64)> + 'a {
    values.0.iter().map(move |(value, count)| (label(name, value), *count))
}
