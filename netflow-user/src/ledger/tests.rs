//! Each line closed, then broken by one.
#![allow(clippy::unwrap_used, reason = "tests")]

use netflow_common::{Loss, Note, Refusal, Skip};

use super::*;

/// 1,006 packets: 8 ARP, 2 cut short, 6 skipped, 10 lost, 980 metered.
fn stats() -> KernelStats {
    let mut stats = KernelStats {
        seen_packets: 1_006,
        seen_octets: 99_600,
        inserted: 7,
        not_ip_frame_octets: 480,
        ..KernelStats::default()
    };
    stats.refused[Refusal::NotIp as usize] = 8;
    stats.refused[Refusal::IpTruncated as usize] = 2;
    stats.lost_packets[Loss::MapFull as usize] = 10;
    stats.lost_octets[Loss::MapFull as usize] = 1_000;
    stats.noted[Note::ShortFrame as usize] = 3;
    (stats.skipped_packets, stats.skipped_octets) = ([1, 2, 3], [100, 200, 300]);
    stats
}

const METERED: Tally = Tally { packets: 980, octets: 98_000 };
const RECORD: Tally = Tally { packets: 900, octets: 90_000 };
const IN_CACHE: Tally = Tally { packets: 80, octets: 8_000 };

fn volume(records: u64, packets: u64, octets: u64) -> Volume {
    Volume { records, packets, octets }
}

/// A ledger at the end of its first flip, with one destination that queued the record.
fn closed() -> (Ledger, Arc<DestinationBooks>) {
    let mut ledger = Ledger::new();
    let books = ledger.join("udp://192.0.2.1:4739");
    ledger.record(FlowEndReason::IdleTimeout, RECORD);
    books.queued(volume(1, 900, 90_000));
    ledger.close_flip(&stats(), METERED).unwrap();
    ledger.check_cache(2, 98, IN_CACHE).unwrap();
    ledger.check_destinations().unwrap();
    assert!(ledger.balanced());
    (ledger, books)
}

#[test]
fn one_packet_or_octet_too_few_or_too_many_is_an_imbalance_of_metering() {
    let break_by_one: [fn(&mut KernelStats, &mut Tally); 10] = [
        |stats, _| stats.seen_packets += 1,
        |stats, _| stats.seen_octets -= 1,
        |stats, _| stats.refused[Refusal::NotIp as usize] -= 1,
        |stats, _| stats.refused[Refusal::IpVersion as usize] += 1,
        |stats, _| stats.lost_packets[Loss::CpuWithoutMap as usize] += 1,
        |stats, _| stats.lost_octets[Loss::MapFull as usize] -= 1,
        |stats, _| stats.skipped_packets[Skip::Filtered as usize] += 1,
        |stats, _| stats.skipped_octets[Skip::SampledOut as usize] -= 1,
        |_, metered| metered.packets -= 1,
        |_, metered| metered.octets += 1,
    ];
    for (case, break_it) in break_by_one.into_iter().enumerate() {
        let (mut stats, mut metered) = (stats(), METERED);
        break_it(&mut stats, &mut metered);
        let mut ledger = Ledger::new();
        assert!(ledger.close_flip(&stats, metered).is_err(), "case {case}");
        assert!(!ledger.balanced());
    }
}

#[test]
fn an_imbalance_names_the_line_and_both_sides() {
    let mut ledger = Ledger::new();
    let metered = Tally { packets: 979, ..METERED };
    let imbalance = ledger.close_flip(&stats(), metered).unwrap_err();
    assert_eq!(
        imbalance.to_string(),
        "metering of flip 1 does not close: 1006 packets seen, but 10 refused + 6 skipped + 10 lost + 979 metered"
    );
    // The next flip closes, but the books remember.
    ledger.close_flip(&stats(), METERED).unwrap();
    let books = ledger.books();
    assert_eq!((books.balanced, books.imbalances, books.flips), (false, 1, 2));
    assert_eq!(books.last_imbalance, Some(imbalance.to_string()));
}

