//! The table that updates in place: totals, and the flows with most octets of the last minute.
//!
//! Pure: takes flows and the terminal's size, gives the text of a frame.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::flow::DecodedFlow;
use super::line;
use super::summary::{Totals, human};
use crate::time::MonotonicNanos;

/// How long a flow stays after its last record.
const WINDOW: Duration = Duration::from_secs(60);
/// Flows kept at once; further ones are in the totals only, until the window has moved on.
const MAX_FLOWS: usize = 100_000;

/// Lines about what could not be decoded.
const SHOWN_UNDECODED: usize = 3;

/// Flows of the last minute, added up over their records.
#[derive(Debug, Default)]
pub(super) struct Screen {
    flows: HashMap<Key, Row>,
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
    let mut lines = vec![
        format!("{}; sessions: {}; flows of the last minute: {shown}", totals.received(), totals.sessions),
        totals.losses(),
    ];
    // What an operator can do something about; all of it comes at the end.
    lines.extend(totals.not_decoded.iter().take(SHOWN_UNDECODED).map(|line| format!("not decoded: {line}")));
    lines.push(String::new());
    lines
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

#[cfg(test)]
mod tests {
    use super::*;

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
