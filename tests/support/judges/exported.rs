//! What tshark reads in the messages of an exporter: headers, template ids and every data record.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::calendar;

/// One message: an Export Packet of v9, a Message of IPFIX.
#[derive(Clone, Debug)]
pub struct ExportedMessage {
    /// When it was captured, in milliseconds since 1970.
    pub captured_unix_millis: u64,
    /// The collector's port.
    pub port: u16,
    /// 9 or 10.
    pub version: u16,
    /// Source ID or Observation Domain ID.
    pub domain: u32,
    /// Sequence number.
    pub sequence: u32,
    /// UNIX Secs or Export Time.
    pub export_seconds: u64,
    /// sysUpTime in milliseconds; v9 has one.
    pub sys_up_time: Option<u64>,
    /// Ids of the templates in it.
    pub templates: Vec<u16>,
    /// Its data records.
    pub records: Vec<ExportedRecord>,
    /// How many records of options data it has, which are not read.
    pub options: usize,
    /// Its options data records about anonymisation.
    pub anonymised: Vec<AnonymisedElement>,
}

/// What an options data record says of one element in one Template (RFC 6235 section 6.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AnonymisedElement {
    /// templateId.
    pub template: u16,
    /// informationElementId.
    pub element: u16,
    /// anonymizationFlags.
    pub flags: u16,
    /// anonymizationTechnique.
    pub technique: u16,
}

/// One data record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExportedRecord {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// protocolIdentifier.
    pub protocol: u8,
    /// sourceTransportPort.
    pub source_port: u16,
    /// destinationTransportPort.
    pub destination_port: u16,
    /// ICMP type * 256 + code.
    pub icmp_type_code: u16,
    /// vlanId.
    pub vlan: u16,
    /// packetDeltaCount.
    pub packets: u64,
    /// octetDeltaCount.
    pub octets: u64,
    /// tcpControlBits: 16 in IPFIX, 8 in v9.
    pub tcp_control_bits: u16,
    /// minimumTTL.
    pub minimum_ttl: u8,
    /// maximumTTL.
    pub maximum_ttl: u8,
    /// The flow's first packet in milliseconds since 1970: stated in IPFIX; in v9 from the header's two times.
    pub start_unix_millis: u64,
    /// Its last packet.
    pub end_unix_millis: u64,
    /// flowEndReason; IPFIX has it.
    pub end_reason: Option<u8>,
}

impl ExportedMessage {
    /// Milliseconds since 1970 of a sysUpTime, by the header's two times; v9 has them. sysUpTime wraps every 49.7 days:
    /// the latest such instant that is not after the header's.
    pub fn unix_millis_of(&self, up: u64) -> Option<u64> {
        let ago = (self.sys_up_time? as u32).wrapping_sub(up as u32);
        (self.export_seconds * 1000).checked_sub(ago.into())
    }
}

/// What is wrong with the sequence numbers of a session's messages. v9 counts messages (RFC 3954 section 5.1), IPFIX
/// the data records before this message (RFC 7011 section 3.1). Templates come first.
pub fn sequence_errors<'a>(messages: impl IntoIterator<Item = &'a ExportedMessage>) -> Vec<String> {
    let mut errors = Vec::new();
    let mut next = 0;
    for (number, message) in messages.into_iter().enumerate() {
        if message.sequence != next {
            errors.push(format!("message {number} has sequence number {}, not {next}", message.sequence));
        }
        if number == 0 && message.templates.is_empty() {
            errors.push("the first message has no templates".to_owned());
        }
        next = match message.version {
            9 => message.sequence.wrapping_add(1),
            _ => message.sequence.wrapping_add((message.records.len() + message.options) as u32),
        };
    }
    errors
}

/// Reads tshark's JSON of packets. What is left out by a reader that trusts the lengths in a message is an error.
pub(super) fn messages(text: &str) -> Result<Vec<ExportedMessage>> {
    let packets: Vec<Value> = serde_json::from_str(text).context("tshark's JSON")?;
    packets
        .iter()
        .map(|packet| {
            let layers = &packet["_source"]["layers"];
            message(layers).with_context(|| format!("packet {}", layers["frame"]["frame.number"]))
        })
        .collect()
}

