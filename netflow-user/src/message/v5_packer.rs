//! One v5 session's datagrams: fills them with records, keeps the sequence.
//!
//! In: a slice of Flow Records and the time. Out: one finished datagram at a time. This module refuses to know how a
//! datagram is sent, and what becomes of records that v5 has no words for ([`V5Packer::can_say`]).

use std::num::NonZeroU32;

use crate::{
    record::FlowRecord,
    time::{Instant, MonotonicNanos},
};

use super::{
    MessageError, OptionsData, SamplingMethod,
    netflow_v5::{PacketHeader, Record},
    octets::Octets,
    packer::Message,
    sys_up_time::SysUpTime,
};

/// Modes of sampling in the header.
const EVERY_NTH: u16 = 1 << 14;
const RANDOM: u16 = 2 << 14;
/// The largest interval that 14 bits state.
pub const LARGEST_INTERVAL: u32 = (1 << 14) - 1;

/// What a v5 session is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V5PackerConfig {
    /// Engine type and engine id in one number: the observation domain.
    pub observation_domain_id: u32,
    /// How packets are sampled.
    pub sampling: Option<SamplingMethod>,
    /// Leading bits of source and destination address in the Flow Key, where it has no whole ones.
    pub prefix_lengths: [Option<u8>; 2],
    /// Where sysUpTime is 0.
    pub sys_up_time_origin: MonotonicNanos,
    /// Octets that a datagram may have: the path MTU without the IP and UDP headers.
    pub message_size: usize,
}

/// Builds the datagrams of one v5 session: as [`Packer`](super::Packer), without templates.
#[derive(Debug)]
pub struct V5Packer {
    config: V5PackerConfig,
    engine: u16,
    one_in: Option<NonZeroU32>,
    octets: Octets,
    session: Session,
    /// The session as it will be once the datagram in `octets` is sent.
    pending: Option<Session>,
}

/// Where a session stands between two datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V5Mark(Session);

/// What sending a datagram changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Session {
    /// Records sent.
    flow_sequence: u32,
    /// Parts that were sent of the flow at the front, which needs several records.
    parts: u64,
}

impl V5Packer {
    /// A new session.
    ///
    /// # Errors
    /// If no record fits the message size, or the observation domain does not fit engine type and id.
    pub fn new(config: V5PackerConfig) -> Result<Self, MessageError> {
        let engine = u16::try_from(config.observation_domain_id)
            .map_err(|_| MessageError::EngineOfV5 { given: config.observation_domain_id })?;
        check_message_size(config.message_size)?;
        Ok(Self {
            config,
            engine,
            one_in: None,
            octets: Octets::with_capacity(config.message_size),
            session: Session::default(),
            pending: None,
        })
    }

    /// Whether v5 has words for a record: it knows IPv4, and one direction (V5-REC-3).
    pub fn can_say(record: &FlowRecord) -> bool {
        record.key.is_ipv4() && record.reverse.is_none()
    }

    /// Sampling is stated in each header.
    pub fn set_options_data(&mut self, data: &OptionsData) {
        self.one_in = data.sampled_one_in;
        self.pending = None;
    }

