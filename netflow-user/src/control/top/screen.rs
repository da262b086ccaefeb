//! A frame, drawn of a state, in a window of any size.

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::state::{SORTS, State, View};
use crate::control::{
    FlowRow, InterfaceLine,
    show::{
        flows::{cell, end, protocol_of, rate},
        ledger,
        table::{Table, between, grouped, instant, percent},
    },
};

/// The keys, as many of them as the last line has room for.
const KEYS: &str = "q quit  1-7 or Tab view  s sort  / filter  p pause  h help";

const HELP: [&str; 14] = [
    "1 talkers       addresses by what they send",
    "2 destinations  addresses by what is sent to them",
    "3 flows         single flows of the cache",
    "4 ports         by protocol and destination port",
    "5 protocols",
    "6 interfaces",
    "7 ledger        the sums of the books, collectors",
    "Tab, arrows     the next one, the one before; up and down scroll",
    "s               sort by rate, octets, packets, flows",
    "/               filter: protocolIdentifier=tcp,host=10.0.0.0/8",
    "                Enter applies it, an empty one takes it away, Esc leaves it",
    "p, space        pause",
    "q, Esc, Ctrl-C  quit",
    "                any key closes this",
];

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if width == 0 || height == 0 {
        return;
    }
    let mut head = head(state);
    // The table is what counts where there is little room.
    head.truncate(match height {
        0..4 => 1,
        4..7 => 2,
        _ => 3,
    });
    let has_foot = height > 4 || state.typing.is_some() || state.trouble.is_some();
    let rows = height.saturating_sub(head.len() + usize::from(has_foot));
    let mut lines = head;
    lines.extend(body(state, width, rows));
    lines.truncate(height - usize::from(has_foot && height > 1));
    lines.resize(height - usize::from(has_foot && height > 1), Line::default());
    if has_foot && height > 1 {
        lines.push(foot(state));
    }
    for (row, line) in (area.y..).zip(lines) {
        frame.render_widget(line, Rect { x: area.x, y: row, width: area.width, height: 1 });
    }
    if let Some(typed) = &state.typing {
        let column = u16::try_from("filter: ".len() + typed.chars().count()).unwrap_or(u16::MAX);
        frame.set_cursor_position((column.min(area.width - 1), area.height - 1));
    }
}

impl State {
    fn style(&self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::new().add_modifier(modifier);
        if self.has_colour { style.fg(colour) } else { style }
    }
}

fn head(state: &State) -> Vec<Line<'static>> {
    let title = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let Some(picture) = &state.picture else {
        return vec![Line::styled("netflow top: asking the agent".to_owned(), title)];
    };
    let summary = &picture.summary;
    let sorted = if state.view.has_flows() { format!(" by {}", SORTS[state.sort]) } else { String::new() };
    let has_filter = state.view.has_flows() && !state.filter.is_empty();
    let filter = if has_filter { format!("  where {}", state.filter) } else { String::new() };
    let paused = if state.is_paused { "  PAUSED" } else { "" };
    let first = format!(
        "netflow top  {}{sorted}{filter}{paused}  {}  up {}",
        state.view.name(),
        instant(summary.at),
        between(summary.started, summary.at)
    );
    let rates = &state.rates;
    let lost = if rates.lost > 0.0 { state.style(Color::Yellow, Modifier::BOLD) } else { Style::new() };
    let second = Line::from(vec![
        Span::raw(format!(
            "{} packets/s  {}  {} flows  {:.0} records/s  ",
            grouped(rates.packets.round() as u64),
            rate((rates.octets * 8.0) as u64),
            grouped(summary.flows_in_cache),
            rates.records
        )),
        Span::styled(format!("{} lost", grouped(summary.lost.packets)), lost),
    ]);
    let books = &picture.ledger.books;
    let ledger = if books.balanced {
        Span::styled("ledger balanced", state.style(Color::Green, Modifier::empty()))
    } else {
        Span::styled("LEDGER NOT BALANCED", state.style(Color::Red, Modifier::BOLD))
    };
    let collectors = &picture.export.collectors;
    let well = collectors.iter().filter(|collector| collector.is_good).count();
    let all_well =
        if well == collectors.len() { Style::new() } else { state.style(Color::Red, Modifier::BOLD) };
    let queued: u64 = collectors.iter().map(|collector| collector.books.queued.records).sum();
    let third = Line::from(vec![
        ledger,
        Span::raw(format!(", {} flips  ", grouped(books.flips))),
        Span::styled(format!("{well} of {} collectors well", collectors.len()), all_well),
        Span::raw(format!(", {} records queued", grouped(queued))),
    ]);
    vec![Line::styled(first, title), second, third]
}

