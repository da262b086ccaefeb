//! What the metering and exporting processes say of themselves (RFC 7011 sections 4.1 to 4.3, RFC 5476
//! section 6.5.3).
//!
//! In: totals since the process started. Out: options records, made anew for each message that has them: the message
//! that carries them is not in them (STAT-CNT-1). This module refuses to know who counted.

use crate::{
    message::{Protocol, TemplateSet},
    time::UnixMillis,
};

use super::{
    record::{OptionsRecord, SELECTOR_ID, Scope, Value},
    table,
};

/// The one metering process of the domain.
const METERING_PROCESS_ID: u64 = 1;
/// The one selection sequence of the domain: all its interfaces, then its selector.
const SELECTION_SEQUENCE_ID: u64 = 1;

/// The timeouts that are told with statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reported {
    /// flowActiveTimeout, in seconds.
    pub active_timeout: u16,
    /// flowIdleTimeout, in seconds.
    pub idle_timeout: u16,
}

/// Totals since the process started, and never reset (STAT-CNT-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Messages sent to this collector: exportedMessageTotalCount.
    pub messages: u64,
    /// Flow records in them: exportedFlowRecordTotalCount.
    pub flow_records: u64,
    /// Their octets: exportedOctetTotalCount.
    pub octets: u64,
    /// Flows that were begun: observedFlowTotalCount.
    pub observed_flows: u64,
    /// Packets seen and not metered: ignoredPacketTotalCount.
    pub ignored_packets: u64,
    /// Their octets: ignoredOctetTotalCount.
    pub ignored_octets: u64,
    /// When the first and the last were noticed; zero if none were.
    pub ignored_at: [UnixMillis; 2],
    /// Packets that came to the selector, where packets are sampled: selectorIdTotalPktsObserved. It and the next are of
    /// one instant.
    pub selector_observed: u64,
    /// Packets that it selected: selectorIdTotalPktsSelected.
    pub selector_selected: u64,
    /// Number of this destination: exportingProcessId.
    pub exporting_process: u32,
    /// Flow records made and not sent: notSentFlowTotalCount.
    pub not_sent_records: u64,
    /// Packets in them: notSentPacketTotalCount.
    pub not_sent_packets: u64,
    /// Octets in them: notSentOctetTotalCount.
    pub not_sent_octets: u64,
    /// When the first and the last were noticed; zero if none were.
    pub not_sent_at: [UnixMillis; 2],
}

/// The records of a session that has statistics, in the order of sending; `start` is where sysUpTime is zero.
pub(in crate::message) fn statistics_records(
    templates: &TemplateSet,
    statistics: &Statistics,
    start: UnixMillis,
    scope: Scope,
) -> Vec<OptionsRecord> {
    let kinds = templates.options_kinds();
    let Some(Reported { active_timeout, idle_timeout }) = kinds.statistics else {
        return Vec::new();
    };
    let unsigned = |values: &[u64]| values.iter().map(|&value| Value::Unsigned(value)).collect::<Vec<_>>();
    let (active, idle) = (active_timeout.into(), idle_timeout.into());
    let Statistics { messages, flow_records, octets, .. } = *statistics;
    if templates.protocol() == Protocol::NetflowV9 {
        let exporter = u32::from_be_bytes(scope.exporter_address).into();
        // Two of them have 32 bits there, and stay at what these hold.
        let least = |total: u64| total.min(u32::MAX.into());
        let values = unsigned(&[exporter, least(messages), least(flow_records), octets, active, idle]);
        return vec![OptionsRecord::new(&table::V9_TOTALS, &values)];
    }
    let domain = scope.observation_domain_id.into();
    let [first, last] = statistics.ignored_at;
    let metering = unsigned(&[
        domain,
        METERING_PROCESS_ID,
        messages,
        flow_records,
        octets,
        statistics.observed_flows,
        active,
        idle,
    ]);
    let Statistics { ignored_packets, ignored_octets, .. } = *statistics;
    let reliability =
        unsigned(&[domain, METERING_PROCESS_ID, ignored_packets, ignored_octets, first.0, last.0]);
    let [first, last] = statistics.not_sent_at;
    let exporting = unsigned(&[
        statistics.exporting_process.into(),
        statistics.not_sent_records,
        statistics.not_sent_packets,
        statistics.not_sent_octets,
        first.0,
        last.0,
    ]);
    let mut records = vec![
        OptionsRecord::new(&table::METERING, &metering),
        OptionsRecord::new(&table::METERING_RELIABILITY, &reliability),
        OptionsRecord::new(&table::EXPORTING_RELIABILITY, &exporting),
        OptionsRecord::new(&table::SYSTEM_START, &unsigned(&[domain, start.0])),
    ];
    if kinds.tells_selection() {
        let Statistics { selector_observed, selector_selected, .. } = *statistics;
        let sequence = unsigned(&[SELECTION_SEQUENCE_ID, domain, SELECTOR_ID]);
        let selection = unsigned(&[SELECTION_SEQUENCE_ID, selector_observed, selector_selected]);
        records.push(OptionsRecord::new(&table::SELECTION_SEQUENCE, &sequence));
        records.push(OptionsRecord::new(&table::SELECTION_STATISTICS, &selection));
    }
    records
}
