//! One Transport Session's messages: fills them with templates and records, keeps its sequence.
//!
//! In: a slice of Flow Records and the time. Out: one finished message at a time. This module refuses to
//! know how a message is sent, and what becomes of records that were never taken.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    record::FlowRecord,
    time::{Instant, MonotonicNanos},
};

use super::{
    MessageError, Protocol, TemplateSet,
    data_record::Context,
    fill::fill,
    ipfix, netflow_v9,
    octets::Octets,
    set::{Set, aligned_size},
    sys_up_time::SysUpTime,
    template_schedule::TemplateSchedule,
};

/// What a Length field of 16 bits can state.
const LARGEST_MESSAGE: usize = 65_535;
/// A round of templates takes time: below this, messages would hold little else.
const SHORTEST_TEMPLATE_REFRESH: Duration = Duration::from_millis(1);
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What a Transport Session is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackerConfig {
    /// Observation Domain ID; in v9 the Source ID.
    pub observation_domain_id: u32,
    /// Templates are sent again after this time, and three times as often at first.
    pub template_refresh: Duration,
    /// Templates are sent again after so many messages with data.
    pub template_refresh_messages: NonZeroU32,
    /// Where sysUpTime is 0; v9 only.
    pub sys_up_time_origin: MonotonicNanos,
    /// Octets that a message may have: the path MTU without the IP and UDP headers.
    pub message_size: usize,
}

/// Builds the messages of one Transport Session, one collector's.
///
/// Two steps for each message: [`next_message`](Self::next_message) builds it and
/// [`commit`](Self::commit) says that it was sent, or given up. In between it can be built anew, smaller.
///
/// ```
/// # use netflow_user::{message::{Packer, PackerConfig, Protocol, TemplateOptions, TemplateSet}, record::FlowRecord, time::{Instant, MonotonicNanos}};
/// # use std::{num::NonZeroU32, time::Duration};
/// # let config = PackerConfig {
/// #     observation_domain_id: 1, template_refresh: Duration::from_secs(60),
/// #     template_refresh_messages: NonZeroU32::MIN, sys_up_time_origin: MonotonicNanos(0), message_size: 1472,
/// # };
/// # let (mut records, now, send) = (&[] as &[FlowRecord], Instant::default(), |_: &[u8]| ());
/// let templates = TemplateSet::new(&TemplateOptions::new(Protocol::Ipfix))?;
/// let mut packer = Packer::new(config, templates)?;
/// while let Some(message) = packer.next_message(records, now) {
///     send(message.octets);
///     records = &records[message.records..];
///     packer.commit();
/// }
/// # Ok::<(), netflow_user::message::MessageError>(())
/// ```
#[derive(Debug)]
pub struct Packer {
    config: PackerConfig,
    templates: TemplateSet,
    octets: Octets,
    session: Session,
    /// The session as it will be once the message in `octets` is sent.
    pending: Option<Session>,
}

/// A finished message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// The datagram's payload.
    pub octets: &'a [u8],
    /// How many records from the front of the slice are in it; 0 if it holds templates only.
    pub records: usize,
}

/// What sending a message changes.
#[derive(Clone, Copy, Debug)]
struct Session {
    /// IPFIX: Data Records sent (RFC 7011 section 3.1); v9: Export Packets sent (RFC 3954 section 5.1).
    sequence_number: u32,
    schedule: TemplateSchedule,
}

impl Packer {
    /// A new session, which will begin with its templates and sequence number 0.
    ///
    /// # Errors
    /// If a record may not fit the message size, or the template refresh is too short.
    pub fn new(config: PackerConfig, templates: TemplateSet) -> Result<Self, MessageError> {
        check_message_size(&templates, config.message_size)?;
        if config.template_refresh < SHORTEST_TEMPLATE_REFRESH {
            return Err(MessageError::TemplateRefresh {
                period: config.template_refresh,
                least: SHORTEST_TEMPLATE_REFRESH,
            });
        }
        let schedule = TemplateSchedule::new(
            templates.templates().len(),
            config.template_refresh,
            config.template_refresh_messages,
        );
        Ok(Self {
            config,
            templates,
            octets: Octets::with_capacity(config.message_size),
            session: Session { sequence_number: 0, schedule },
            pending: None,
        })
    }

    /// The next message: the templates that are due, then as many records from the front of the slice
    /// as fit. With an empty slice a message comes only if templates are due.
    ///
    /// Unless it is committed, the next call builds it anew.
    pub fn next_message(&mut self, records: &[FlowRecord], now: Instant) -> Option<Message<'_>> {
        self.pending = None;
        let records_wait = !records.is_empty();
        let mut after = self.session;
        after.schedule.begin_message(now.monotonic, records_wait);
        if !records_wait && after.schedule.next_template().is_none() {
            return None;
        }

