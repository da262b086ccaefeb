//! What builds a destination's messages: by templates, or the fixed records of v5.

use crate::{
    config::ExportConfig,
    message::{
        Message, MessageError, OptionsData, Packer, PackerConfig, TemplateSet, V5Packer, V5PackerConfig,
    },
    record::FlowRecord,
    time::{Instant, MonotonicNanos},
    transport::ExportProtocol,
};

/// The messages of one session.
pub(super) enum Messages {
    /// IPFIX and v9. (Boxed: it is much the larger one.)
    Templates(Box<Packer>),
    /// NetFlow v5.
    V5(V5Packer),
}

impl Messages {
    /// A new session. `exporter_address` is the exporter's IPv4 address, or zero; sysUpTime is zero at `origin`;
    /// messages may have `message_size` octets.
    pub(super) fn new(
        config: &ExportConfig,
        protocol: ExportProtocol,
        exporter_address: [u8; 4],
        origin: MonotonicNanos,
        message_size: usize,
    ) -> Result<Self, MessageError> {
        let Some(templates) = config.template_options(protocol) else {
            let v5 = config.v5_options()?;
            return Ok(Self::V5(V5Packer::new(V5PackerConfig {
                sys_up_time_origin: origin,
                message_size,
                ..v5
            })?));
        };
        let packer = PackerConfig {
            observation_domain_id: config.observation_domain_id,
            template_refresh: config.template_refresh,
            template_refresh_messages: config.template_refresh_messages,
            options_refresh: config.options_refresh,
            exporter_address,
            sys_up_time_origin: origin,
            message_size,
        };
        Ok(Self::Templates(Box::new(Packer::new(packer, TemplateSet::new(&templates)?)?)))
    }

    /// Whether the protocol has words for a record.
    pub(super) fn can_say(&self, record: &FlowRecord) -> bool {
        match self {
            Self::Templates(_) => true,
            Self::V5(_) => V5Packer::can_say(record),
        }
    }

    /// As [`Packer::next_message`].
    pub(super) fn next_message(&mut self, records: &[FlowRecord], now: Instant) -> Option<Message<'_>> {
        match self {
            Self::Templates(packer) => packer.next_message(records, now),
            Self::V5(packer) => packer.next_message(records, now),
        }
    }

    /// As [`Packer::commit`].
    pub(super) fn commit(&mut self) {
        match self {
            Self::Templates(packer) => packer.commit(),
            Self::V5(packer) => packer.commit(),
        }
    }

    /// As [`Packer::set_options_data`].
    pub(super) fn set_options_data(&mut self, data: &OptionsData) {
        match self {
            Self::Templates(packer) => packer.set_options_data(data),
            Self::V5(packer) => packer.set_options_data(data),
        }
    }

    /// As [`Packer::announce_templates`]; v5 has none.
    pub(super) fn announce_templates(&mut self) {
        if let Self::Templates(packer) = self {
            packer.announce_templates();
        }
    }

    /// When a message is due though no record waits; `None`: never.
    pub(super) fn template_deadline(&self) -> Option<MonotonicNanos> {
        match self {
            Self::Templates(packer) => Some(packer.template_deadline()),
            Self::V5(_) => None,
        }
    }

    /// Octets that a message may have.
    pub(super) fn message_size(&self) -> usize {
        match self {
            Self::Templates(packer) => packer.message_size(),
            Self::V5(packer) => packer.message_size(),
        }
    }

    /// As [`Packer::set_message_size`].
    pub(super) fn set_message_size(&mut self, octets: usize) -> Result<(), MessageError> {
        match self {
            Self::Templates(packer) => packer.set_message_size(octets),
            Self::V5(packer) => packer.set_message_size(octets),
        }
    }
}
