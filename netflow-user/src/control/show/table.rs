//! Columns, numbers and times.

use std::time::{Duration, UNIX_EPOCH};

use crate::time::UnixMillis;

/// Rows whose columns stand below one another.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Columns from the left whose words begin at the left; the others are numbers.
    left: usize,
}

impl Table {
    /// A table with a heading, of which so many columns are words.
    pub fn new<const N: usize>(left: usize, heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_owned).to_vec()], left }
    }

    /// The same with a heading of any number.
    pub fn with_heading(left: usize, heading: Vec<String>) -> Self {
        Self { rows: vec![heading], left }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Its lines.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < self.left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// A number with a comma between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A quotient with one digit behind the point; a dash where there is nothing to divide by.
pub fn quotient(dividend: f64, divisor: f64) -> String {
    if divisor > 0.0 { format!("{:.1}", dividend / divisor) } else { "-".to_owned() }
}

/// A part of a whole in per cent.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1}%", part as f64 * 100.0 / whole as f64) }
}

/// An instant, to the second, UTC.
pub fn instant(at: UnixMillis) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(at.0);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The time between two instants, to the second.
pub fn between(from: UnixMillis, to: UnixMillis) -> String {
    let seconds = to.0.saturating_sub(from.0) / 1000;
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// The name of a protocol, or its number.
pub fn protocol(number: u8) -> String {
    let name = match number {
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPv4",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        88 => "EIGRP",
        89 => "OSPF",
        103 => "PIM",
        112 => "VRRP",
        132 => "SCTP",
        136 => "UDPLite",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let mut table = Table::new(1, ["Protocol", "Flows"]);
        table.push(vec!["TCP".to_owned(), grouped(1_234_567)]);
        table.push(vec!["UDP".to_owned(), grouped(7)]);
        assert_eq!(table.lines(), ["Protocol      Flows", "TCP       1,234,567", "UDP               7"]);
    }

    #[test]
    fn nothing_divided_by_nothing_is_a_dash() {
        assert_eq!((quotient(1.0, 0.0), percent(1, 0)), ("-".to_owned(), "-".to_owned()));
        assert_eq!((quotient(3.0, 2.0), percent(1, 3)), ("1.5".to_owned(), "33.3%".to_owned()));
    }
}
