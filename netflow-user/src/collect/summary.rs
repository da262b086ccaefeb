//! What a run of the collector came to: one line, and what it says of losses.

use std::fmt::{self, Write as _};

use super::collector::Collector;
use super::counters::CollectorCounters;
use super::inbox::ConnectionCounters;

/// What was received and what was not.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) counters: CollectorCounters,
    /// Transport Sessions and their domains.
    pub(super) sessions: usize,
    /// Datagrams the kernel dropped for want of buffer.
    pub(super) dropped: u64,
    /// Of TCP, TLS and DTLS.
    pub(super) connections: ConnectionCounters,
    /// Lines about what could not be decoded, the most frequent first.
    pub(super) not_decoded: Vec<String>,
}

/// What a run of the collector came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    totals: Totals,
}

impl Totals {
    pub(super) fn of(collector: &Collector) -> Self {
        Self {
            counters: collector.counters(),
            sessions: collector.sessions(),
            not_decoded: collector.not_decoded(),
            ..Self::default()
        }
    }

    /// What arrived.
    pub(super) fn received(&self) -> String {
        let counters = &self.counters;
        let mut text =
            format!("{} records, {} packets, {}", counters.records, counters.packets, human(counters.octets));
        if counters.options_records > 0 {
            // Writing into a String does not fail.
            let _ = write!(text, " and {} options records", counters.options_records);
        }
        // A datagram is a message; streams have nothing but messages.
        let what = if self.connections.accepted > 0 { "messages" } else { "datagrams" };
        let _ = write!(text, " in {} {what}", counters.datagrams);
        text
    }

    /// What did not arrive or could not be read; what is zero is left out.
    pub(super) fn losses(&self) -> String {
        let counters = &self.counters;
        let connections = &self.connections;
        let all = [
            (counters.missing_records, "records missing (IPFIX)"),
            (counters.missing_datagrams, "datagrams missing (v9)"),
            (self.dropped, "datagrams dropped by the kernel"),
            (counters.malformed, "datagrams malformed"),
            (counters.unknown_template, "sets without template"),
            (counters.unsupported_version, "datagrams of other versions"),
            (connections.handshakes_failed, "handshakes failed"),
            (connections.foreign, "connections that were not IPFIX"),
            (connections.cut, "connections cut within a message"),
            (connections.slow, "connections given up as too slow"),
            (connections.refused, "connections refused, too many at once"),
        ];
        let some: Vec<String> =
            all.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if some.is_empty() { "nothing lost".to_owned() } else { some.join(", ") }
    }
}

impl Summary {
    pub(super) fn of(totals: Totals) -> Self {
        Self { totals }
    }

    /// The counters.
    pub fn counters(&self) -> CollectorCounters {
        self.totals.counters
    }

    /// Datagrams the kernel dropped for want of buffer.
    pub fn dropped(&self) -> u64 {
        self.totals.dropped
    }

    /// What could not be decoded, by exporter, set and reason: a line each, the most frequent first.
    pub fn not_decoded(&self) -> &[String] {
        &self.totals.not_decoded
    }
}

/// One line for the end.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "collected {}; {}", self.totals.received(), self.totals.losses())
    }
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
}