    /// The next datagram, with as many records from the front of the slice as fit; `None` without records. All of
    /// them must be such as v5 [can say](Self::can_say). A flow whose counters pass 32 bits takes several records, and
    /// counts as taken with the last of them.
    ///
    /// Unless it is committed, the next call builds it anew.
    pub fn next_message(&mut self, records: &[FlowRecord], now: Instant) -> Option<Message<'_>> {
        self.pending = None;
        if records.is_empty() {
            return None;
        }
        let up_time = SysUpTime::at_next_millisecond(now, self.config.sys_up_time_origin);
        let room = records_of(self.config.message_size);
        self.octets.clear();
        let mut after = self.session;
        let mut written = Vec::with_capacity(room);
        let mut taken = 0;
        for record in records {
            let parts = Record::parts_of(record);
            let free = (room - written.len()) as u64;
            let end = parts.min(after.parts + free);
            let masks = self.masks(record);
            written.extend((after.parts..end).map(|part| Record::new(record, part, &up_time, masks)));
            after.parts = end;
            if end < parts {
                break;
            }
            after.parts = 0;
            taken += 1;
            if written.len() == room {
                break;
            }
        }
        let header = PacketHeader {
            count: written.len() as u16,
            sys_up_time: up_time.milliseconds,
            unix_secs: up_time.unix_secs,
            unix_nsecs: up_time.unix_nsecs,
            flow_sequence: after.flow_sequence,
            engine: self.engine,
            sampling: self.sampling(),
        };
        header.encode(&mut self.octets);
        written.iter().for_each(|record| record.encode(&mut self.octets));
        after.flow_sequence = after.flow_sequence.wrapping_add(written.len() as u32);
        self.pending = Some(after);
        Some(Message { octets: self.octets.as_slice(), records: taken })
    }

    /// The last datagram was handed to the socket, or given up, which leaves a gap in the sequence.
    pub fn commit(&mut self) {
        if let Some(after) = self.pending.take() {
            self.session = after;
        }
    }

    /// As [`Packer::mark`](super::Packer::mark).
    pub fn mark(&self) -> V5Mark {
        V5Mark(self.session)
    }

    /// As [`Packer::rewind`](super::Packer::rewind).
    pub fn rewind(&mut self, mark: V5Mark) {
        (self.session, self.pending) = (mark.0, None);
    }

    /// A new session.
    pub fn restart(&mut self) {
        (self.session, self.pending) = (Session::default(), None);
    }

    /// Octets that a datagram may have.
    pub fn message_size(&self) -> usize {
        self.config.message_size
    }

    /// Changes the size of the datagrams to come.
    ///
    /// # Errors
    /// If no record fits; the size stays as it was.
    pub fn set_message_size(&mut self, octets: usize) -> Result<(), MessageError> {
        check_message_size(octets)?;
        self.config.message_size = octets;
        self.pending = None;
        Ok(())
    }

    fn masks(&self, record: &FlowRecord) -> [u8; 2] {
        let [source, destination] = self.config.prefix_lengths;
        let route = &record.route;
        [source.unwrap_or(route.source_prefix_length), destination.unwrap_or(route.destination_prefix_length)]
    }

    /// V5-HDR-5. (The interval was looked at when the session was configured; steps of overload end at 1024.)
    fn sampling(&self) -> u16 {
        let mode = match self.config.sampling {
            None => return 0,
            Some(SamplingMethod::Count) => EVERY_NTH,
            Some(SamplingMethod::Random | SamplingMethod::FlowHash) => RANDOM,
        };
        self.one_in.map_or(0, |one_in| mode | one_in.get().min(LARGEST_INTERVAL) as u16)
    }
}

/// How many records a datagram has room for.
fn records_of(message_size: usize) -> usize {
    (message_size.saturating_sub(PacketHeader::LEN) / Record::LEN).min(PacketHeader::MOST_RECORDS)
}

