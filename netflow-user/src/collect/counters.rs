//! What was received, and what could not be decoded, in numbers.

use super::flow::DecodedFlow;

/// What was received, and what could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CollectorCounters {
    /// Messages received: each datagram is one.
    pub datagrams: u64,
    /// Flow Records decoded.
    pub records: u64,
    /// Options Data Records decoded.
    pub options_records: u64,
    /// Packets of the decoded flows.
    pub packets: u64,
    /// Octets of the decoded flows.
    pub octets: u64,
    /// Messages of a version other than 5, 9 and 10.
    pub unsupported_version: u64,
    /// Messages with something in them that could not be read; what comes before it is decoded.
    pub malformed: u64,
    /// Data Sets whose Template is not known (yet).
    pub unknown_template: u64,
    /// Jumps of a sequence number.
    pub sequence_gaps: u64,
    /// Data Records missing by sequence numbers of IPFIX (RFC 7011 section 3.1) and v5.
    pub missing_records: u64,
    /// Export Packets missing by NetFlow v9 sequence numbers (RFC 3954 section 5.1).
    pub missing_datagrams: u64,
}

impl CollectorCounters {
    pub(super) fn count(&mut self, flows: &[DecodedFlow], options_records: usize) {
        self.records += flows.len() as u64;
        self.options_records += options_records as u64;
        for flow in flows {
            self.packets = self.packets.saturating_add(flow.packets().unwrap_or(0));
            self.octets = self.octets.saturating_add(flow.octets().unwrap_or(0));
        }
    }
}
