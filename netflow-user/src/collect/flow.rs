//! A decoded Flow Record: fields with names, and the few of them the tables need.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::element::Element;
use super::template::Fields;
use super::type_information::Told;
use super::value::{Timestamp, Value};

/// The order of the well-known fields in the output, whatever the template's; others follow in the
/// order of the template.
const ORDER: [u16; 20] = [152, 153, 8, 12, 27, 28, 7, 11, 4, 32, 139, 58, 5, 6, 2, 1, 136, 10, 14, 61];

const FLOW_START_SYS_UP_TIME: u16 = 22;
const FLOW_END_SYS_UP_TIME: u16 = 21;
const FLOW_START_MILLISECONDS: u16 = 152;
const FLOW_END_MILLISECONDS: u16 = 153;

/// How far ahead of the header's clock a v9 time may be before it is taken for one from before the
/// 32-bit sysUpTime wrapped.
const AHEAD: u32 = 60_000;

/// A Flow Record, or a record of options data, as a Collector reads it.
#[derive(Clone, PartialEq, Debug)]
pub struct DecodedFlow {
    /// Where the message came from.
    pub exporter: SocketAddr,
    /// 5, 9 or 10.
    pub protocol_version: u16,
    /// Observation Domain ID or Source ID; engine type and id of v5 in one number.
    pub observation_domain_id: u32,
    /// Of options data: the Options Template's ID.
    pub options_template_id: Option<u16>,
    /// The fields, well-known ones first; in options data as they came, scopes first.
    pub fields: Vec<(Element, Value)>,
    /// What the exporter has told of elements of its own.
    told: Told,
}

/// One instant on a device's own clock and on the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SysUpTime {
    /// Milliseconds since the device started, as a 32-bit counter.
    pub(super) uptime: u32,
    /// Milliseconds since 1970 at the same instant.
    pub(super) unix_millis: u64,
}

impl SysUpTime {
    /// The time of day of `uptime`, another reading of the same counter, which wraps after 49.7 days.
    fn time_of(self, uptime: u32) -> Timestamp {
        let now = self.unix_millis;
        let ahead = uptime.wrapping_sub(self.uptime);
        Timestamp::from_millis(if ahead <= AHEAD {
            now + u64::from(ahead)
        } else {
            now.saturating_sub(u64::from(self.uptime.wrapping_sub(uptime)))
        })
    }
}

impl DecodedFlow {
    pub(super) fn new(
        exporter: SocketAddr,
        protocol_version: u16,
        observation_domain_id: u32,
        options_template_id: Option<u16>,
        clock: Option<SysUpTime>,
        mut fields: Fields,
        told: Told,
    ) -> Self {
        if let Some(clock) = clock {
            make_absolute(&mut fields, clock);
        }
        if options_template_id.is_none() {
            fields.sort_by_key(|(element, _)| rank(*element));
        }
        Self { exporter, protocol_version, observation_domain_id, options_template_id, fields, told }
    }

