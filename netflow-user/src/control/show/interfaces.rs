//! `netflow show interfaces`: what is metered, and by what.

use super::table::{Table, grouped, instant};
use crate::control::Interfaces;

/// The interfaces as lines.
pub fn interfaces(answer: &Interfaces) -> Vec<String> {
    let mut table = Table::new(
        3,
        [
            "Interface",
            "Received by",
            "Sent by",
            "ifIndex",
            "Packets in",
            "Octets in",
            "Packets out",
            "Octets out",
        ],
    );
    for line in &answer.interfaces {
        let hook = |hook: &Option<String>| hook.clone().unwrap_or_else(|| "-".to_owned());
        let name = if line.name.is_empty() { "(not metered now)" } else { &line.name };
        table.push(vec![
            name.to_owned(),
            hook(&line.ingress),
            hook(&line.egress),
            line.index.to_string(),
            grouped(line.received.packets),
            grouped(line.received.octets),
            grouped(line.sent.packets),
            grouped(line.sent.octets),
        ]);
    }
    let mut lines = vec![format!("Metered until {}", instant(answer.at))];
    lines.extend(table.lines());
    lines
}
