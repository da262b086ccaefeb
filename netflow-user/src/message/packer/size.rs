//! How long messages have to be, and may be.
//!
//! In: the templates of a session. Out: whether its messages can have a size. This module refuses to know where the
//! size comes from.

use crate::message::{
    MessageError, Protocol, TemplateSet, ipfix, netflow_v9, options,
    set::{Set, aligned_size},
};

/// What a Length field of 16 bits can state.
pub(super) const LARGEST_MESSAGE: usize = 65_535;

/// Whether the largest record fits a message of this size, alone.
pub(super) fn check_message_size(templates: &TemplateSet, octets: usize) -> Result<(), MessageError> {
    let protocol = templates.protocol();
    let header = match protocol {
        Protocol::Ipfix => ipfix::MessageHeader::LEN,
        Protocol::NetflowV9 => netflow_v9::PacketHeader::LEN,
    };
    let templates_and_records = templates
        .templates()
        .iter()
        .flat_map(|template| [template.template_record_len, template.data_record_len]);
    let options_templates =
        templates.options_templates().iter().map(|template| template.template_record_len());
    let longest = templates_and_records.chain(options_templates).chain([options::longest(templates)]);
    let longest = longest.max().unwrap_or(0);
    let least = header + Set::HEADER_LEN + longest;
    if aligned_size(octets) < least || octets > LARGEST_MESSAGE {
        let least = least.next_multiple_of(4);
        return Err(MessageError::MessageSize { protocol, octets, least, most: LARGEST_MESSAGE });
    }
    Ok(())
}
