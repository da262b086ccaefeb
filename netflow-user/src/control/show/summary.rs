//! `netflow show summary`: in the spirit of `show ip cache flow`.

use super::table::{Table, between, grouped, instant, percent, protocol, quotient};
use crate::control::{ProtocolLine, Summary};

/// The summary as lines.
pub fn summary(summary: &Summary) -> Vec<String> {
    let Summary { at, since, seen, metered, lost, .. } = summary;
    let seconds = at.0.saturating_sub(since.0) as f64 / 1000.0;
    let cleared = if since == &summary.started { "the start" } else { "statistics were cleared" };
    let mut lines = vec![
        format!("{}: {} since {cleared}", instant(*at), between(*since, *at)),
        format!(
            "{} packets seen ({} a second), {} metered, {} lost",
            grouped(seen.packets),
            quotient(seen.packets as f64, seconds),
            grouped(metered.packets),
            grouped(lost.packets)
        ),
    ];
    if summary.sampled_one_in > 1 {
        lines.push(format!("one in {} packets is metered", grouped(summary.sampled_one_in.into())));
    }
    let timings = &summary.timings;
    lines.push(format!(
        "last flip: {} µs to change the generation, {} to drain it, {} to end flows",
        grouped(timings.flip_microseconds),
        grouped(timings.drain_microseconds),
        grouped(timings.expire_microseconds)
    ));
    lines.push(String::new());
    sizes(summary, &mut lines);
    lines.push(String::new());
    lines.push(format!(
        "Flow cache: {} flows active, {} more have room",
        grouped(summary.flows_in_cache),
        grouped(summary.unused_in_cache)
    ));
    let total = summary.end_reason.sum();
    let mut ageing = Table::new(1, ["Ended by", "Records", "Share"]);
    for (reason, count) in &summary.end_reason.0 {
        ageing.push(vec![reason.to_string(), grouped(*count), percent(*count, total)]);
    }
    lines.extend(ageing.lines());
    lines.push(String::new());
    protocols(summary, seconds, &mut lines);
    lines
}

/// Packets by the mean size of their record's.
fn sizes(summary: &Summary, lines: &mut Vec<String>) {
    let sizes = &summary.traffic.packet_sizes;
    let total: u64 = sizes.iter().map(|line| line.packets).sum();
    lines.push(format!(
        "IP packet size distribution ({} packets, by the mean of their record):",
        grouped(total)
    ));
    for eight in sizes.chunks(8) {
        let heading = eight.iter().map(|line| format!("<={}", line.up_to)).collect();
        let mut table = Table::with_heading(0, heading);
        table.push(eight.iter().map(|line| percent(line.packets, total)).collect());
        lines.extend(table.lines().into_iter().map(|line| format!("  {line}")));
    }
}

fn protocols(summary: &Summary, seconds: f64, lines: &mut Vec<String>) {
    let mut table = Table::new(
        1,
        [
            "Protocol",
            "Records",
            "Records/s",
            "Packets/record",
            "Octets/packet",
            "Packets/s",
            "Active s/record",
            "Idle s/record",
        ],
    );
    let mut row = |name: String, line: &ProtocolLine| {
        let records = line.records as f64;
        table.push(vec![
            name,
            grouped(line.records),
            quotient(records, seconds),
            quotient(line.packets as f64, records),
            quotient(line.octets as f64, line.packets as f64),
            quotient(line.packets as f64, seconds),
            quotient(line.active_milliseconds as f64 / 1000.0, records),
            quotient(line.idle_milliseconds as f64 / 1000.0, records),
        ]);
    };
    let mut total = ProtocolLine::default();
    let mut by_records = summary.traffic.protocols.clone();
    by_records.sort_by_key(|line| std::cmp::Reverse(line.records));
    for line in &by_records {
        row(protocol(line.protocol), line);
        total.add(line);
    }
    row("Total".to_owned(), &total);
    lines.extend(table.lines());
}