fn message(layers: &Value) -> Result<ExportedMessage> {
    let cflow = layers["cflow"].as_object().context("tshark sees no message")?;
    let times = &cflow["cflow.timestamp_tree"];
    let version = number(cflow, "cflow.version")?;
    let (seconds, domain, header) = match version {
        9 => ("cflow.unix_secs", "cflow.source_id", 20),
        10 => ("cflow.exporttime", "cflow.od_id", 16),
        version => bail!("version {version}"),
    };
    let sys_up_time = match cflow.get("cflow.sysuptime") {
        Some(time) => Some(milliseconds(time)?),
        None => None,
    };
    let mut message = ExportedMessage {
        captured_unix_millis: milliseconds(&layers["frame"]["frame.time_epoch"])?,
        port: layers.get("udp").map_or(Ok(0), |udp| number(object(udp)?, "udp.dstport"))? as u16,
        version: version as u16,
        domain: number(cflow, domain)? as u32,
        sequence: number(cflow, "cflow.sequence")? as u32,
        export_seconds: number(object(times)?, seconds)?,
        sys_up_time,
        templates: Vec::new(),
        records: Vec::new(),
        options: 0,
        anonymised: Vec::new(),
    };
    let mut length = header;
    // "FlowSet 2 [id=256] (12 flows)" in v9, "Set 2 [id=256] (12 flows)" in IPFIX.
    let is_set = |name: &str| name.starts_with("FlowSet ") || name.starts_with("Set ");
    for (name, set) in cflow.iter().filter(|(name, _)| is_set(name)) {
        let set = object(set)?;
        length += number(set, "cflow.flowset_length")?;
        let before = message.records.len() + message.options;
        for (name, item) in set {
            if name.starts_with("Template ") {
                message.templates.push(number(object(item)?, "cflow.template_id")? as u16);
            } else if name.starts_with("Flow ") && item.get("cflow.anonymization_technique").is_some() {
                message.anonymised.push(anonymised(object(item)?)?);
                message.options += 1;
            } else if name.starts_with("Flow ") {
                let item = object(item)?;
                // Options data have no times.
                if !item.contains_key("cflow.timedelta_tree") {
                    message.options += 1;
                    continue;
                }
                let record = record(item, &message);
                message.records.push(record.with_context(|| name.clone())?);
            }
        }
        if let Some(flows) = name.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(" flows)")) {
            let records = message.records.len() + message.options - before;
            ensure!(records == flows.parse::<usize>()?, "{name}: other flows");
        }
    }
    // In an IPFIX File a frame is a message.
    let datagram = match layers.get("udp") {
        Some(udp) => number(object(udp)?, "udp.length")? - 8,
        None => number(object(&layers["frame"])?, "frame.len")?,
    };
    ensure!(length == datagram, "header and sets have {length} octets, the datagram {datagram}");
    match version {
        9 => {
            let (count, items) = (
                number(cflow, "cflow.count")?,
                message.templates.len() + message.records.len() + message.options,
            );
            ensure!(count == items as u64, "Count is {count} of {items} records");
        }
        _ => ensure!(number(cflow, "cflow.len")? == datagram, "Length is not the datagram's"),
    }
    Ok(message)
}

fn anonymised(fields: &Map<String, Value>) -> Result<AnonymisedElement> {
    // Two octets, as "00:03".
    let flags = fields.get("cflow.anonymization_flags").and_then(Value::as_str).context("no flags")?;
    Ok(AnonymisedElement {
        template: number(fields, "cflow.template_id")? as u16,
        element: number(fields, "cflow.information_element_id")? as u16,
        flags: u16::from_str_radix(&flags.replace(':', ""), 16)?,
        technique: number(fields, "cflow.anonymization_technique")? as u16,
    })
}

