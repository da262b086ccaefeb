//! The cache from outside: [`endings`] case by case, [`model`] against a naive one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod biflow;
mod change;
mod endings;
mod measure;
mod model;

use std::time::Duration;

use netflow_common::{FlowCounters, FlowKey};

use super::*;

pub(super) type Ended = (FlowKey, FlowCounters, FlowEndReason);

const MILLI: u64 = 1_000_000;
const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN_ACK: u16 = 0x11;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;

/// A cache and what came out of it. Times are in milliseconds here.
struct Bench {
    cache: FlowCache<FlowKey, FlowCounters>,
    out: Vec<Ended>,
}

impl Bench {
    fn new(capacity: u32, idle: u64, active: u64, end_linger: u64) -> Self {
        let timeouts = Timeouts::new(
            Duration::from_millis(idle),
            Duration::from_millis(active),
            Duration::from_millis(end_linger),
        )
        .unwrap();
        let cache = FlowCache::new(NonZeroU32::new(capacity).unwrap(), timeouts, SEED).unwrap();
        Self { cache, out: Vec::new() }
    }

    /// The timeouts that `netflow run` has: 15 s, 30 min, 2 s.
    fn with_defaults(capacity: u32) -> Self {
        Self::new(capacity, 15_000, 1_800_000, 2_000)
    }

    fn merge(&mut self, key: &FlowKey, delta: &FlowCounters) {
        self.cache.merge(key, delta, &mut |key, counters, reason| self.out.push((key, counters, reason)));
    }

    fn packet(&mut self, key: &FlowKey, at: u64) {
        self.merge(key, &packets(1, at, at, ACK));
    }

    fn expire(&mut self, now: u64) -> Vec<Ended> {
        let now = MonotonicNanos(now * MILLI);
        self.cache.expire(now, &mut |key, counters, reason| self.out.push((key, counters, reason)));
        assert_eq!(self.cache.in_cache(), self.cache.recount());
        std::mem::take(&mut self.out)
    }

    fn flush(&mut self) -> Vec<Ended> {
        let out = &mut self.out;
        self.cache.flush(FlowEndReason::ForcedEnd, &mut |key, counters, reason| {
            out.push((key, counters, reason));
        });
        assert_eq!(self.cache.in_cache(), Sums::default());
        assert_eq!((self.cache.flows(), self.cache.next_deadline()), (0, None));
        std::mem::take(&mut self.out)
    }

    /// The whole life of one flow whose packets come at these times, with a tick every `tick`.
    fn life(&mut self, key: &FlowKey, times: &[u64], tick: u64, phase: u64) -> Vec<Ended> {
        let mut records = Vec::new();
        let mut times = times.iter().peekable();
        let mut now = phase;
        while times.peek().is_some() || self.cache.flows() > 0 {
            while let Some(at) = times.next_if(|at| **at < now) {
                self.packet(key, *at);
            }
            records.extend(self.expire(now));
            now += tick;
        }
        records
    }
}

fn flow(number: u16, protocol: u8) -> FlowKey {
    FlowKey {
        source_port: netflow_common::NetworkU16::new(number),
        protocol,
        ip_version: 4,
        ports: 1,
        ..FlowKey::default()
    }
}

fn packets(packets: u64, first: u64, last: u64, tcp_control_bits: u16) -> FlowCounters {
    FlowCounters {
        packets,
        octets: packets * 100,
        first: first * MILLI,
        last: last * MILLI,
        flow_label: 0,
        tcp_control_bits,
        minimum_ttl: 64,
        maximum_ttl: 64,
    }
}

/// Packets, first and last time, reason.
fn brief(ended: &[Ended]) -> Vec<(u64, u64, u64, u8)> {
    let brief = |(_, counters, reason): &Ended| {
        (counters.packets, counters.first / MILLI, counters.last / MILLI, *reason as u8)
    };
    ended.iter().map(brief).collect()
}
