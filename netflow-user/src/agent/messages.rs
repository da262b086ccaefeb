//! What builds a destination's messages: by templates, or the fixed records of v5.

use std::{net::IpAddr, num::NonZeroU32};

use crate::{
    config::ExportConfig,
    message::{
        Mark, Message, MessageError, ONCE, OptionsData, Packer, PackerConfig, Statistics, TemplateSet,
        V5Mark, V5Packer, V5PackerConfig,
    },
    record::FlowRecord,
    time::{Instant, MonotonicNanos},
    transport::{ExportProtocol, Link},
};

/// The messages of one session.
pub(super) enum Messages {
    /// IPFIX and v9. (Boxed: it is much the larger one.)
    Templates(Box<Packer>),
    /// NetFlow v5.
    V5(V5Packer),
}

/// Where a session stands between two messages.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are 32 at most for a collector, in a buffer that is used again"
)]
pub(super) enum Place {
    Templates(Mark),
    V5(V5Mark),
}

/// What of a link is of interest here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Octets that a message may have.
    pub(super) message_limit: usize,
    /// Whether messages may get lost.
    pub(super) is_lossy: bool,
    /// The exporter's IPv4 address, or zero.
    pub(super) exporter_address: [u8; 4],
}

impl Way {
    /// That of a link.
    pub(super) fn of(link: &Link) -> Self {
        let exporter_address = match link.ends().map(|(local, _)| local.ip().to_canonical()) {
            Some(IpAddr::V4(address)) => address.octets(),
            _ => [0; 4],
        };
        Self { message_limit: link.message_limit(), is_lossy: link.is_lossy(), exporter_address }
    }
}

/// What is said again, how often: what arrives for sure is said once (RFC 7011 section 8.1).
fn periods(config: &ExportConfig, lossy: bool) -> PackerConfig {
    PackerConfig {
        observation_domain_id: config.observation_domain_id,
        template_refresh: if lossy { config.template_refresh } else { ONCE },
        template_refresh_messages: if lossy { config.template_refresh_messages } else { NonZeroU32::MAX },
        options_refresh: if lossy { config.options_refresh } else { ONCE },
        statistics_interval: config.statistics.map_or(ONCE, |(interval, _)| interval),
        exporter_address: [0; 4],
        sys_up_time_origin: MonotonicNanos(0),
        message_size: 0,
    }
}

impl Messages {
    /// A new session. sysUpTime is zero at `origin`.
    pub(super) fn new(
        config: &ExportConfig,
        protocol: ExportProtocol,
        way: Way,
        origin: MonotonicNanos,
    ) -> Result<Self, MessageError> {
        let Way { message_limit: message_size, is_lossy: lossy, exporter_address } = way;
        let Some(templates) = config.template_options(protocol)? else {
            let v5 = config.v5_options()?;
            return Ok(Self::V5(V5Packer::new(V5PackerConfig {
                sys_up_time_origin: origin,
                message_size,
                ..v5
            })?));
        };
        // The exporter's own address may be one of those that nobody is to see (RFC 6235 section 7.2.3).
        let exporter_address = if config.anonymised.is_empty() { exporter_address } else { [0; 4] };
        let packer = PackerConfig {
            exporter_address,
            sys_up_time_origin: origin,
            message_size,
            ..periods(config, lossy)
        };
        Ok(Self::Templates(Box::new(Packer::new(packer, TemplateSet::new(&templates)?)?)))
    }

    /// What is said again is said as often as this configuration has it from now on.
    ///
    /// # Errors
    /// As [`Packer::set_periods`].
    pub(super) fn set_periods(&mut self, config: &ExportConfig, lossy: bool) -> Result<(), MessageError> {
        match self {
            Self::Templates(packer) => {
                packer.set_periods(&periods(config, lossy), config.statistics.map(|(_, reported)| reported))
            }
            Self::V5(_) => Ok(()),
        }
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

    /// As [`Packer::mark`].
    pub(super) fn mark(&self) -> Place {
        match self {
            Self::Templates(packer) => Place::Templates(packer.mark()),
            Self::V5(packer) => Place::V5(packer.mark()),
        }
    }

    /// As [`Packer::rewind`].
    pub(super) fn rewind(&mut self, place: Place) {
        match (self, place) {
            (Self::Templates(packer), Place::Templates(mark)) => packer.rewind(mark),
            (Self::V5(packer), Place::V5(mark)) => packer.rewind(mark),
            (Self::Templates(_), Place::V5(_)) | (Self::V5(_), Place::Templates(_)) => {
                debug_assert!(false, "a session speaks one protocol");
            }
        }
    }

    /// As [`Packer::skip`]; v5 knows no such thing.
    pub(super) fn skip(&mut self, records: u64) {
        if let Self::Templates(packer) = self {
            packer.skip(records);
        }
    }

    /// As [`Packer::set_options_data`].
    pub(super) fn set_options_data(&mut self, data: &OptionsData) {
        match self {
            Self::Templates(packer) => packer.set_options_data(data),
            Self::V5(packer) => packer.set_options_data(data),
        }
    }

    /// As [`Packer::has_statistics`]; v5 has none.
    pub(super) fn has_statistics(&self) -> bool {
        match self {
            Self::Templates(packer) => packer.has_statistics(),
            Self::V5(_) => false,
        }
    }

    /// As [`Packer::tells_statistics`]; v5 has none.
    pub(super) fn tells_statistics(&self, records_wait: bool, now: Instant) -> bool {
        match self {
            Self::Templates(packer) => packer.tells_statistics(records_wait, now),
            Self::V5(_) => false,
        }
    }

    /// As [`Packer::set_statistics`].
    pub(super) fn set_statistics(&mut self, statistics: &Statistics) {
        if let Self::Templates(packer) = self {
            packer.set_statistics(statistics);
        }
    }

    /// As [`Packer::announce_statistics`], if there are any.
    pub(super) fn announce_statistics(&mut self) -> bool {
        match self {
            Self::Templates(packer) if packer.has_statistics() => {
                packer.announce_statistics();
                true
            }
            Self::Templates(_) | Self::V5(_) => false,
        }
    }

    /// A new Transport Session with the same templates: they go first, and sequence numbers begin anew.
    pub(super) fn restart(&mut self) {
        match self {
            Self::Templates(packer) => packer.restart(),
            Self::V5(packer) => packer.restart(),
        }
    }

    /// As [`Packer::announce_templates`]; v5 has none.
    pub(super) fn announce_templates(&mut self) {
        if let Self::Templates(packer) = self {
            packer.announce_templates();
        }
    }

    /// As [`Packer::templates`]; v5 has none.
    pub(super) fn templates(&self) -> Option<&TemplateSet> {
        match self {
            Self::Templates(packer) => Some(packer.templates()),
            Self::V5(_) => None,
        }
    }

    /// As [`Packer::told`]; v5 has no templates.
    pub(super) fn told(&self) -> [u64; 2] {
        match self {
            Self::Templates(packer) => packer.told(),
            Self::V5(_) => [0; 2],
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
