//! The Sets of a message: as much as fits.
//!
//! In: the size of a message, the templates that are due and the records that wait. Out: Sets behind the
//! message's header. This module refuses to know headers and sequence numbers.

use crate::record::FlowRecord;

use super::{
    Protocol, TemplateSet,
    data_record::{self, Context},
    ipfix, netflow_v9,
    octets::Octets,
    set::Set,
    template_schedule::TemplateSchedule,
};

/// How many records of each kind a message holds.
pub(super) struct Written {
    pub templates: usize,
    pub records: usize,
}

/// Writes the Sets of a message of at most `size` octets.
pub(super) fn fill(
    octets: &mut Octets,
    size: usize,
    templates: &TemplateSet,
    schedule: &mut TemplateSchedule,
    records: &[FlowRecord],
    context: &Context,
) -> Written {
    Written {
        templates: write_templates(octets, size, templates, schedule),
        records: write_records(octets, size, templates, schedule, records, context),
    }
}

/// The templates that are due and fit, in one Set: at least one, since the packer refuses a size that
/// would not hold it.
fn write_templates(
    octets: &mut Octets,
    size: usize,
    templates: &TemplateSet,
    schedule: &mut TemplateSchedule,
) -> usize {
    if schedule.next_template().is_none() {
        return 0;
    }
    let set_id = match templates.protocol() {
        Protocol::Ipfix => ipfix::TEMPLATE_SET_ID,
        Protocol::NetflowV9 => netflow_v9::TEMPLATE_FLOW_SET_ID,
    };
    let mut set = Set::open(octets, set_id);
    let mut written = 0;
    while let Some(index) = schedule.next_template() {
        let template = &templates.templates()[index];
        if set.records().len() + template.template_record_len > size {
            break;
        }
        template.encode(set.records());
        schedule.template_written();
        written += 1;
    }
    written
}

/// As many records as fit, in their order; a new Set wherever the template changes.
fn write_records(
    octets: &mut Octets,
    size: usize,
    templates: &TemplateSet,
    schedule: &TemplateSchedule,
    records: &[FlowRecord],
    context: &Context,
) -> usize {
    let mut written = 0;
    while let Some(first) = records.get(written) {
        let index = templates.index_of(first);
        let template = &templates.templates()[index];
        let room = size.saturating_sub(octets.len() + Set::HEADER_LEN) / template.data_record_len;
        if room == 0 || !schedule.is_known(index) {
            break;
        }
        let mut set = Set::open(octets, template.id);
        let same = records[written..].iter().take_while(|record| templates.index_of(record) == index);
        for record in same.take(room) {
            data_record::encode(template, record, context, set.records());
            written += 1;
        }
    }
    written
}