#[test]
fn one_packet_or_octet_missing_in_the_cache_or_twice_in_records_is_an_imbalance() {
    let (mut ledger, _) = closed();
    assert_eq!(
        ledger.check_cache(2, 98, Tally { packets: 79, ..IN_CACHE }),
        Err(Imbalance::Cache { unit: Unit::Packets, metered: 980, in_cache: 79, in_records: 900 })
    );
    assert!(ledger.check_cache(2, 98, Tally { octets: 8_001, ..IN_CACHE }).is_err());
    ledger.record(FlowEndReason::ForcedEnd, Tally { packets: 1, octets: 40 });
    assert!(ledger.check_cache(2, 98, IN_CACHE).is_err());
    assert_eq!(ledger.imbalances, 4, "a line in packets, two in octets, and the last in both");
}

#[test]
fn a_record_that_a_destination_was_not_offered_is_an_imbalance() {
    let (mut ledger, _) = closed();
    ledger.record(FlowEndReason::IdleTimeout, Tally { packets: 0, octets: 0 });
    assert_eq!(
        ledger.check_destinations(),
        Err(Imbalance::Offered {
            destination: "udp://192.0.2.1:4739".to_owned(),
            unit: Unit::Records,
            in_records: 2,
            offered: 1,
        })
    );
}

#[test]
fn destinations_that_share_are_offered_every_record_once_between_them() {
    let mut ledger = Ledger::new();
    let books = ["a", "b", "all"].map(|name| ledger.join(name));
    ledger.share("site", &[0, 1]);
    for books in [&books[0], &books[1]] {
        ledger.record(FlowEndReason::IdleTimeout, RECORD);
        books.queued(volume(1, 900, 90_000));
    }
    books[2].queued(volume(2, 1800, 180_000));
    ledger.check_destinations().unwrap();
    // Twice: one of them had it already.
    books[1].queued(volume(1, 900, 90_000));
    assert_eq!(
        ledger.check_destinations(),
        Err(Imbalance::Offered {
            destination: "group 'site'".to_owned(),
            unit: Unit::Records,
            in_records: 2,
            offered: 3,
        })
    );
}

#[test]
fn more_out_of_a_queue_than_was_in_it_is_an_imbalance() {
    for extra in [volume(1, 0, 0), volume(0, 1, 0), volume(0, 0, 1)] {
        let (mut ledger, books) = closed();
        books.message_sent(100, volume(1, 900, 90_000));
        ledger.check_destinations().unwrap();
        books.not_sent(NotSent::SendFailed, extra);
        assert!(matches!(ledger.check_destinations(), Err(Imbalance::Destination { .. })));
    }
}

#[test]
fn a_destination_answers_for_what_came_since_it_joined() {
    let (mut ledger, first) = closed();
    let second = ledger.join("udp://192.0.2.2:2055");
    ledger.check_destinations().unwrap();
    ledger.record(FlowEndReason::ActiveTimeout, Tally { packets: 80, octets: 8_000 });
    first.queued(volume(1, 80, 8_000));
    second.turned_away(NotSent::QueueFull, volume(1, 80, 8_000));
    ledger.check_cache(2, 98, Tally::default()).unwrap();
    ledger.check_destinations().unwrap();
    assert_eq!((first.read().offered.records, second.read().offered.records), (2, 1));
}

#[test]
fn what_is_under_way_at_the_end_is_an_imbalance() {
    let (mut ledger, books) = closed();
    let imbalance = ledger.check_end().unwrap_err();
    assert_eq!(imbalance.to_string(), "80 packets are still in the flow cache at the end");
    ledger.record(FlowEndReason::ForcedEnd, IN_CACHE);
    ledger.check_cache(0, 98, Tally::default()).unwrap();
    books.queued(volume(1, 80, 8_000));
    books.message_sent(1_400, volume(1, 900, 90_000));
    let imbalance = ledger.check_end().unwrap_err();
    assert_eq!(
        imbalance.to_string(),
        "1 records are still in the queue of destination udp://192.0.2.1:4739 at the end"
    );
    books.not_sent(NotSent::Shutdown, volume(1, 80, 8_000));
    ledger.check_destinations().unwrap();
    ledger.check_end().unwrap();
}

