//! Cut, bent and hostile messages.

use super::super::line;
use super::*;

#[test]
fn every_prefix_of_a_message_is_survived_and_counted() {
    for number in [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12] {
        let message = vector(number);
        for length in 0..message.len() {
            let (mut collector, _) = heard(&[4, 6]);
            let before = collector.counters();
            collector.decode(exporter(), &message[..length]);
            let after = collector.counters();
            let noticed = after.malformed - before.malformed;
            // A v9 packet does not say its length: cut between two FlowSets it is a smaller packet.
            let whole_sets = message[1] == 9 && noticed == 0 && length >= 20;
            assert!(noticed == 1 || whole_sets, "VEC-{number} cut to {length} octets: {after:?}");
        }
    }
}

#[test]
fn damaged_messages_never_panic() {
    // A linear congruential generator (Knuth's MMIX) with a fixed seed.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let vectors = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12].map(vector);
    let mut collector = Collector::new();
    for round in 0..20_000 {
        let mut message = vectors[round % vectors.len()].clone();
        for _ in 0..=random(8) {
            let at = random(message.len());
            message[at] = match random(3) {
                0 => message[at] ^ 1 << random(8),
                1 => 0xff,
                _ => random(256) as u8,
            };
        }
        for flow in collector.decode(exporter(), &message) {
            line::line(&flow);
            serde_json::to_string(&flow).unwrap();
        }
    }
    assert_eq!(collector.counters().datagrams, 20_000);
}

#[test]
fn memory_is_bounded_whatever_is_sent() {
    let mut collector = Collector::new();
    // 2000 fields a template, 31 templates a session, 30 sessions: without a limit 1.9 million fields.
    for port in 1..=30u16 {
        for first in (256..287u16).step_by(7) {
            let mut body = Vec::new();
            for id in first..(first + 7).min(287) {
                body.extend([id.to_be_bytes(), 2000u16.to_be_bytes()].concat());
                body.extend([0, 1, 0, 1].repeat(2000));
            }
            let set = [2u16.to_be_bytes(), (4 + body.len() as u16).to_be_bytes()].concat();
            let length = 16 + set.len() + body.len();
            let mut message = vec![0, 10];
            message.extend((length as u16).to_be_bytes());
            message.extend([0; 12]);
            message.extend(set);
            message.extend(body);
            collector.decode(SocketAddr::new([192, 0, 2, 1].into(), port), &message);
        }
    }
    assert_eq!(collector.counters().malformed, 0);
    assert!(collector.template_fields() <= 1 << 20, "{}", collector.template_fields());
    // Sessions without templates count as well.
    for port in 100..=2000u16 {
        collector.decode(SocketAddr::new([192, 0, 2, 1].into(), port), &vector(8));
    }
    assert_eq!(collector.sessions(), 1024);
    assert_eq!(collector.template_fields(), 0, "the last 1024 sessions sent none");
}

#[test]
fn unknown_versions_and_foreign_datagrams_are_counted_apart() {
    let mut collector = Collector::new();
    for datagram in [&[0u8, 7, 0, 1][..], b"GET / HTTP/1.1", &[], &[0], &[0, 9], &[0, 10], &[0, 5, 0, 1]] {
        assert!(collector.decode(exporter(), datagram).is_empty());
    }
    let counters = collector.counters();
    assert_eq!((counters.datagrams, counters.unsupported_version, counters.malformed), (7, 2, 5));
}
