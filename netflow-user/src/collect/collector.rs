//! Messages in, flows out: templates per Transport Session, sequence numbers by each protocol's rule,
//! and a count for whatever could not be decoded.

use std::collections::HashMap;
use std::net::SocketAddr;

use netflow_parser::variable_versions::{ipfix, v9};
use nom_derive::Parse;

use super::element::Element;
use super::flow::{DecodedFlow, SysUpTime};
use super::netflow_v5::V5Datagram;
use super::template::{Fields, Template, TemplateSet};
use super::type_information::{Described, Told};
use super::value::Value;

/// Transport Sessions and domains remembered at once; the one not heard for longest makes room.
const MAX_SESSIONS: usize = 1024;
/// Template fields remembered, of one session and of all: some 16 MiB.
const MAX_SESSION_FIELDS: usize = 65_536;
const MAX_FIELDS: usize = 1 << 20;

/// How far behind a message may be to count as late instead of as the first of a restarted Exporter.
const LATE: u32 = 1000;

/// What was received, and what could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CollectorCounters {
    /// Datagrams received.
    pub datagrams: u64,
    /// Flow Records decoded.
    pub records: u64,
    /// Options Data Records decoded; they are counted, not shown.
    pub options_records: u64,
    /// Packets of the decoded flows.
    pub packets: u64,
    /// Octets of the decoded flows.
    pub octets: u64,
    /// Datagrams of a version other than 5, 9 and 10.
    pub unsupported_version: u64,
    /// Datagrams with something in them that could not be read; what comes before it is decoded.
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

/// A Collecting Process without its socket.
#[derive(Debug, Default)]
pub struct Collector {
    sessions: HashMap<SessionKey, Session>,
    counters: CollectorCounters,
    /// Template fields of all sessions.
    fields: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct SessionKey {
    exporter: SocketAddr,
    version: u16,
    domain: u32,
}

#[derive(Debug, Default)]
struct Session {
    templates: HashMap<u16, Template>,
    fields: usize,
    /// The next sequence number, if the messages so far tell it.
    expected: Option<u32>,
    /// What sequence numbers say is missing and has not come late.
    missing: u32,
    /// systemInitTimeMilliseconds, if the Exporter told it in options data.
    started: Option<u64>,
    /// The exporter's own elements, from type records.
    told: Told,
    /// The number of the datagram last heard.
    heard: u64,
}

/// A message's header, and what follows it.
struct Message<'a> {
    key: SessionKey,
    sequence: u32,
    /// Export Time, seconds since 1970.
    export_time: u32,
    /// sysUpTime, which only v9 has.
    uptime: Option<u32>,
    sets: &'a [u8],
    /// Whether the datagram is as long as the header says.
    whole: bool,
}

impl Collector {
    /// A collector that has heard of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was received so far.
    pub fn counters(&self) -> CollectorCounters {
        self.counters
    }

    /// How many Transport Sessions and domains are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Template fields remembered: what the memory depends on.
    pub fn template_fields(&self) -> usize {
        self.fields
    }

    /// Decodes one datagram, which holds one message.
    pub fn decode(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<DecodedFlow> {
        self.counters.datagrams += 1;
        let message = match datagram {
            [0, 5, rest @ ..] => return self.decode_v5(from, rest),
            [0, 9, rest @ ..] => netflow_v9(from, rest),
            [0, 10, rest @ ..] => ipfix(from, rest),
            [_, _, ..] => {
                self.counters.unsupported_version += 1;
                return Vec::new();
            }
            _ => None,
        };
        let Some(message) = message else {
            self.counters.malformed += 1;
            return Vec::new();
        };
        let session = self.sessions.entry(message.key).or_default();
        session.heard = self.counters.datagrams;
        let fields_before = session.fields;
        let flows = session.read(&message, &mut self.counters);
        self.fields = self.fields - fields_before + session.fields;
        self.forget_the_oldest();
        flows
    }

    /// Something came that is no message.
    pub(super) fn count_malformed(&mut self) {
        self.counters.malformed += 1;
    }

    fn decode_v5(&mut self, from: SocketAddr, after_version: &[u8]) -> Vec<DecodedFlow> {
        let Some(datagram) = V5Datagram::read(from, after_version) else {
            self.counters.malformed += 1;
            return Vec::new();
        };
        let V5Datagram { engine, flow_sequence, flows, whole } = datagram;
        self.counters.count(&flows, 0);
        self.counters.malformed += u64::from(!whole);
        let key = SessionKey { exporter: from, version: 5, domain: engine };
        let session = self.sessions.entry(key).or_default();
        session.heard = self.counters.datagrams;
        let message =
            Message { key, sequence: flow_sequence, export_time: 0, uptime: None, sets: &[], whole };
        session.follow(&message, u32::try_from(flows.len()).ok(), &mut self.counters);
        self.forget_the_oldest();
        flows
    }

    fn forget_the_oldest(&mut self) {
        while self.sessions.len() > MAX_SESSIONS || (self.fields > MAX_FIELDS && self.sessions.len() > 1) {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.heard);
            let Some((&key, session)) = oldest else { return };
            self.fields -= session.fields;
            self.sessions.remove(&key);
        }
    }
}