        let config = self.config;
        let templates = &self.templates;
        let up_time = SysUpTime::at_next_second(now, config.sys_up_time_origin);
        let context = Context { up_time, prefix_lengths: templates.prefix_lengths() };
        let size = aligned_size(config.message_size);
        let schedule = &mut after.schedule;
        let written = match templates.protocol() {
            Protocol::Ipfix => {
                let header = ipfix::MessageHeader {
                    length: 0,
                    export_time: (now.unix_nanos / NANOS_PER_SECOND) as u32,
                    sequence_number: after.sequence_number,
                    observation_domain_id: config.observation_domain_id,
                };
                let mut message = ipfix::OpenMessage::open(&mut self.octets, &header);
                let written = fill(message.sets(), size, templates, schedule, records, &context);
                after.sequence_number = after.sequence_number.wrapping_add(written.records as u32);
                written
            }
            Protocol::NetflowV9 => {
                let header = netflow_v9::PacketHeader {
                    count: 0,
                    sys_up_time: up_time.milliseconds,
                    unix_secs: up_time.unix_secs,
                    sequence_number: after.sequence_number,
                    source_id: config.observation_domain_id,
                };
                let mut packet = netflow_v9::OpenPacket::open(&mut self.octets, &header);
                let written = fill(packet.flow_sets(), size, templates, schedule, records, &context);
                packet.count(written.templates + written.records);
                after.sequence_number = after.sequence_number.wrapping_add(1);
                written
            }
        };
        after.schedule.end_message(written.templates, written.records, records_wait);
        self.pending = Some(after);
        Some(Message { octets: self.octets.as_slice(), records: written.records })
    }

    /// The last message was handed to the socket, or given up: sequence number and template schedule
    /// move on. A message given up leaves a gap in the sequence, by which the collector learns of it.
    /// Without a message this does nothing.
    pub fn commit(&mut self) {
        if let Some(after) = self.pending.take() {
            self.session = after;
        }
    }

    /// Sends templates again at once and then accelerated, as at the start: for a collector that came
    /// back (it forgot them), and after a step of the wall clock (RFC 3954 section 7).
    pub fn announce_templates(&mut self) {
        self.session.schedule.announce();
        if let Some(after) = &mut self.pending {
            after.schedule.announce();
        }
    }

    /// When templates are due even if no record waits: call [`next_message`](Self::next_message) then.
    /// In the past if they are due at once.
    pub fn template_deadline(&self) -> MonotonicNanos {
        self.session.schedule.deadline()
    }

    /// Octets that a message may have.
    pub fn message_size(&self) -> usize {
        self.config.message_size
    }

    /// Changes the size of the messages to come: the path MTU is now known, or has changed. A message
    /// that was not committed is to be built anew.
    ///
    /// # Errors
    /// If a record may not fit; the size stays as it was.
    pub fn set_message_size(&mut self, octets: usize) -> Result<(), MessageError> {
        check_message_size(&self.templates, octets)?;
        self.config.message_size = octets;
        self.pending = None;
        self.octets.clear();
        self.octets.reserve(octets);
        Ok(())
    }
}

