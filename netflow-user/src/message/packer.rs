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
    MessageError, Protocol, Reported, TemplateSet,
    data_record::Context,
    fill::{Filling, Schedules},
    ipfix, netflow_v9,
    octets::Octets,
    options::{self, OptionsData, OptionsRecord, Scope, Statistics},
    schedule::Schedule,
    set::aligned_size,
    sys_up_time::SysUpTime,
};

mod size;

use size::check_message_size;

/// A round takes time: below this, messages would hold little else.
const SHORTEST_REFRESH: Duration = Duration::from_millis(1);
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// What moves the wall clock further from one message to the next is no correction of its rate.
const STEP: Duration = Duration::from_secs(1);

/// What a Transport Session is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackerConfig {
    /// Observation Domain ID; in v9 the Source ID.
    pub observation_domain_id: u32,
    /// Templates are sent again after this time, and three times as often at first.
    pub template_refresh: Duration,
    /// Templates are sent again after so many messages with data.
    pub template_refresh_messages: NonZeroU32,
    /// Options data are sent again after this time, and three times as often at first.
    pub options_refresh: Duration,
    /// Statistics are sent after this time, and three times as often at first.
    pub statistics_interval: Duration,
    /// The exporter's IPv4 address, scope of v9's options data; zero without one.
    pub exporter_address: [u8; 4],
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
/// #     template_refresh_messages: NonZeroU32::MIN, options_refresh: Duration::from_secs(60),
/// #     statistics_interval: Duration::from_secs(60), exporter_address: [0; 4], sys_up_time_origin: MonotonicNanos(0), message_size: 1472,
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
    options_data: OptionsData,
    options: Vec<OptionsRecord>,
    statistics: Statistics,
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
    /// How many records from the front of the slice are in it; 0 if it holds templates or options data only.
    pub records: usize,
}

/// Where a session stands between two messages.
#[derive(Clone, Copy, Debug)]
pub struct Mark(Session);

/// What sending a message changes.
#[derive(Clone, Copy, Debug)]
struct Session {
    /// IPFIX: Data Records sent, options records too (RFC 7011 section 3.1); v9: Export Packets sent (RFC 3954
    /// section 5.1).
    sequence_number: u32,
    /// Parts that were sent of the record at the front, whose counters do not fit one Data Record.
    parts: u64,
    schedules: Schedules,
    /// How far the wall clock was ahead of the monotonic one, in nanoseconds.
    clock_offset: Option<i128>,
}

impl Session {
    /// Announces everything anew where the wall clock was set since the last message (RFC 3954 section 7).
    fn notice_step(&mut self, now: Instant) {
        let offset = i128::from(now.unix_nanos) - i128::from(now.monotonic.0);
        let before = self.clock_offset.replace(offset).unwrap_or(offset);
        if offset.abs_diff(before) > STEP.as_nanos() {
            self.schedules.templates.announce();
            self.schedules.options.announce();
        }
    }
}

fn check_periods(config: &PackerConfig) -> Result<(), MessageError> {
    let periods = [config.template_refresh, config.options_refresh, config.statistics_interval];
    match periods.into_iter().find(|&period| period < SHORTEST_REFRESH) {
        Some(period) => Err(MessageError::Refresh { period, least: SHORTEST_REFRESH }),
        None => Ok(()),
    }
}

impl PackerConfig {
    fn scope(&self) -> Scope {
        let Self { observation_domain_id, exporter_address, .. } = *self;
        Scope { observation_domain_id, exporter_address }
    }
}

