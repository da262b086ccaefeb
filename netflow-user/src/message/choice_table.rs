//! Fields that records have only where the operator names them.
//!
//! In: nothing. Out: rows. This module refuses to know who asked for them.

use super::{
    InformationElement as E, Protocol,
    data_record::{Context, Value, icmp_type_code},
    field_table::{ICMP_KEY, Row, always, derived},
    template::AddressFamily,
};
use crate::record::FlowRecord;

/// The rows of a protocol and family; v9 has none, since they are beyond its field types.
pub(super) fn choice_rows(protocol: Protocol, family: AddressFamily) -> impl Iterator<Item = &'static Row> {
    let rows: &[Row] = match (protocol, family) {
        (Protocol::Ipfix, AddressFamily::Ipv4) => &IPFIX_IPV4,
        (Protocol::Ipfix, AddressFamily::Ipv6) => &IPFIX_IPV6,
        (Protocol::NetflowV9, _) => &[],
    };
    rows.iter()
}

const START: Row = always(E::FLOW_START_SECONDS, 4, start_seconds);
const END: Row = always(E::FLOW_END_SECONDS, 4, end_seconds);
const DURATION: Row = always(E::FLOW_DURATION_MILLISECONDS, 4, duration);

static IPFIX_IPV4: [Row; 5] = [
    START,
    END,
    DURATION,
    derived(E::ICMP_TYPE_IPV4, ICMP_KEY, 1, icmp_type),
    derived(E::ICMP_CODE_IPV4, ICMP_KEY, 1, icmp_code),
];

static IPFIX_IPV6: [Row; 5] = [
    START,
    END,
    DURATION,
    derived(E::ICMP_TYPE_IPV6, ICMP_KEY, 1, icmp_type),
    derived(E::ICMP_CODE_IPV6, ICMP_KEY, 1, icmp_code),
];

fn start_seconds(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.start.0 / 1000)
}

fn end_seconds(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.end.0 / 1000)
}

/// Ends at what 32 bits hold, 49 days.
fn duration(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.end.0.saturating_sub(record.start.0).min(u32::MAX.into()))
}

fn icmp_type(record: &FlowRecord, context: &Context) -> Value {
    octet_of(icmp_type_code(record, context), 8)
}

fn icmp_code(record: &FlowRecord, context: &Context) -> Value {
    octet_of(icmp_type_code(record, context), 0)
}

fn octet_of(value: Value, shift: u32) -> Value {
    match value {
        Value::Unsigned(value) => Value::Unsigned(value >> shift & 0xff),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use netflow_common::{FlowCounters, FlowKey, NetworkU16};

    use super::*;
    use crate::{
        message::{data_record::PrefixLengths, sys_up_time::SysUpTime},
        record::FlowEndReason,
        time::{Instant, MonotonicNanos},
    };

    #[test]
    fn values_of_choice_follow_from_times_and_ports() {
        // TYPE-TIME-1
        let clock =
            Instant { monotonic: MonotonicNanos(10_000_000_000), unix_nanos: 1_767_225_600_500_000_000 };
        let key = FlowKey {
            ip_version: 4,
            protocol: 1,
            destination_port: NetworkU16::new(0x0304),
            ..FlowKey::default()
        };
        let counters = FlowCounters { first: 8_000_000_000, last: 9_400_000_000, ..FlowCounters::default() };
        let record = FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &clock);
        let up_time = SysUpTime::at_next_second(clock, MonotonicNanos(0));
        let context = Context { up_time, prefix_lengths: PrefixLengths::default() };
        let values: Vec<Value> = IPFIX_IPV4.iter().map(|row| (row.value)(&record, &context)).collect();
        assert_eq!(values, [1_767_225_598, 1_767_225_599, 1400, 3, 4].map(Value::Unsigned));
    }
}