fn record(fields: &Map<String, Value>, message: &ExportedMessage) -> Result<ExportedRecord> {
    let address = |v4: &str, v6: &str| -> Result<IpAddr> {
        let text = fields.get(v4).or_else(|| fields.get(v6)).and_then(Value::as_str);
        text.with_context(|| format!("no {v4}"))?.parse().context("an address")
    };
    let times = object(&fields["cflow.timedelta_tree"])?;
    let time = |relative: &str, absolute: &str| {
        let text = |name| times.get(name).with_context(|| format!("no {name}"));
        match message.sys_up_time {
            Some(_) => message.unix_millis_of(milliseconds(text(relative)?)?).context("before 1970"),
            None => date(text(absolute)?),
        }
    };
    let icmp_type_code = match fields.get("cflow.icmp_ipv6_type") {
        Some(_) => number(fields, "cflow.icmp_ipv6_type")? * 256 + number(fields, "cflow.icmp_ipv6_code")?,
        None => number(fields, "cflow.icmp_type_code_ipv4")?,
    };
    let end_reason = match fields.get("cflow.flow_end_reason") {
        Some(_) => Some(number(fields, "cflow.flow_end_reason")? as u8),
        None => None,
    };
    Ok(ExportedRecord {
        source: address("cflow.srcaddr", "cflow.srcaddrv6")?,
        destination: address("cflow.dstaddr", "cflow.dstaddrv6")?,
        protocol: number(fields, "cflow.protocol")? as u8,
        source_port: number(fields, "cflow.srcport")? as u16,
        destination_port: number(fields, "cflow.dstport")? as u16,
        icmp_type_code: icmp_type_code as u16,
        vlan: number(fields, "cflow.vlanid")? as u16,
        packets: number(fields, "cflow.packets")?,
        octets: number(fields, "cflow.octets")?,
        tcp_control_bits: number(fields, "cflow.tcpflags")? as u16,
        minimum_ttl: number(fields, "cflow.ttl_min")? as u8,
        maximum_ttl: number(fields, "cflow.ttl_max")? as u8,
        start_unix_millis: time("cflow.timestart", "cflow.abstimestart")?,
        end_unix_millis: time("cflow.timeend", "cflow.abstimeend")?,
        end_reason,
    })
}

fn object(value: &Value) -> Result<&Map<String, Value>> {
    value.as_object().with_context(|| format!("not an object: {value}"))
}

/// A number, which tshark writes as text: decimal or hexadecimal.
fn number(fields: &Map<String, Value>, name: &str) -> Result<u64> {
    let text = fields.get(name).and_then(Value::as_str).with_context(|| format!("no {name}"))?;
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.with_context(|| format!("{name} is {text}"))
}

/// Seconds with nine decimals; the last six are cut off.
fn milliseconds(value: &Value) -> Result<u64> {
    let text = value.as_str().context("no time")?;
    let (seconds, fraction) = text.split_once('.').context("no decimals")?;
    Ok(seconds.parse::<u64>()? * 1000 + fraction.get(..3).context("no milliseconds")?.parse::<u64>()?)
}

/// `Mar 11, 1999 13:45:07.494000000 UTC`
fn date(value: &Value) -> Result<u64> {
    let text = value.as_str().context("no time")?;
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [month, day, year, time, "UTC"] = words[..] else { bail!("not a time: {text}") };
    let month = MONTHS.iter().position(|name| *name == month).context("no month")? as u64;
    let (day, year) = (day.trim_end_matches(',').parse::<u64>()?, year.parse::<u64>()?);
    calendar::unix_millis(year, month + 1, day, time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn dates_are_milliseconds_since_1970() {
        assert_eq!(date(&"Mar 11, 1999 13:45:07.494000000 UTC".into()).unwrap(), 921_159_907_494);
        assert_eq!(date(&"Jan  1, 1970 00:00:00.000000000 UTC".into()).unwrap(), 0);
        assert!(date(&"Mar 11, 1999 13:45:07.494000000 CET".into()).is_err());
    }
}