impl Packer {
    /// A new session, which will begin with its templates and sequence number 0.
    ///
    /// # Errors
    /// If a record may not fit the message size, or a refresh is too short.
    pub fn new(config: PackerConfig, templates: TemplateSet) -> Result<Self, MessageError> {
        check_message_size(&templates, config.message_size)?;
        check_periods(&config)?;
        let items = templates.templates().len() + templates.options_templates().len();
        let options_data = OptionsData::default();
        let options = options::records(&templates, &options_data, config.scope());
        let schedules = Schedules {
            templates: Schedule::of_templates(
                items,
                config.template_refresh,
                config.template_refresh_messages,
            ),
            options: Schedule::of_options(options.len(), config.options_refresh),
            statistics: Schedule::of_statistics(
                statistics_records(&config, &templates, &Statistics::default(), Instant::default()).len(),
                config.statistics_interval,
            ),
            told: [0; 2],
        };
        Ok(Self {
            config,
            templates,
            options_data,
            options,
            statistics: Statistics::default(),
            octets: Octets::with_capacity(config.message_size),
            session: Session { sequence_number: 0, parts: 0, schedules, clock_offset: None },
            pending: None,
        })
    }

    /// Templates, options data and statistics are sent again as this configuration says from now on, and statistics say
    /// these timeouts; nothing else of it is looked at.
    ///
    /// # Errors
    /// One of them is too short; nothing has changed.
    pub fn set_periods(
        &mut self,
        config: &PackerConfig,
        reported: Option<Reported>,
    ) -> Result<(), MessageError> {
        check_periods(config)?;
        let PackerConfig {
            template_refresh,
            template_refresh_messages,
            options_refresh,
            statistics_interval,
            ..
        } = *config;
        let schedules = &mut self.session.schedules;
        schedules.templates.set_period(template_refresh, Some(template_refresh_messages));
        schedules.options.set_period(options_refresh, None);
        schedules.statistics.set_period(statistics_interval, None);
        self.config = PackerConfig {
            template_refresh,
            template_refresh_messages,
            options_refresh,
            statistics_interval,
            ..self.config
        };
        self.templates.set_reported(reported);
        self.pending = None;
        Ok(())
    }

    /// What options data say from now on. A change is announced at once, before further records; a message that was
    /// not committed is to be built anew.
    pub fn set_options_data(&mut self, data: &OptionsData) {
        if self.options_data == *data {
            return;
        }
        self.options_data.clone_from(data);
        let options = options::records(&self.templates, data, self.config.scope());
        if options != self.options {
            self.session.schedules.options.replace(options.len());
            self.options = options;
            self.pending = None;
        }
    }

    /// What statistics say in the messages to come: what was done before them.
    pub fn set_statistics(&mut self, statistics: &Statistics) {
        self.statistics = *statistics;
    }

    /// Whether anybody is told of statistics.
    pub fn has_statistics(&self) -> bool {
        self.templates.options_kinds().statistics.is_some()
    }

    /// Whether the next message will tell statistics: they are to be [set](Self::set_statistics) before it.
    pub fn tells_statistics(&self, records_wait: bool, now: Instant) -> bool {
        let mut statistics = self.session.schedules.statistics;
        statistics.begin_message(now.monotonic, records_wait);
        statistics.next_item().is_some()
    }

    /// Tells statistics once more: everything else has been sent.
    pub fn announce_statistics(&mut self) {
        self.session.schedules.statistics.announce();
        self.pending = None;
    }

    /// The next message: the templates and options data that are due, then as many records from the front of the
    /// slice as fit. With an empty slice a message comes only if something is due.
    ///
    /// Unless it is committed, the next call builds it anew.
    pub fn next_message(&mut self, records: &[FlowRecord], now: Instant) -> Option<Message<'_>> {
        self.pending = None;
        let records_wait = !records.is_empty();
        let mut after = self.session;
        if self.templates.protocol() == Protocol::NetflowV9 {
            after.notice_step(now);
        }
        let Schedules { templates: due, options: options_due, statistics: statistics_due, .. } =
            &mut after.schedules;
        due.begin_message(now.monotonic, records_wait);
        options_due.begin_message(now.monotonic, records_wait);
        statistics_due.begin_message(now.monotonic, records_wait);
        let is_due = [&*due, options_due, statistics_due].iter().any(|due| due.next_item().is_some());
        if !records_wait && !is_due {
            return None;
        }
        let statistics = match statistics_due.next_item() {
            Some(_) => statistics_records(&self.config, &self.templates, &self.statistics, now),
            None => Vec::new(),
        };

