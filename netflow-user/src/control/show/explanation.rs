//! `netflow explain ADDRESS`: where its flows are, or why there are none.

use super::{
    flows::{end, protocol_of, single},
    table::{grouped, instant},
};
use crate::control::{Explanation, ExportedRow};

/// What keeps packets out of flows.
const REASONS: [(&str, &str); 11] = [
    ("not_ip", "they carry another network protocol than IP"),
    ("link_truncated", "the frame ends before the network protocol is known"),
    ("link_too_deep", "too many tags or labels before the IP header"),
    ("ip_truncated", "the frame ends within the IP header"),
    ("ip_version", "the IP header has another version than the frame says"),
    ("ip_header_length", "the IPv4 header says it is shorter than it can be"),
    ("filtered", "--filter does not match them"),
    ("own_export", "they are messages of this exporter, see --exclude-own-export"),
    ("sampled_out", "sampling did not select them, see --sampling"),
    ("map_full", "the kernel's maps were full, see --map-size and --drain-interval"),
    ("cpu_without_map", "they came on a processor that was not there at the start"),
];

/// The explanation as lines.
pub fn explanation(answer: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    let cached = &answer.cached;
    if cached.matching.flows > 0 {
        lines.push(format!(
            "{}: {} flows are in the cache, with {} packets and {} octets that are in no record yet:",
            answer.address,
            grouped(cached.matching.flows),
            grouped(cached.matching.packets),
            grouped(cached.matching.octets)
        ));
        lines.extend(single(&cached.rows, cached.at).lines());
        lines.push(
            "They are exported when they end: see --idle-timeout, --active-timeout, --end-linger.".to_owned(),
        );
    } else {
        lines.push(format!(
            "{}: no flow in the cache ({} are), as of {}",
            answer.address,
            grouped(cached.flows_seen),
            instant(cached.at)
        ));
    }
    exported(answer, &mut lines);
    if cached.matching.flows == 0 && answer.exported_matching == 0 {
        not_seen(answer, &mut lines);
    }
    lines
}

fn exported(answer: &Explanation, lines: &mut Vec<String>) {
    if answer.is_anonymised {
        lines.push("Records are anonymised, so what was exported of it is not known.".to_owned());
        return;
    }
    let kept = grouped(answer.records_kept);
    if answer.exported_matching == 0 {
        lines.push(format!("Among the last {kept} records none is of it."));
        return;
    }
    lines.push(format!(
        "Among the last {kept} records {} are of it, the latest:",
        grouped(answer.exported_matching)
    ));
    for ExportedRow { flow, end_reason } in &answer.exported {
        lines.push(format!(
            "  {} -> {} {}: {} packets, {} octets, last packet {}; {}",
            end(flow, "source"),
            end(flow, "destination"),
            protocol_of(flow),
            grouped(flow.packets),
            grouped(flow.octets),
            instant(flow.end),
            reason(*end_reason)
        ));
    }
}

fn reason(number: u8) -> &'static str {
    match number {
        1 => "ended by the idle timeout",
        2 => "goes on, reported by the active timeout",
        3 => "ended by FIN or RST",
        4 => "ended by force: an operator, a change, or the interface went",
        5 => "ended as the cache was full",
        _ => "ended for an unknown reason",
    }
}

fn not_seen(answer: &Explanation, lines: &mut Vec<String>) {
    lines.push("So it was not seen lately, as far as this agent knows.".to_owned());
    let metered: Vec<String> = answer
        .interfaces
        .iter()
        .filter(|line| !line.name.is_empty())
        .map(|line| {
            let directions = match (&line.ingress, &line.egress) {
                (Some(_), Some(_)) => "both directions",
                (None, Some(_)) => "what it sends",
                _ => "what it receives",
            };
            format!(
                "{} ({directions}, {} packets)",
                line.name,
                grouped(line.received.packets + line.sent.packets)
            )
        })
        .collect();
    lines.push(match metered.is_empty() {
        true => "No interface is metered now.".to_owned(),
        false => format!("Metered are {}.", metered.join(", ")),
    });
    if answer.sampled_one_in > 1 {
        lines.push(format!("One in {} packets is metered.", grouped(answer.sampled_one_in.into())));
    }
    if answer.not_metered.0.is_empty() {
        lines.push("Every packet that came is in a flow: its packets did not come this way.".to_owned());
        return;
    }
    lines.push("Packets that are in no flow, of whatever address:".to_owned());
    for (name, packets) in &answer.not_metered.0 {
        let meaning = REASONS.iter().find(|(reason, _)| reason == name).map_or("", |(_, meaning)| meaning);
        lines.push(format!("  {:>15} {name}: {meaning}", grouped(*packets)));
    }
}
