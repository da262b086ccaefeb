//! The table that updates in place: totals, and the flows with most octets of the last minute.
//!
//! Pure: takes flows and the terminal's size, gives the text of a frame.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::collector::CollectorCounters;
use super::flow::DecodedFlow;
use super::line;
use crate::time::MonotonicNanos;

/// How long a flow stays after its last record.
const WINDOW: Duration = Duration::from_secs(60);
/// Flows kept at once; further ones are in the totals only, until the window has moved on.
const MAX_FLOWS: usize = 100_000;

/// Flows of the last minute, added up over their records.
#[derive(Debug, Default)]
pub(super) struct Screen {
    flows: HashMap<Key, Row>,
}

/// What was received, for the head of the table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) counters: CollectorCounters,
    /// Transport Sessions.
    pub(super) sessions: usize,
    /// Datagrams the kernel dropped for want of buffer.
    pub(super) dropped: u64,
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct Key {
    addresses: (Option<IpAddr>, Option<IpAddr>),
    ports: (Option<u64>, Option<u64>),
    protocol: Option<u64>,
    vlan: Option<u64>,
    class_of_service: Option<u64>,
    /// Interface and direction: a forwarded packet is in two flows.
    place: (Option<u64>, Option<u64>),
}

#[derive(Debug)]
struct Row {
    endpoints: String,
    flags: u64,
    packets: u64,
    octets: u64,
    end_reason: Option<u64>,
    heard: MonotonicNanos,
}

impl Screen {
    /// Adds a flow's record.
    pub(super) fn add(&mut self, flow: &DecodedFlow, now: MonotonicNanos) {
        let number = |id| flow.value(id).and_then(|value| value.as_unsigned());
        let key = Key {
            addresses: (flow.source(), flow.destination()),
            ports: (flow.source_port(), flow.destination_port()),
            protocol: flow.protocol(),
            vlan: flow.vlan(),
            class_of_service: flow.class_of_service(),
            place: (number(10), number(61)),
        };
        if self.flows.len() >= MAX_FLOWS && !self.flows.contains_key(&key) {
            return;
        }
        let row = self.flows.entry(key).or_insert_with(|| Row {
            endpoints: line::endpoints(flow),
            flags: 0,
            packets: 0,
            octets: 0,
            end_reason: None,
            heard: now,
        });
        row.flags |= flow.tcp_control_bits().unwrap_or(0);
        row.packets = row.packets.saturating_add(flow.packets().unwrap_or(0));
        row.octets = row.octets.saturating_add(flow.octets().unwrap_or(0));
        row.end_reason = flow.end_reason();
        row.heard = now;
    }

    /// The text that draws the table over the one before, in a terminal of this size.
    pub(super) fn frame(&mut self, totals: &Totals, columns: u16, rows: u16, now: MonotonicNanos) -> String {
        self.flows.retain(|_, row| now.since(row.heard) < WINDOW);
        let mut lines = head(totals, self.flows.len());
        let room = usize::from(rows).saturating_sub(lines.len() + 1);
        let mut flows: Vec<_> = self.flows.iter().collect();
        let most = |(key, row): &(&Key, &Row)| (u64::MAX - row.octets, key.addresses, key.ports);
        if room > 0 && flows.len() > room {
            flows.select_nth_unstable_by_key(room - 1, most);
        }
        flows.truncate(room);
        flows.sort_by_key(most);
        let width = flows.iter().map(|(_, row)| row.endpoints.len()).max().unwrap_or(0).max(34);
        let titles =
            ["OCTETS", "PACKETS", "PROTO", "FLAGS", "SOURCE -> DESTINATION", "VLAN", "TOS", "END", "AGO"];
        lines.push(row_text(width, titles));
        for (key, row) in flows {
            let cells = [
                &human(row.octets),
                &row.packets.to_string(),
                &*key.protocol.map_or("-".into(), line::protocol),
                &*line::flags(key.protocol, Some(row.flags)),
                &row.endpoints,
                &key.vlan.map_or_else(|| "-".to_owned(), |vlan| vlan.to_string()),
                &*line::class_of_service(key.class_of_service),
                &*row.end_reason.map_or("-".into(), line::end_reason),
                &format!("{}s", now.since(row.heard).as_secs()),
            ];
            lines.push(row_text(width, cells));
        }
        if self.flows.is_empty() {
            lines.push("no flow yet: a flow is exported when it ends".to_owned());
        }
        draw(&lines, usize::from(columns), usize::from(rows))
    }
}