    /// An element's name, as the registry or the exporter has it.
    pub fn name(&self, element: Element) -> Cow<'_, str> {
        let told = self.told.get(&element).map(|described| Cow::Borrowed(described.name.as_str()));
        told.unwrap_or_else(|| element.name())
    }

    /// The value of one of IANA's elements.
    pub fn value(&self, id: u16) -> Option<&Value> {
        let element = Element::iana(id);
        self.fields.iter().find(|(of, _)| *of == element).map(|(_, value)| value)
    }

    /// The first of several elements that holds a number.
    fn number(&self, ids: &[u16]) -> Option<u64> {
        ids.iter().find_map(|&id| self.value(id)?.as_unsigned())
    }

    fn address(&self, ids: [u16; 2]) -> Option<IpAddr> {
        ids.iter().find_map(|&id| match self.value(id)? {
            Value::Address(address) => Some(*address),
            _ => None,
        })
    }

    fn time(&self, ids: [u16; 4]) -> Option<Timestamp> {
        ids.iter().find_map(|&id| match self.value(id)? {
            Value::Time(time) => Some(*time),
            _ => None,
        })
    }

    /// sourceIPv4Address or sourceIPv6Address.
    pub fn source(&self) -> Option<IpAddr> {
        self.address([8, 27])
    }

    /// destinationIPv4Address or destinationIPv6Address.
    pub fn destination(&self) -> Option<IpAddr> {
        self.address([12, 28])
    }

    /// sourceTransportPort.
    pub fn source_port(&self) -> Option<u64> {
        self.number(&[7])
    }

    /// destinationTransportPort.
    pub fn destination_port(&self) -> Option<u64> {
        self.number(&[11])
    }

    /// icmpTypeCodeIPv4 or icmpTypeCodeIPv6, else what stands in its place in the destination port.
    pub fn icmp_type_code(&self) -> Option<u64> {
        self.number(&[139]).filter(|&code| code > 0).or_else(|| self.number(&[32, 11]))
    }

    /// protocolIdentifier.
    pub fn protocol(&self) -> Option<u64> {
        self.number(&[4])
    }

    /// vlanId, or dot1qVlanId.
    pub fn vlan(&self) -> Option<u64> {
        self.number(&[58, 243])
    }

    /// ipClassOfService.
    pub fn class_of_service(&self) -> Option<u64> {
        self.number(&[5])
    }

    /// tcpControlBits.
    pub fn tcp_control_bits(&self) -> Option<u64> {
        self.number(&[6])
    }

    /// packetDeltaCount, or packetTotalCount.
    pub fn packets(&self) -> Option<u64> {
        self.number(&[2, 86])
    }

    /// octetDeltaCount, or octetTotalCount.
    pub fn octets(&self) -> Option<u64> {
        self.number(&[1, 85])
    }

    /// flowEndReason.
    pub fn end_reason(&self) -> Option<u64> {
        self.number(&[136])
    }

    /// When the flow started, in whatever unit it was sent.
    pub fn start(&self) -> Option<Timestamp> {
        self.time([FLOW_START_MILLISECONDS, 150, 154, 156])
    }

    /// When the flow ended.
    pub fn end(&self) -> Option<Timestamp> {
        self.time([FLOW_END_MILLISECONDS, 151, 155, 157])
    }
}

/// Turns times since the start of the device into times of day (RFC 3954 section 8, types 21 and 22).
fn make_absolute(fields: &mut Fields, clock: SysUpTime) {
    for (relative, absolute) in
        [(FLOW_START_SYS_UP_TIME, FLOW_START_MILLISECONDS), (FLOW_END_SYS_UP_TIME, FLOW_END_MILLISECONDS)]
    {
        if fields.iter().any(|(element, _)| *element == Element::iana(absolute)) {
            continue;
        }
        for (element, value) in fields.iter_mut() {
            let uptime = value.as_unsigned().and_then(|number| u32::try_from(number).ok());
            if let (true, Some(uptime)) = (*element == Element::iana(relative), uptime) {
                *element = Element::iana(absolute);
                *value = Value::Time(clock.time_of(uptime));
            }
        }
    }
}

fn rank(element: Element) -> usize {
    let known = if element.enterprise == 0 { ORDER.iter().position(|&id| id == element.id) } else { None };
    known.unwrap_or(ORDER.len())
}

/// One JSON object: where it came from (a file does not tell), then every field under its registry name. A name that comes
/// again gets a number, since a Data Record may hold an element twice (RFC 7011 section 8).
impl Serialize for DecodedFlow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.exporter.ip().is_unspecified() {
            map.serialize_entry("exporter", &self.exporter.ip().to_canonical())?;
        }
        map.serialize_entry("observationDomainId", &self.observation_domain_id)?;
        map.serialize_entry("protocolVersion", &self.protocol_version)?;
        if let Some(id) = self.options_template_id {
            map.serialize_entry("optionsTemplateId", &id)?;
        }
        for (index, (element, value)) in self.fields.iter().enumerate() {
            let name = self.name(*element);
            let before = self.fields[..index].iter().filter(|(other, _)| other == element).count()
                + usize::from(name == "observationDomainId");
            if before == 0 {
                map.serialize_entry(&name, value)?;
            } else {
                map.serialize_entry(&format!("{name}_{}", before + 1), value)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_become_times_of_day_across_the_wrap() {
        let clock = SysUpTime { uptime: 3_600_000, unix_millis: 1_767_225_600_000 };
        let at = |uptime| clock.time_of(uptime).millis();
        assert_eq!(at(3_590_000), 1_767_225_590_000);
        assert_eq!(at(3_600_500), 1_767_225_600_500, "a little ahead of the header");
        let wrapped = SysUpTime { uptime: 1000, unix_millis: 1_767_225_600_000 };
        assert_eq!(wrapped.time_of(u32::MAX).millis(), 1_767_225_600_000 - 1001);
        let early = SysUpTime { uptime: 100_000, unix_millis: 1000 };
        assert_eq!(early.time_of(0).millis(), 0, "nothing before 1970");
    }
}
