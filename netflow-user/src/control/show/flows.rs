//! `netflow show flows`: flows in the cache, or sums of those that are alike.

use super::table::{Table, grouped, instant, percent, protocol};
use crate::{
    control::{Cell, FlowQuery, FlowRow, Gathered},
    time::UnixMillis,
};

/// Flags of TCP by their bits, the lowest first (RFC 9293 section 3.1).
const FLAGS: &[u8; 8] = b"FSRPAUEC";

/// The rows as lines.
pub fn flows(query: &FlowQuery, answer: &Gathered) -> Vec<String> {
    let matching = &answer.matching;
    let mut lines = vec![format!(
        "Flow cache at {}: {} flows looked at, {} of them asked for: {} packets, {} octets, {}",
        instant(answer.at),
        grouped(answer.flows_seen),
        grouped(matching.flows),
        grouped(matching.packets),
        grouped(matching.octets),
        rate(matching.bits_per_second)
    )];
    if answer.left_out.flows > 0 {
        lines.push(format!(
            "too many different ones: {} flows with {} octets are in none of the sums",
            grouped(answer.left_out.flows),
            grouped(answer.left_out.octets)
        ));
    }
    let table = if query.aggregate.is_empty() { single(&answer.rows, answer.at) } else { sums(answer) };
    lines.extend(table.lines());
    lines
}

/// Rows that are one flow each.
pub fn single(rows: &[FlowRow], now: UnixMillis) -> Table {
    let mut table = Table::new(
        4,
        [
            "Source",
            "Destination",
            "Protocol",
            "Flags",
            "Interface",
            "Packets",
            "Octets",
            "Rate",
            "Seconds",
            "Last",
        ],
    );
    for row in rows {
        table.push(
            [
                vec![end(row, "source"), end(row, "destination"), protocol_of(row), flags(row)],
                vec![format!("{}{}", number(row, "ingressInterface"), direction(row))],
                vec![grouped(row.packets), grouped(row.octets), rate(row.bits_per_second)],
                vec![seconds(row.start, row.end), format!("-{}", seconds(row.end, now))],
            ]
            .concat(),
        );
    }
    table
}

fn sums(answer: &Gathered) -> Table {
    let names = answer.rows.first().map(|row| row.key.0.iter().map(|(name, _)| name.to_string()));
    let mut heading: Vec<String> = names.into_iter().flatten().collect();
    let words = heading.len();
    heading.extend(["Flows", "Packets", "Octets", "Share", "Rate"].map(str::to_owned));
    let mut table = Table::with_heading(words, heading);
    for row in &answer.rows {
        let mut cells: Vec<String> = row.key.0.iter().map(|(name, value)| cell(name, *value)).collect();
        cells.extend([
            grouped(row.flows),
            grouped(row.packets),
            grouped(row.octets),
            percent(row.octets, answer.matching.octets),
            rate(row.bits_per_second),
        ]);
        table.push(cells);
    }
    table
}

/// A value as it is shown.
pub fn cell(name: &str, value: Cell) -> String {
    match value {
        Cell::Absent => "-".to_owned(),
        Cell::Address(address) => address.to_string(),
        Cell::Number(number) => match u8::try_from(number) {
            Ok(number) if name == "protocolIdentifier" => protocol(number),
            _ => number.to_string(),
        },
    }
}

/// Bits a second in a few letters.
pub fn rate(bits: u64) -> String {
    let (mut value, mut units) = (bits as f64, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"].into_iter());
    let mut unit = units.next().unwrap_or_default();
    while value >= 1000.0
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "bit/s" { format!("{bits} {unit}") } else { format!("{value:.1} {unit}") }
}

/// Address and port of one end: `source` or `destination`.
pub fn end(row: &FlowRow, which: &str) -> String {
    let address = match row.key.of(&format!("{which}Address")) {
        Some(Cell::Address(address)) => address,
        _ => return "-".to_owned(),
    };
    let port = format!("{which}TransportPort");
    match (row.key.of(&port), row.key.of("protocolIdentifier")) {
        // Type and code of ICMP stand where ports do.
        (Some(Cell::Number(number)), Some(Cell::Number(1 | 58))) if which == "destination" => {
            format!("{address} type {} code {}", number >> 8, number & 0xff)
        }
        (Some(Cell::Number(port)), _) if port > 0 && address.is_ipv6() => format!("[{address}]:{port}"),
        (Some(Cell::Number(port)), _) if port > 0 => format!("{address}:{port}"),
        _ => address.to_string(),
    }
}

/// The protocol of a flow.
pub fn protocol_of(row: &FlowRow) -> String {
    row.key.of("protocolIdentifier").map_or_else(String::new, |value| cell("protocolIdentifier", value))
}

fn number(row: &FlowRow, name: &str) -> u64 {
    match row.key.of(name) {
        Some(Cell::Number(number)) => number,
        _ => 0,
    }
}

fn direction(row: &FlowRow) -> &'static str {
    if number(row, "flowDirection") == 1 { " out" } else { " in" }
}

fn flags(row: &FlowRow) -> String {
    let bits = number(row, "tcpControlBits");
    let there = FLAGS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    there.map(|(_, letter)| char::from(*letter)).collect()
}

fn seconds(from: UnixMillis, to: UnixMillis) -> String {
    format!("{:.1}", to.0.saturating_sub(from.0) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::ledger::ByReason;

    fn row(source: &str, port: u64, protocol: u64) -> FlowRow {
        let address = |text: &str| Cell::Address(text.parse().unwrap());
        FlowRow {
            key: ByReason::new([
                ("sourceAddress", address(source)),
                ("destinationAddress", address("192.0.2.7")),
                ("sourceTransportPort", Cell::Number(port)),
                ("destinationTransportPort", Cell::Number(0x0800)),
                ("protocolIdentifier", Cell::Number(protocol)),
                ("tcpControlBits", Cell::Number(0x12)),
            ]),
            flows: 1,
            packets: 2,
            octets: 3000,
            bits_per_second: 2_500_000,
            start: UnixMillis(0),
            end: UnixMillis(1500),
        }
    }

    #[test]
    fn ends_rates_and_flags_are_shown_as_people_write_them() {
        assert_eq!(end(&row("10.0.0.1", 80, 6), "source"), "10.0.0.1:80");
        assert_eq!(end(&row("2001:db8::1", 80, 6), "source"), "[2001:db8::1]:80");
        assert_eq!(end(&row("10.0.0.1", 0, 1), "destination"), "192.0.2.7 type 8 code 0");
        assert_eq!((rate(999), rate(2_500_000)), ("999 bit/s".to_owned(), "2.5 Mbit/s".to_owned()));
        let lines = single(&[row("10.0.0.1", 80, 6)], UnixMillis(4000)).lines();
        assert!(
            lines[1].contains("TCP") && lines[1].contains("SA") && lines[1].ends_with("1.5  -2.5"),
            "{lines:?}"
        );
    }
}