impl Session {
    /// Reads a message to its end, or to the first thing that is not a Set.
    fn read(&mut self, message: &Message<'_>, counters: &mut CollectorCounters) -> Vec<DecodedFlow> {
        let mut flows = Vec::new();
        let mut whole = message.whole;
        let mut unknown = 0;
        let mut options_records = 0;
        let mut sets = message.sets;
        loop {
            let (id, content) = match next_set(&mut sets) {
                Ok(Some(set)) => set,
                Ok(None) => break,
                Err(BadSet) => {
                    whole = false;
                    break;
                }
            };
            let is_v9 = message.key.version == 9;
            match (id, is_v9) {
                (0, true) => whole &= self.learn(TemplateSet::NetflowV9, content),
                (1, true) => whole &= self.learn(TemplateSet::NetflowV9Options, content),
                (2, false) => whole &= self.learn(TemplateSet::Ipfix, content),
                (3, false) => whole &= self.learn(TemplateSet::IpfixOptions, content),
                // Reserved (RFC 7011 section 3.3.2, RFC 3954 section 5.2): to be skipped.
                (..256, _) => {}
                _ => {
                    let Some(template) = self.templates.get(&id) else {
                        unknown += 1;
                        continue;
                    };
                    let read = template.read(content);
                    whole &= read.whole;
                    if template.is_options {
                        options_records += read.records.len();
                        self.started = read.records.iter().find_map(system_init_time).or(self.started);
                        for (element, described) in read.records.iter().filter_map(Described::of) {
                            if described.keep(element, &mut self.told) {
                                self.templates
                                    .values_mut()
                                    .for_each(|template| template.describe(&self.told));
                            }
                        }
                    } else {
                        let clock = message.clock(self.started);
                        let records = read.records.into_iter();
                        flows.extend(records.map(|fields| message.flow(fields, clock, &self.told)));
                    }
                }
            }
        }
        counters.count(&flows, options_records);
        counters.malformed += u64::from(!whole);
        counters.unknown_template += unknown;
        // Sequence numbers count Data Records of all kinds, so one that was not decoded hides the next
        // number. NetFlow v9 counts packets.
        let records = u32::try_from(flows.len() + options_records).ok().filter(|_| whole && unknown == 0);
        let count = if message.key.version == 9 { Some(1) } else { records };
        self.follow(message, count, counters);
        flows
    }

    /// Keeps the Set's templates; false if one of them was unreadable or is too much to keep.
    fn learn(&mut self, kind: TemplateSet, mut set: &[u8]) -> bool {
        loop {
            match kind.next(&mut set) {
                Ok(None) => return true,
                Ok(Some((id, mut template))) => {
                    template.describe(&self.told);
                    let before = self.templates.get(&id).map_or(0, Template::cost);
                    let fields = self.fields - before + template.cost();
                    if fields > MAX_SESSION_FIELDS {
                        return false;
                    }
                    self.fields = fields;
                    self.templates.insert(id, template);
                }
                Err(_) => return false,
            }
        }
    }