fn foot(state: &State) -> Line<'static> {
    if let Some(typed) = &state.typing {
        return Line::raw(format!("filter: {typed}"));
    }
    match &state.trouble {
        Some(trouble) => Line::styled(trouble.clone(), state.style(Color::Red, Modifier::BOLD)),
        None => Line::styled(KEYS, Style::new().add_modifier(Modifier::REVERSED)),
    }
}

fn body(state: &State, width: usize, rows: usize) -> Vec<Line<'static>> {
    if state.shows_help {
        return HELP.into_iter().map(Line::raw).collect();
    }
    let Some(picture) = &state.picture else { return Vec::new() };
    if state.view == View::Ledger {
        let lines = ledger(&picture.ledger);
        let offset = state.offset.min(lines.len().saturating_sub(rows));
        return lines.into_iter().skip(offset).map(Line::raw).collect();
    }
    let (words, heading, all): (usize, Vec<&str>, Vec<Vec<String>>) = match state.view {
        View::Interfaces => {
            let lines = picture.interfaces.interfaces.iter().map(|line| interface(state, line));
            (1, vec!["Interface", "In", "Out", "Packets/s in", "Packets/s out", "By"], lines.collect())
        }
        _ => {
            let Some(flows) = &picture.flows else { return Vec::new() };
            let total = flows.matching.octets;
            let heading = match state.view {
                View::Flows => vec!["Source", "Destination", "Protocol", "Rate", "Octets", "Packets"],
                View::Ports => vec!["Protocol", "Port", "Rate", "Octets", "Packets", "Flows", "Share"],
                View::Protocols => vec!["Protocol", "Rate", "Octets", "Packets", "Flows", "Share"],
                _ => vec!["Address", "Rate", "Octets", "Packets", "Flows", "Share"],
            };
            let words = if state.view == View::Flows { 3 } else { 1 };
            (words, heading, flows.rows.iter().map(|row| flow(state.view, row, total)).collect())
        }
    };
    let offset = state.offset.min(all.len().saturating_sub(1));
    let window: Vec<&Vec<String>> = all.iter().skip(offset).take(rows.saturating_sub(1)).collect();
    // The last columns go where there is no room for them.
    for columns in (1..=heading.len()).rev() {
        let head = heading[..columns].iter().map(|&word| word.to_owned()).collect();
        let mut table = Table::with_heading(words, head);
        window.iter().for_each(|row| table.push(row[..columns.min(row.len())].to_vec()));
        let lines = table.lines();
        if columns == 1 || lines.iter().all(|line| line.chars().count() <= width) {
            let bold = Style::new().add_modifier(Modifier::BOLD);
            let styled = |(place, line)| if place == 0 { Line::styled(line, bold) } else { Line::raw(line) };
            return lines.into_iter().enumerate().map(styled).collect();
        }
    }
    Vec::new()
}

fn flow(view: View, row: &FlowRow, total: u64) -> Vec<String> {
    let mut cells = match view {
        View::Flows => vec![end(row, "source"), end(row, "destination"), protocol_of(row)],
        _ => row.key.0.iter().map(|(name, value)| cell(name, *value)).collect(),
    };
    cells.extend([rate(row.bits_per_second), grouped(row.octets), grouped(row.packets)]);
    if view != View::Flows {
        cells.extend([grouped(row.flows), percent(row.octets, total)]);
    }
    cells
}

fn interface(state: &State, line: &InterfaceLine) -> Vec<String> {
    let [received, sent] = state.rates.interfaces.get(&line.index).copied().unwrap_or_default();
    let name = if line.name.is_empty() { format!("({})", line.index) } else { line.name.clone() };
    let by = [&line.ingress, &line.egress].into_iter().flatten().cloned().collect::<Vec<_>>();
    let packets = |[packets, _]: [f64; 2]| grouped(packets.round() as u64);
    let bits = |[_, octets]: [f64; 2]| rate((octets * 8.0) as u64);
    vec![name, bits(received), bits(sent), packets(received), packets(sent), by.join(", ")]
}

#[cfg(test)]
mod tests;