fn head(totals: &Totals, shown: usize) -> Vec<String> {
    let counters = &totals.counters;
    vec![
        format!(
            "{} records, {} packets, {} in {} datagrams; sessions: {}; flows of the last minute: {shown}",
            counters.records,
            counters.packets,
            human(counters.octets),
            counters.datagrams,
            totals.sessions
        ),
        losses(totals),
        String::new(),
    ]
}

/// What did not arrive or could not be read; what is zero is left out.
pub(super) fn losses(totals: &Totals) -> String {
    let counters = &totals.counters;
    let all = [
        (counters.missing_records, "records missing (IPFIX)"),
        (counters.missing_datagrams, "datagrams missing (v9)"),
        (totals.dropped, "datagrams dropped by the kernel"),
        (counters.malformed, "datagrams malformed"),
        (counters.unknown_template, "sets without template"),
        (counters.unsupported_version, "datagrams of other versions"),
    ];
    let some: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if some.is_empty() { "nothing lost".to_owned() } else { some.join(", ") }
}

/// The columns one can do without come last: a narrow terminal cuts them off.
fn row_text(width: usize, row: [&str; 9]) -> String {
    let [octets, packets, proto, flags, endpoints, vlan, tos, end, ago] = row;
    format!(
        "{octets:>10} {packets:>9} {proto:<6} {flags:<8} {endpoints:<width$} {vlan:>4} {tos:>4} {end:<9} {ago:>4}"
    )
}

/// Home, each line cut to the width and cleared to its end, the rest of the screen cleared: nothing
/// flickers and nothing scrolls.
fn draw(lines: &[String], columns: usize, rows: usize) -> String {
    let mut text = String::from("\x1b[H");
    for line in lines.iter().take(rows.saturating_sub(1)) {
        text.extend(line.chars().take(columns));
        text.push_str("\x1b[K\r\n");
    }
    text.push_str("\x1b[J");
    text
}

/// Octets in the unit that leaves one to four digits.
pub(super) fn human(octets: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut text = String::new();
    let mut unit = 0u32;
    while unit < 6 && octets >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    // Writing into a String does not fail.
    let _ = match UNITS.get(unit.wrapping_sub(1) as usize) {
        None => write!(text, "{octets} B"),
        Some(name) => {
            let tenths = (u128::from(octets) * 10) >> (10 * unit);
            write!(text, "{}.{} {name}", tenths / 10, tenths % 10)
        }
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_read_easily() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_258_291, "1.1 MiB"),
            (1_258_292, "1.2 MiB"),
            (9_000_000_000, "8.3 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (octets, text) in cases {
            assert_eq!(human(octets), text);
        }
    }

    #[test]
    fn a_frame_never_exceeds_the_terminal() {
        for (columns, rows) in [(0, 0), (1, 1), (20, 5), (80, 24), (500, 200)] {
            let frame = Screen::default().frame(&Totals::default(), columns, rows, MonotonicNanos(0));
            assert!(frame.matches('\n').count() < usize::from(rows).max(1), "{rows} rows: {frame:?}");
            let longest = frame
                .split("\x1b[K\r\n")
                .map(|line| line.trim_start_matches("\x1b[H").trim_end_matches("\x1b[J").chars().count())
                .max();
            assert!(longest <= Some(usize::from(columns)), "{columns} columns: {frame:?}");
        }
    }
}