/// Whether the largest record fits a message of this size, alone.
fn check_message_size(templates: &TemplateSet, octets: usize) -> Result<(), MessageError> {
    let protocol = templates.protocol();
    let header = match protocol {
        Protocol::Ipfix => ipfix::MessageHeader::LEN,
        Protocol::NetflowV9 => netflow_v9::PacketHeader::LEN,
    };
    let longest = templates
        .templates()
        .iter()
        .map(|template| template.template_record_len.max(template.data_record_len))
        .max()
        .unwrap_or(0);
    let least = header + Set::HEADER_LEN + longest;
    if aligned_size(octets) < least || octets > LARGEST_MESSAGE {
        let least = least.next_multiple_of(4);
        return Err(MessageError::MessageSize { protocol, octets, least, most: LARGEST_MESSAGE });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use netflow_common::{FlowCounters, FlowKey, IpVersion};

    use super::{super::TemplateOptions, *};
    use crate::record::FlowEndReason;

    fn new_packer(protocol: Protocol, message_size: usize) -> Result<Packer, MessageError> {
        Packer::new(config(message_size), TemplateSet::new(&TemplateOptions::new(protocol)).unwrap())
    }

    fn config(message_size: usize) -> PackerConfig {
        PackerConfig {
            observation_domain_id: 7,
            template_refresh: Duration::from_secs(60),
            template_refresh_messages: NonZeroU32::new(20).unwrap(),
            sys_up_time_origin: MonotonicNanos(0),
            message_size,
        }
    }

    fn records(ip_version: u8, count: usize) -> Vec<FlowRecord> {
        let key = FlowKey { ip_version, ..FlowKey::default() };
        let reason = FlowEndReason::IdleTimeout;
        vec![FlowRecord::new(key, FlowCounters::default(), reason, &Instant::default()); count]
    }

    /// The sequence number of the next message and how many records it takes; the message is sent.
    fn send(packer: &mut Packer, records: &[FlowRecord]) -> (u32, usize) {
        let offset = match packer.templates.protocol() {
            Protocol::Ipfix => 8,
            Protocol::NetflowV9 => 12,
        };
        let message = packer.next_message(records, Instant::default()).unwrap();
        let sequence = u32::from_be_bytes(message.octets[offset..offset + 4].try_into().unwrap());
        let sent = (sequence, message.records);
        packer.commit();
        sent
    }

    #[test]
    fn ipfix_counts_data_records_and_v9_counts_packets_modulo_2_to_the_32() {
        // IPFIX-SEQ-2, V9-HDR-3
        let records = records(IpVersion::V4, 3);
        let mut ipfix = new_packer(Protocol::Ipfix, 1472).unwrap();
        ipfix.session.sequence_number = u32::MAX - 1;
        assert_eq!(send(&mut ipfix, &records), (u32::MAX - 1, 3));
        assert_eq!(send(&mut ipfix, &records), (1, 3));

        let mut v9 = new_packer(Protocol::NetflowV9, 1472).unwrap();
        v9.session.sequence_number = u32::MAX;
        assert_eq!(send(&mut v9, &records), (u32::MAX, 3));
        assert_eq!(send(&mut v9, &records), (0, 3));
    }

    #[test]
    fn a_session_starts_at_zero_and_templates_do_not_advance_ipfix() {
        // IPFIX-SEQ-1, IPFIX-SEQ-3, V9-HDR-3
        for (protocol, expected) in [(Protocol::Ipfix, [0, 0, 2]), (Protocol::NetflowV9, [0, 1, 2])] {
            let mut packer = new_packer(protocol, 1472).unwrap();
            let records = records(IpVersion::V6, 2);
            let sent = [&[][..], &records, &records].map(|records| send(&mut packer, records).0);
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn a_message_that_was_not_committed_is_built_anew_and_smaller() {
        let records = records(IpVersion::V4, 50);
        let mut packer = new_packer(Protocol::Ipfix, 1472).unwrap();
        let now = Instant::default();
        assert_eq!(packer.next_message(&records, now).unwrap().records, 18);
        packer.set_message_size(484).unwrap();
        packer.commit();
        assert_eq!(packer.message_size(), 484);
        let message = packer.next_message(&records, now).unwrap();
        assert_eq!(message.records, 4);
        // Version, Length, Export Time, Sequence Number 0, domain, and the templates as before.
        assert_eq!(message.octets[..4], [0, 10, 1, 0xe0]);
        assert_eq!(message.octets[8..18], [0, 0, 0, 0, 0, 0, 0, 7, 0, 2]);
    }

    #[test]
    fn a_commit_without_a_message_does_nothing() {
        let mut packer = new_packer(Protocol::NetflowV9, 1472).unwrap();
        packer.commit();
        assert_eq!(send(&mut packer, &[]).0, 0);
        packer.commit();
        packer.commit();
        assert!(packer.next_message(&[], Instant::default()).is_none());
        packer.commit();
        assert_eq!(send(&mut packer, &records(IpVersion::V4, 1)).0, 1);
    }

    #[test]
    fn an_announcement_survives_the_commit_of_the_message_before() {
        let mut packer = new_packer(Protocol::Ipfix, 1472).unwrap();
        assert!(packer.next_message(&[], Instant::default()).is_some());
        packer.announce_templates();
        packer.commit();
        assert_eq!(packer.template_deadline(), MonotonicNanos(0));
        assert!(packer.next_message(&[], Instant::default()).is_some());
    }

    #[test]
    fn a_message_size_that_cannot_hold_every_record_is_refused() {
        // UDP-MTU-5
        for (protocol, least) in [(Protocol::Ipfix, 132), (Protocol::NetflowV9, 124)] {
            let most = LARGEST_MESSAGE;
            let mut packer = new_packer(protocol, least).unwrap();
            for octets in [0, least - 1, most + 1] {
                let refused = MessageError::MessageSize { protocol, octets, least, most };
                assert_eq!(new_packer(protocol, octets).unwrap_err(), refused);
                assert_eq!(packer.set_message_size(octets), Err(refused));
            }
            assert_eq!(packer.message_size(), least);
        }
    }

    #[test]
    fn a_template_refresh_without_length_is_refused() {
        let config = PackerConfig { template_refresh: Duration::ZERO, ..config(1472) };
        let templates = TemplateSet::new(&TemplateOptions::new(Protocol::Ipfix)).unwrap();
        assert!(matches!(Packer::new(config, templates), Err(MessageError::TemplateRefresh { .. })));
    }

    #[test]
    fn building_messages_allocates_nothing() {
        let records = records(IpVersion::V4, 2000);
        let mut packer = new_packer(Protocol::Ipfix, LARGEST_MESSAGE).unwrap();
        let before = packer.octets.as_slice().as_ptr();
        assert_eq!(send(&mut packer, &records).1, 946);
        assert_eq!(packer.octets.as_slice().as_ptr(), before);
    }
}