fn check_message_size(octets: usize) -> Result<(), MessageError> {
    let least = PacketHeader::LEN + Record::LEN;
    if octets < least { Err(MessageError::MessageSizeOfV5 { octets, least }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use netflow_common::{FlowCounters, FlowKey, IpVersion};

    use super::*;
    use crate::record::FlowEndReason;

    const NOW: Instant =
        Instant { monotonic: MonotonicNanos(100_000_000_000), unix_nanos: 1_767_225_600_000_000_000 };
    const CONFIG: V5PackerConfig = V5PackerConfig {
        observation_domain_id: 0x0102,
        sampling: None,
        prefix_lengths: [None; 2],
        sys_up_time_origin: MonotonicNanos(0),
        message_size: 1472,
    };

    fn flow(octets: u64) -> FlowRecord {
        let key = FlowKey { ip_version: IpVersion::V4, ..FlowKey::default() };
        let counters = FlowCounters { packets: 1, octets, ..FlowCounters::default() };
        FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &NOW)
    }

    /// Count, flow_sequence, octets of the records; records taken.
    fn send(packer: &mut V5Packer, records: &[FlowRecord]) -> (usize, u32, u64, usize) {
        let message = packer.next_message(records, NOW).unwrap();
        let number = |at: usize| u32::from_be_bytes(message.octets[at..at + 4].try_into().unwrap());
        let count = usize::from(u16::from_be_bytes([message.octets[2], message.octets[3]]));
        assert_eq!(message.octets.len(), 24 + 48 * count);
        let octets = (0..count).map(|record| u64::from(number(24 + 48 * record + 20))).sum();
        let found = (count, number(16), octets, message.records);
        packer.commit();
        found
    }

    #[test]
    fn a_datagram_has_at_most_30_records_and_counts_those_before_it() {
        // V5-HDR-1, V5-HDR-2, V5-HDR-3
        let mut packer = V5Packer::new(CONFIG).unwrap();
        let records = vec![flow(40); 31];
        assert_eq!(send(&mut packer, &records), (30, 0, 1200, 30));
        assert_eq!(send(&mut packer, &records[30..]), (1, 30, 40, 1));
        assert!(packer.next_message(&[], NOW).is_none());
        assert_eq!(send(&mut packer, &records[..2]), (2, 31, 80, 2));
    }

    #[test]
    fn a_datagram_that_is_not_committed_is_built_anew() {
        let mut packer = V5Packer::new(CONFIG).unwrap();
        packer.next_message(&[flow(1 << 40)], NOW).unwrap();
        packer.set_message_size(24 + 2 * 48).unwrap();
        assert_eq!(send(&mut packer, &[flow(40), flow(41), flow(42)]), (2, 0, 81, 2));
        assert!(packer.set_message_size(71).is_err());
    }

    #[test]
    fn a_flow_that_needs_many_records_goes_on_in_the_next_datagrams_and_adds_up() {
        // V5-REC-4: 70 records.
        let octets = 70 * u64::from(u32::MAX);
        let records = [flow(100), flow(octets), flow(200)];
        let mut packer = V5Packer::new(CONFIG).unwrap();
        let (mut sum, mut done, mut counts) = (0, 0, Vec::new());
        while done < records.len() {
            let (count, _, octets, taken) = send(&mut packer, &records[done..]);
            counts.push((count, taken));
            (sum, done) = (sum + octets, done + taken);
        }
        assert_eq!(sum, octets + 300);
        assert_eq!(counts, [(30, 1), (30, 0), (12, 2)]);
    }

    #[test]
    fn sampling_is_stated_in_the_header() {
        // V5-HDR-5
        for (method, one_in, expected) in [
            (None, 100, 0),
            (Some(SamplingMethod::Count), 100, 0x4064),
            (Some(SamplingMethod::Random), 16_383, 0xbfff),
        ] {
            let mut packer = V5Packer::new(V5PackerConfig { sampling: method, ..CONFIG }).unwrap();
            let data = OptionsData { sampled_one_in: NonZeroU32::new(one_in), ..OptionsData::default() };
            packer.set_options_data(&data);
            let octets = packer.next_message(&[flow(1)], NOW).unwrap().octets.to_vec();
            assert_eq!(u16::from_be_bytes([octets[22], octets[23]]), expected);
        }
    }

    #[test]
    fn the_observation_domain_is_engine_type_and_id() {
        let mut packer = V5Packer::new(CONFIG).unwrap();
        assert_eq!(packer.next_message(&[flow(1)], NOW).unwrap().octets[20..22], [1, 2]);
        let refused = V5Packer::new(V5PackerConfig { observation_domain_id: 65_536, ..CONFIG }).unwrap_err();
        assert!(refused.to_string().contains("65536"), "{refused}");
    }
}
