//! What a collector knows of one Transport Session and domain: templates, sequence numbers, what the exporter told.

use std::collections::HashMap;

use super::counters::CollectorCounters;
use super::element::Element;
use super::flow::DecodedFlow;
use super::message::{BadSet, Message, next_set};
use super::template::{Fields, Learned, Template, TemplateSet};
use super::type_information::{Described, Told};
use super::undecoded::{Reason, Undecoded};
use super::value::Value;

/// Template fields remembered of one session.
const MAX_SESSION_FIELDS: usize = 65_536;

/// How far behind a message may be to count as late instead of as the first of a restarted Exporter.
const LATE: u32 = 1000;

#[derive(Debug, Default)]
pub(super) struct Session {
    templates: HashMap<u16, Template>,
    /// Fields of all templates.
    pub(super) fields: usize,
    /// The next sequence number, if the messages so far tell it.
    expected: Option<u32>,
    /// What sequence numbers say is missing and has not come late.
    missing: u32,
    /// systemInitTimeMilliseconds, if the Exporter told it in options data.
    started: Option<u64>,
    /// The exporter's own elements, from type records.
    told: Told,
    /// The number of the message last heard.
    pub(super) heard: u64,
}

/// What a message holds.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) flows: Vec<DecodedFlow>,
    pub(super) options: Vec<DecodedFlow>,
}

impl Session {
    /// Reads a message to its end, or to the first thing that is not a Set.
    pub(super) fn read(
        &mut self,
        message: &Message<'_>,
        counters: &mut CollectorCounters,
        undecoded: &mut Undecoded,
    ) -> Decoded {
        let mut decoded = Decoded::default();
        let (mut whole, mut unknown) = (true, 0);
        let mut wrong = |reason| {
            undecoded.note(&message.key, reason);
            false
        };
        let mut sets = message.sets;
        loop {
            let (set_id, content) = match next_set(&mut sets) {
                Ok(Some(set)) => set,
                Ok(None) => break,
                Err(BadSet) => {
                    whole = message.whole && wrong(Reason::SetLength);
                    break;
                }
            };
            let kind = match (set_id, message.key.version == 9) {
                (0, true) => TemplateSet::NetflowV9,
                (1, true) => TemplateSet::NetflowV9Options,
                (2, false) => TemplateSet::Ipfix,
                (3, false) => TemplateSet::IpfixOptions,
                // Reserved (RFC 7011 section 3.3.2, RFC 3954 section 5.2): to be skipped.
                (..256, _) => continue,
                _ => {
                    let Some(template) = self.templates.get(&set_id) else {
                        unknown += 1;
                        wrong(Reason::NoTemplate { set_id });
                        continue;
                    };
                    let read = template.read(content);
                    whole &= read.whole || wrong(Reason::DataRecord { set_id });
                    if template.is_options {
                        self.learn_options(&read.records);
                        let records = read.records.into_iter();
                        let options = Some(set_id);
                        decoded
                            .options
                            .extend(records.map(|fields| message.flow(fields, options, None, &self.told)));
                    } else {
                        let clock = message.clock(self.started);
                        let records = read.records.into_iter();
                        decoded
                            .flows
                            .extend(records.map(|fields| message.flow(fields, None, clock, &self.told)));
                    }
                    continue;
                }
            };
            // Over UDP a withdrawal has no meaning (RFC 7011 section 8.4).
            let withdraws = message.key.peer.is_connection();
            whole &= self.learn(kind, content, withdraws) || wrong(Reason::TemplateRecord { set_id });
        }
        if !message.whole {
            whole = wrong(Reason::MessageLength);
        }
        counters.count(&decoded.flows, decoded.options.len());
        counters.malformed += u64::from(!whole);
        counters.unknown_template += unknown;
        // Sequence numbers count Data Records of all kinds, so one that was not decoded hides the next
        // number. NetFlow v9 counts packets.
        let records = decoded.flows.len() + decoded.options.len();
        let records = u32::try_from(records).ok().filter(|_| whole && unknown == 0);
        let count = if message.key.version == 9 { Some(1) } else { records };
        self.follow(message, count, counters);
        decoded
    }

    /// Keeps what options records say of the exporter itself.
    fn learn_options(&mut self, records: &[Fields]) {
        self.started = records.iter().find_map(system_init_time).or(self.started);
        for (element, described) in records.iter().filter_map(Described::of) {
            if described.keep(element, &mut self.told) {
                self.templates.values_mut().for_each(|template| template.describe(&self.told));
            }
        }
    }

    /// Keeps the Set's templates; false if one of them was unreadable or is too much to keep.
    fn learn(&mut self, kind: TemplateSet, mut set: &[u8], withdraws: bool) -> bool {
        loop {
            match kind.next(&mut set) {
                Ok(None) => return true,
                Ok(Some(Learned::Template(id, mut template))) => {
                    template.describe(&self.told);
                    let before = self.templates.get(&id).map_or(0, Template::cost);
                    let fields = self.fields - before + template.cost();
                    if fields > MAX_SESSION_FIELDS {
                        return false;
                    }
                    self.fields = fields;
                    self.templates.insert(id, template);
                }
                // With the id of the Set itself: all of its kind (RFC 7011 section 8.1).
                Ok(Some(Learned::Withdrawal(id))) if withdraws => {
                    let is_options = kind == TemplateSet::IpfixOptions;
                    self.templates.retain(|&known, template| {
                        let all = id < 256 && template.is_options == is_options;
                        !(all || known == id)
                    });
                    self.fields = self.templates.values().map(Template::cost).sum();
                }
                Ok(Some(Learned::Withdrawal(_))) => {}
                Err(_) => return false,
            }
        }
    }

    /// Compares the message's sequence number with the one expected, and moves on by `count`.
    pub(super) fn follow(
        &mut self,
        message: &Message<'_>,
        count: Option<u32>,
        counters: &mut CollectorCounters,
    ) {
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

/// systemInitTimeMilliseconds of an options record.
fn system_init_time(fields: &Fields) -> Option<u64> {
    fields.iter().find_map(|(element, value)| match value {
        Value::Time(time) if *element == Element::iana(160) => Some(time.millis()),
        _ => None,
    })
}