#[test]
fn the_books_are_one_json_object_and_one_sentence() {
    let (mut ledger, books) = closed();
    books.message_sent(1_400, volume(1, 900, 90_000));
    books.message_sent(60, Volume::default());
    books.datagram_refused();
    books.retried();
    books.session_began(UnixMillis(1_767_225_600_000));
    books.told([2, 1]);
    let golden = r#"{
  "balanced": true,
  "imbalances": 0,
  "last_imbalance": null,
  "flips": 1,
  "packets": {
    "seen": 1006,
    "not_ip": {
      "not_ip": 8,
      "link_truncated": 0,
      "link_too_deep": 0
    },
    "bad_ip": {
      "ip_truncated": 2,
      "ip_version": 0,
      "ip_header_length": 0
    },
    "filtered": 1,
    "own_export": 2,
    "sampled_out": 3,
    "lost": {
      "map_full": 10,
      "cpu_without_map": 0
    },
    "metered": 980,
    "in_cache": 80,
    "in_records": 900
  },
  "octets": {
    "seen": 99600,
    "filtered": 100,
    "own_export": 200,
    "sampled_out": 300,
    "lost": {
      "map_full": 1000,
      "cpu_without_map": 0
    },
    "metered": 98000,
    "in_cache": 8000,
    "in_records": 90000,
    "not_ip_frames": 480
  },
  "flows": {
    "table_slots": 0,
    "map_entries": 7,
    "in_cache": 2,
    "unused_in_cache": 98
  },
  "records": {
    "total": 1,
    "end_reason": {
      "idle_timeout": 1,
      "active_timeout": 0,
      "end_of_flow_detected": 0,
      "forced_end": 0,
      "lack_of_resources": 0
    }
  },
  "destinations": [
    {
      "name": "udp://192.0.2.1:4739",
      "offered": {
        "records": 1,
        "packets": 900,
        "octets": 90000
      },
      "inherited": {
        "records": 0,
        "packets": 0,
        "octets": 0
      },
      "sent": {
        "records": 1,
        "packets": 900,
        "octets": 90000
      },
      "queued": {
        "records": 0,
        "packets": 0,
        "octets": 0
      },
      "spooled": {
        "records": 0,
        "packets": 0,
        "octets": 0
      },
      "not_sent": {
        "queue_full": ZERO,
        "no_buffers": ZERO,
        "message_too_long": ZERO,
        "send_failed": ZERO,
        "not_in_protocol": ZERO,
        "shutdown": ZERO,
        "spool_full": ZERO,
        "spool_failed": ZERO
      },
      "messages": 2,
      "message_octets": 1460,
      "refused_datagrams": 1,
      "retries": 1,
      "session": {
        "is_active": true,
        "began": 1767225600000,
        "begun": 1,
        "templates": 2,
        "options_templates": 1,
        "discarded_messages": 0
      }
    }
  ],
  "notes": {
    "short_frame": 3,
    "transport_cut": 0,
    "later_fragment": 0,
    "ipv6_headers_unread": 0,
    "fragment_joined": 0,
    "tiny_fragment": 0,
    "overlapping_fragment": 0,
    "tunnel_unread": 0,
    "tunnel_too_deep": 0
  }
}"#
    .replace(
        "ZERO",
        "{\n          \"records\": 0,\n          \"packets\": 0,\n          \"octets\": 0\n        }",
    );
    assert_eq!(serde_json::to_string_pretty(&ledger).unwrap(), golden);
    assert_eq!(
        ledger.books().to_string(),
        "1,006 packets seen = 8 not_ip + 2 bad_ip + 1 filtered + 2 own_export + 3 sampled_out + 10 lost + 980 \
         metered; 980 metered = 80 in the cache + 900 in 1 records; udp://192.0.2.1:4739: 1 records offered = 1 sent + 0 queued + 0 not sent; balanced at every \
         one of 1 flips"
    );
    ledger.check_cache(2, 98, Tally::default()).unwrap_err();
    assert!(ledger.books().to_string().contains("NOT BALANCED 2 times, last: the cache does not close"));
}