    /// Compares the message's sequence number with the one expected, and moves on by `count`.
    fn follow(&mut self, message: &Message<'_>, count: Option<u32>, counters: &mut CollectorCounters) {
        let missing = if message.key.version == 9 {
            &mut counters.missing_datagrams
        } else {
            &mut counters.missing_records
        };
        let next = count.map(|count| message.sequence.wrapping_add(count));
        let Some(expected) = self.expected else {
            self.expected = next;
            return;
        };
        let ahead = message.sequence.wrapping_sub(expected);
        let behind = expected.wrapping_sub(message.sequence);
        if ahead == 0 {
            self.expected = next;
        } else if ahead < 1 << 31 {
            counters.sequence_gaps += 1;
            *missing += u64::from(ahead);
            self.missing = self.missing.saturating_add(ahead);
            self.expected = next;
        } else if behind <= LATE && self.missing > 0 {
            let found = count.unwrap_or(0).min(self.missing);
            *missing -= u64::from(found);
            self.missing -= found;
        } else {
            counters.sequence_gaps += 1;
            self.missing = 0;
            self.expected = next;
        }
    }
}

impl Message<'_> {
    fn flow(&self, fields: Fields, clock: Option<SysUpTime>, told: &Told) -> DecodedFlow {
        let SessionKey { exporter, version, domain } = self.key;
        DecodedFlow::new(exporter, version, domain, clock, fields, Told::clone(told))
    }

    /// The counter behind flowStartSysUpTime at the Export Time: v9 says it, an IPFIX Exporter says when
    /// the counter was 0.
    fn clock(&self, started: Option<u64>) -> Option<SysUpTime> {
        let unix_millis = u64::from(self.export_time) * 1000;
        let since = |started| unix_millis.wrapping_sub(started) as u32;
        let uptime = self.uptime.or(started.map(since))?;
        Some(SysUpTime { uptime, unix_millis })
    }
}

impl CollectorCounters {
    fn count(&mut self, flows: &[DecodedFlow], options_records: usize) {
        self.records += flows.len() as u64;
        self.options_records += options_records as u64;
        for flow in flows {
            self.packets = self.packets.saturating_add(flow.packets().unwrap_or(0));
            self.octets = self.octets.saturating_add(flow.octets().unwrap_or(0));
        }
    }
}

/// systemInitTimeMilliseconds of an options record.
fn system_init_time(fields: &Fields) -> Option<u64> {
    fields.iter().find_map(|(element, value)| match value {
        Value::Time(time) if *element == Element::iana(160) => Some(time.millis()),
        _ => None,
    })
}

/// What follows the version of a NetFlow v9 Export Packet. It does not say its length: the datagram does.
fn netflow_v9(exporter: SocketAddr, after_version: &[u8]) -> Option<Message<'_>> {
    let (sets, header) = v9::Header::parse(after_version).ok()?;
    Some(Message {
        key: SessionKey { exporter, version: 9, domain: header.source_id },
        sequence: header.sequence_number,
        export_time: header.unix_secs,
        uptime: Some(header.sys_up_time),
        sets,
        whole: true,
    })
}

/// What follows the version of an IPFIX Message.
fn ipfix(exporter: SocketAddr, after_version: &[u8]) -> Option<Message<'_>> {
    let (rest, header) = ipfix::Header::parse(after_version).ok()?;
    let stated = usize::from(header.length).checked_sub(16)?;
    Some(Message {
        key: SessionKey { exporter, version: 10, domain: header.observation_domain_id },
        sequence: header.sequence_number,
        export_time: header.export_time,
        uptime: None,
        sets: &rest[..stated.min(rest.len())],
        whole: stated == rest.len(),
    })
}

/// What follows is not a Set.
struct BadSet;

/// The next Set's id and content. Less than a Set header at the end is not a Set unless it is zero, as
/// some exporters pad the whole packet.
fn next_set<'a>(sets: &mut &'a [u8]) -> Result<Option<(u16, &'a [u8])>, BadSet> {
    let Ok((rest, header)) = ipfix::FlowSetHeader::parse(sets) else {
        let padding = sets.iter().all(|&octet| octet == 0);
        return if padding { Ok(None) } else { Err(BadSet) };
    };
    let length = usize::from(header.length).checked_sub(4).ok_or(BadSet)?;
    let (content, rest) = rest.split_at_checked(length).ok_or(BadSet)?;
    *sets = rest;
    Ok(Some((header.header_id, content)))
}
