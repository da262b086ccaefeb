//! One session of v5.

use std::num::NonZeroU32;

use netflow_parser::static_versions::v5::{FlowSet, V5};
use netflow_user::message::{OptionsData, SamplingMethod, V5Packer, V5PackerConfig};
use netflow_user::record::FlowRecord;
use netflow_user::time::{Instant, MonotonicNanos};

use crate::asked::key;
use crate::decoder::Decoder;
use crate::flow::{self, Kind};
use crate::random::Random;
use crate::session::Tally;

/// Sends some hundred records, as an agent would, and judges each datagram.
pub fn run(random: &mut Random, tally: &mut Tally) {
    let key = key(random);
    let prefix =
        |id| key.elements.iter().find(|part| part.element.id() == id).and_then(|part| part.prefix_length);
    let mut now = MonotonicNanos(5_000_000_000_000_000 + random.next() % 5_000_000_000_000_000);
    // V5 states seconds in 32 bits.
    let offset = 1_700_000_000_000_000_000 + random.next() % 1_000_000_000_000_000_000;
    let engine = random.next() as u16;
    let size = |random: &mut Random| [72, 1472, 72 + random.below(1400), 65_535][random.below(4)];
    let mut message_size = size(random);
    let sampling = random.of(&[None, Some(SamplingMethod::Count), Some(SamplingMethod::Random)]);
    let config = V5PackerConfig {
        observation_domain_id: engine.into(),
        sampling,
        prefix_lengths: [prefix(8), prefix(12)],
        sys_up_time_origin: MonotonicNanos(random.next() % now.0),
        message_size,
    };
    let mut packer = V5Packer::new(config).unwrap();
    let kind =
        Kind { masks: key.masks, is_wide: key.masks.is_some(), biflow: false, is_v5: true, is_split: false };
    let mut decoder = Decoder::new();
    let (mut sequence, mut boot, mut interval) = (0_u32, None, 0);
    for _ in 0..10 {
        now.0 += random.next() % 60_000_000_000;
        let now = Instant { monotonic: now, unix_nanos: offset + now.0 };
        if random.one_in(3) {
            let one_in = 1 + random.below(16_383) as u32;
            let mode = match sampling {
                None => 0,
                Some(SamplingMethod::Count) => 0x4000 | one_in as u16,
                Some(_) => 0x8000 | one_in as u16,
            };
            interval = mode;
            packer.set_options_data(&OptionsData {
                sampled_one_in: NonZeroU32::new(one_in),
                ..OptionsData::default()
            });
        }
        let records = random.of(&[0, 1, 7, 100]);
        let records: Vec<FlowRecord> = (0..records).map(|_| flow::any(random, &kind, now).record).collect();
        let (mut done, mut sent) = (0, Vec::new());
        while let Some(message) = packer.next_message(&records[done..], now) {
            let (octets, taken) = (message.octets.to_vec(), message.records);
            assert!(octets.len() <= message_size);
            if random.one_in(10) {
                message_size = size(random);
                packer.set_message_size(message_size).unwrap();
                continue;
            }
            packer.commit();
            let datagram = decoder.v5(&octets);
            let header = datagram.header;
            // V5-HDR-1, V5-HDR-2, V5-HDR-3, V5-HDR-4, V5-HDR-5
            assert_eq!(octets.len(), 24 + 48 * usize::from(header.count));
            assert!((1..=30).contains(&header.count));
            assert_eq!(header.flow_sequence, sequence);
            sequence = sequence.wrapping_add(header.count.into());
            let millis = u64::from(header.unix_secs) * 1000 + u64::from(header.unix_nsecs / 1_000_000);
            let booted = (millis as u32).wrapping_sub(header.sys_up_time);
            assert!(booted.wrapping_sub(*boot.get_or_insert(booted)).wrapping_add(2) <= 4);
            assert_eq!(millis, now.unix_nanos.div_ceil(1_000_000));
            assert_eq!([header.engine_type, header.engine_id], engine.to_be_bytes());
            assert_eq!(header.sampling_interval, interval);
            sent.extend(datagram.flowsets.iter().map(|record| (times(&datagram, record), record.clone())));
            done += taken;
            tally.messages += 1;
        }
        assert_eq!(done, records.len());
        tally.records += done as u64;
        let mut sent = sent.iter();
        for record in &records {
            judge(record, &mut sent, config.prefix_lengths);
        }
        assert!(sent.next().is_none());
    }
    tally.sessions += 1;
}

/// First and Last on the wall clock, in milliseconds.
fn times(datagram: &V5, record: &FlowSet) -> [u64; 2] {
    let header = datagram.header;
    let now = u64::from(header.unix_secs) * 1000 + u64::from(header.unix_nsecs / 1_000_000);
    [record.first, record.last].map(|time| {
        // V5-REC-2
        let before = header.sys_up_time.wrapping_sub(time);
        assert!(before <= i32::MAX as u32);
        now - u64::from(before)
    })
}

/// The records of one flow are the next ones: as few as their counters have room for, and equal to it in sum.
fn judge<'a>(
    flow: &FlowRecord,
    sent: &mut impl Iterator<Item = &'a ([u64; 2], FlowSet)>,
    prefixes: [Option<u8>; 2],
) {
    let FlowRecord { key, counters, route, .. } = flow;
    let most = u64::from(u32::MAX);
    let parts = counters.packets.div_ceil(most).max(counters.octets.div_ceil(most)).max(1);
    let (mut packets, mut octets) = (0, 0);
    let index = |index: u32| u16::try_from(index).unwrap_or(0);
    let interfaces =
        if key.direction == 1 { [0, key.interface] } else { [key.interface, route.egress_interface] };
    for _ in 0..parts {
        let (times, record) = sent.next().expect("a record for each part");
        packets += u64::from(record.d_pkts);
        octets += u64::from(record.d_octets);
        // V5-REC-1, V5-REC-5
        assert_eq!((record.pad1, record.pad2, record.src_as, record.dst_as), (0, 0, 0, 0));
        assert_eq!([record.input, record.output], interfaces.map(index));
        assert_eq!(record.src_addr.octets(), key.source_address.ipv4_octets());
        assert_eq!(record.dst_addr.octets(), key.destination_address.ipv4_octets());
        assert_eq!(record.next_hop.octets(), route.next_hop.ipv4_octets());
        assert_eq!(*times, [flow.start.0, flow.end.0]);
        assert_eq!(
            (record.src_port, record.dst_port),
            (key.source_port.value(), key.destination_port.value())
        );
        assert_eq!(record.tcp_flags, counters.tcp_control_bits as u8);
        assert_eq!((record.protocol_number, record.tos), (key.protocol, key.class_of_service));
        assert_eq!(record.src_mask, prefixes[0].unwrap_or(route.source_prefix_length));
        assert_eq!(record.dst_mask, prefixes[1].unwrap_or(route.destination_prefix_length));
    }
    // V5-REC-4
    assert_eq!((packets, octets), (counters.packets, counters.octets));
}