        let config = self.config;
        let templates = &self.templates;
        let up_time = SysUpTime::at_next_second(now, config.sys_up_time_origin);
        let context = Context { up_time, prefix_lengths: templates.prefix_lengths() };
        let filling = Filling {
            size: aligned_size(config.message_size),
            templates,
            options: &self.options,
            statistics: &statistics,
            records,
            context,
            parts: after.parts,
        };
        let (written, parts) = match templates.protocol() {
            Protocol::Ipfix => {
                let header = ipfix::MessageHeader {
                    length: 0,
                    export_time: (now.unix_nanos / NANOS_PER_SECOND) as u32,
                    sequence_number: after.sequence_number,
                    observation_domain_id: config.observation_domain_id,
                };
                let mut message = ipfix::OpenMessage::open(&mut self.octets, &header);
                let written = filling.fill(message.sets(), &mut after.schedules);
                let data_records = written.0.options + written.0.data_records;
                after.sequence_number = after.sequence_number.wrapping_add(data_records as u32);
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
                let written = filling.fill(packet.flow_sets(), &mut after.schedules);
                packet.count(written.0.templates + written.0.options + written.0.data_records);
                after.sequence_number = after.sequence_number.wrapping_add(1);
                written
            }
        };
        after.parts = parts;
        after.schedules.templates.end_message(written.templates, written.data_records, records_wait);
        after.schedules.options.end_message(written.options, written.data_records, records_wait);
        after.schedules.statistics.end_message(written.options, written.data_records, records_wait);
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

    /// Where the session stands: what [`rewind`](Self::rewind) goes back to.
    pub fn mark(&self) -> Mark {
        Mark(self.session)
    }

    /// Takes back all messages that were committed since the mark: none of them was handed to the socket. Options data
    /// must be those of then.
    pub fn rewind(&mut self, mark: Mark) {
        self.session = mark.0;
        self.pending = None;
    }

    /// So many records were discarded, and are missing in IPFIX's Sequence Numbers from now on (RFC 7011 section 10.4.1).
    pub fn skip(&mut self, records: u64) {
        if self.templates.protocol() == Protocol::Ipfix {
            self.session.sequence_number = self.session.sequence_number.wrapping_add(records as u32);
            self.pending = None;
        }
    }

    /// Sends templates and options data again at once and then accelerated, as at the start: for a collector that
    /// came back (it forgot them).
    pub fn announce_templates(&mut self) {
        for session in [Some(&mut self.session), self.pending.as_mut()].into_iter().flatten() {
            session.schedules.templates.announce();
            session.schedules.options.announce();
        }
    }

    /// Begins another Transport Session with the same templates: sequence numbers begin at 0, and templates and options
    /// data go first.
    pub fn restart(&mut self) {
        let items = self.templates.templates().len() + self.templates.options_templates().len();
        let schedules = &mut self.session.schedules;
        schedules.templates.replace(items);
        schedules.options.replace(self.options.len());
        schedules.statistics.announce();
        self.session.sequence_number = 0;
        self.pending = None;
    }

    /// What records are told by.
    pub fn templates(&self) -> &TemplateSet {
        &self.templates
    }

    /// Template Records and Options Template Records in all messages so far, those of earlier sessions too.
    pub fn told(&self) -> [u64; 2] {
        self.session.schedules.told
    }

    /// When templates or options data are due even if no record waits: call [`next_message`](Self::next_message) then.
    /// In the past if they are due at once.
    pub fn template_deadline(&self) -> MonotonicNanos {
        let Schedules { templates, options, statistics, .. } = &self.session.schedules;
        templates.deadline().min(options.deadline()).min(statistics.deadline())
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

/// What statistics say now.
fn statistics_records(
    config: &PackerConfig,
    templates: &TemplateSet,
    statistics: &Statistics,
    now: Instant,
) -> Vec<OptionsRecord> {
    let start = now.unix_millis_of(config.sys_up_time_origin);
    options::statistics_records(templates, statistics, start, config.scope())
}

#[cfg(test)]
mod tests;
