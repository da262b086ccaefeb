//! What else moves a session, or does not: messages that did not go, records that were discarded, a clock that was set.

use super::*;
use crate::message::ONCE;

#[test]
fn messages_that_did_not_go_are_taken_back_with_their_templates_and_numbers() {
    let records = records(IpVersion::V4, 100);
    for protocol in [Protocol::Ipfix, Protocol::NetflowV9] {
        let mut packer = new_packer(protocol, 1472).unwrap();
        let start = packer.mark();
        let first = send(&mut packer, &records);
        let behind = packer.mark();
        let second = send(&mut packer, &records);
        send(&mut packer, &records);
        packer.rewind(behind);
        assert_eq!(send(&mut packer, &records), second);
        packer.rewind(start);
        // Fewer records beside the templates.
        assert_eq!((send(&mut packer, &records), first.1 < second.1), (first, true));
    }
}

#[test]
fn after_a_step_of_the_wall_clock_v9_templates_are_sent_again_and_accelerated() {
    // V9-TMPL-9
    let mut packer = new_packer(Protocol::NetflowV9, 1472).unwrap();
    let mut rounds = Vec::new();
    for second in 0..400 {
        let nanos = second * NANOS_PER_SECOND;
        // The wall clock gains 10 ms in each second; then it is set back by an hour.
        let wall = 10_000 * NANOS_PER_SECOND + second * 10_000_000;
        let wall = wall - if second < 210 { 0 } else { 3600 * NANOS_PER_SECOND };
        let now = Instant { monotonic: MonotonicNanos(nanos), unix_nanos: nanos + wall };
        if packer.next_message(&[], now).is_some() {
            rounds.push(second);
        }
        packer.commit();
    }
    assert_eq!(rounds, [0, 20, 40, 60, 120, 180, 210, 230, 250, 270, 330, 390]);
}

#[test]
fn records_that_were_discarded_are_a_gap_in_the_numbers_of_ipfix() {
    // IPFIX-SEQ-7
    let records = records(IpVersion::V4, 3);
    for (protocol, behind) in [(Protocol::Ipfix, 13), (Protocol::NetflowV9, 1)] {
        let mut packer = new_packer(protocol, 1472).unwrap();
        assert_eq!(send(&mut packer, &records), (0, 3));
        packer.skip(10);
        assert_eq!(send(&mut packer, &records), (behind, 3));
    }
}

#[test]
fn types_of_own_elements_are_told_once_where_nothing_gets_lost_and_are_always_the_same() {
    // TYPEINFO-3
    let options = TemplateOptions {
        groups: [Group::Tos, Group::Tcp].into_iter().collect(),
        enterprise_number: NonZeroU32::new(32473),
        ..TemplateOptions::new(Protocol::Ipfix)
    };
    let records = records(IpVersion::V4, 1);
    for (period, times) in [(ONCE, 1), (Duration::from_secs(60), 4)] {
        let config = PackerConfig {
            template_refresh: period,
            template_refresh_messages: NonZeroU32::MAX,
            options_refresh: period,
            statistics_interval: ONCE,
            ..config(1472)
        };
        let mut packer = Packer::new(config, TemplateSet::new(&options).unwrap()).unwrap();
        let (mut told, mut said) = (0, None);
        for second in (0..100).step_by(20) {
            let now = Instant { monotonic: MonotonicNanos(second * NANOS_PER_SECOND), ..Instant::default() };
            let octets = packer.next_message(&records, now).unwrap().octets.to_vec();
            packer.commit();
            // Templates and options data, behind the header and before the record.
            if octets[16..18] == [0, 2] {
                told += 1;
                assert_eq!(*said.get_or_insert(octets[16..].to_vec()), octets[16..]);
            }
        }
        assert_eq!(told, times);
    }
}
