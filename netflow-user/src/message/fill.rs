//! The Sets of a message: as much as fits.
//!
//! In: the size of a message, the templates and options records that are due and the records that wait. Out: Sets
//! behind the message's header. This module refuses to know headers and sequence numbers.

use crate::record::FlowRecord;

use super::{
    Protocol, TemplateSet,
    data_record::{self, Context},
    ipfix, netflow_v9,
    octets::Octets,
    options::{OptionsRecord, set_len},
    schedule::Schedule,
    set::Set,
    split,
};

/// How many records of each kind a message holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub templates: usize,
    pub options: usize,
    /// Flow Records that are in it, the last one with its last part.
    pub records: usize,
    /// Data Records of flows: more where counters had to be split.
    pub data_records: usize,
}

/// What goes into a message of one session.
pub(super) struct Filling<'a> {
    /// Octets that the message may have.
    pub size: usize,
    pub templates: &'a TemplateSet,
    pub options: &'a [OptionsRecord],
    pub statistics: &'a [OptionsRecord],
    pub records: &'a [FlowRecord],
    pub context: Context,
    /// Parts of the first record that were sent before.
    pub parts: u64,
}

/// When the items of a session are due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedules {
    /// Templates, then Options Templates.
    pub templates: Schedule,
    /// Options records.
    pub options: Schedule,
    /// Statistics.
    pub statistics: Schedule,
    /// Template Records and Options Template Records that messages had so far.
    pub told: [u64; 2],
}

impl Filling<'_> {
    /// Writes the Sets. Of the first record that waits then, so many parts as the other number says were sent.
    pub fn fill(&self, octets: &mut Octets, schedules: &mut Schedules) -> (Written, u64) {
        let told = self.write_templates(octets, &mut schedules.templates);
        let options_told = self.write_options_templates(octets, &mut schedules.templates);
        let templates = told + options_told;
        schedules.told = [schedules.told[0] + told as u64, schedules.told[1] + options_told as u64];
        let Schedules { templates: known, options, statistics, .. } = schedules;
        let options = self.write_options(octets, self.options, options, known)
            + self.write_options(octets, self.statistics, statistics, known);
        let mut written = Written { templates, options, records: 0, data_records: 0 };
        let parts = self.write_records(octets, schedules, &mut written);
        (written, parts)
    }

    /// The templates that are due and fit, in one Set: at least one, since the packer refuses a size that
    /// would not hold it.
    fn write_templates(&self, octets: &mut Octets, schedule: &mut Schedule) -> usize {
        let templates = self.templates.templates();
        if schedule.next_item().is_none_or(|item| item >= templates.len()) {
            return 0;
        }
        let set_id = match self.templates.protocol() {
            Protocol::Ipfix => ipfix::TEMPLATE_SET_ID,
            Protocol::NetflowV9 => netflow_v9::TEMPLATE_FLOW_SET_ID,
        };
        let mut set = Set::open(octets, set_id);
        let mut written = 0;
        while let Some(template) = schedule.next_item().and_then(|item| templates.get(item)) {
            if set.records().len() + template.template_record_len > self.size {
                break;
            }
            template.encode(set.records());
            schedule.item_written();
            written += 1;
        }
        written
    }

    /// The Options Templates that are due and fit, each in a Set of its own: some collectors read the first one of a
    /// Set only (TPL-RULE-5).
    fn write_options_templates(&self, octets: &mut Octets, schedule: &mut Schedule) -> usize {
        let first = self.templates.templates().len();
        let set_id = match self.templates.protocol() {
            Protocol::Ipfix => ipfix::OPTIONS_TEMPLATE_SET_ID,
            Protocol::NetflowV9 => netflow_v9::OPTIONS_TEMPLATE_FLOW_SET_ID,
        };
        let mut written = 0;
        let templates = self.templates.options_templates();
        let of = |item: usize| item.checked_sub(first).and_then(|place| templates.get(place));
        while let Some(template) = schedule.next_item().and_then(of) {
            if octets.len() + Set::HEADER_LEN + template.template_record_len() > self.size {
                break;
            }
            template.encode(self.templates.protocol(), Set::open(octets, set_id).records());
            schedule.item_written();
            written += 1;
        }
        written
    }

    /// The options records that are due and fit.
    fn write_options(
        &self,
        octets: &mut Octets,
        records: &[OptionsRecord],
        due: &mut Schedule,
        known: &Schedule,
    ) -> usize {
        let mut written = 0;
        while let Some(first) = due.next_item() {
            let rest = records.get(first..).unwrap_or_default();
            let Some(record) = rest.first() else { break };
            if !self.is_known(record, known) {
                break;
            }
            let with = if record.with_next { rest.get(1) } else { None };
            if octets.len() + set_len(record) + with.map_or(0, set_len) > self.size {
                break;
            }
            let mut set = Set::open(octets, record.template.id);
            for record in rest.iter().take_while(|other| other.template.id == record.template.id) {
                // The room of the first one was looked at above.
                if set.records().len() + record.octets.len() > self.size {
                    break;
                }
                set.records().put(&record.octets);
                due.item_written();
                written += 1;
                if !record.template.shares_set {
                    break;
                }
            }
        }
        written
    }

    /// Whether the template of an options record was sent before it.
    fn is_known(&self, record: &OptionsRecord, schedule: &Schedule) -> bool {
        let templates = self.templates.options_templates();
        let place = templates.iter().position(|template| template.id == record.template.id);
        place.is_some_and(|place| schedule.is_known(self.templates.templates().len() + place))
    }

    /// As many records as fit, in their order; a new Set wherever the template changes. What options data say goes
    /// before them. Returns how many parts of the first record that did not fit in whole are sent then.
    fn write_records(&self, octets: &mut Octets, schedules: &Schedules, written: &mut Written) -> u64 {
        let mut sent = self.parts;
        if schedules.options.next_item().is_some() {
            return sent;
        }
        while let Some(first) = self.records.get(written.records) {
            let index = self.templates.index_of(first);
            let template = &self.templates.templates()[index];
            let room = self.size.saturating_sub(octets.len() + Set::HEADER_LEN) / template.data_record_len;
            if room == 0 || !schedules.templates.is_known(index) {
                break;
            }
            let mut set = Set::open(octets, template.id);
            let mut free = room as u64;
            for record in &self.records[written.records..] {
                if free == 0 || self.templates.index_of(record) != index {
                    break;
                }
                let parts = template.limits.parts_of(record);
                let end = parts.min(sent + free);
                for part in sent..end {
                    let part = split::part(record, part, parts);
                    data_record::encode(template, &part, &self.context, set.records());
                }
                free -= end - sent;
                written.data_records += (end - sent) as usize;
                if end < parts {
                    return end;
                }
                sent = 0;
                written.records += 1;
            }
        }
        sent
    }
}
