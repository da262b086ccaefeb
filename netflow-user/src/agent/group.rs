//! Which collector gets a record: all of them, or one of those that share.
//!
//! In: batches of records, how the collectors are, the time. Out: batches in their queues, each record in one queue of
//! each group. What has been given to a collector stays with it: it waits there, goes to its spool, or is counted, and is never
//! sent by another one as well.

use std::{sync::Arc, time::Duration};

use netflow_common::FlowKey;

use super::{
    batch::{Batch, Records, Spare},
    queue::Queue,
};
use crate::{
    clock,
    config::{CollectorGroup, CollectorMode},
    record::FlowRecord,
    time::{Instant, MonotonicNanos},
};

/// So long a collector has to be well before it gets records again that another one has meanwhile.
const RETURN: Duration = Duration::from_secs(10);
/// Between templates that are sent to one that gets no records, to find out how it is: datagrams tell only when sent.
const PROBE: Duration = Duration::from_secs(2);

/// All queues, and who shares.
pub(super) struct Dispatch {
    queues: Vec<Arc<Queue>>,
    /// Those that have all records.
    replicas: Vec<usize>,
    groups: Vec<Group>,
    spare: Spare,
}

struct Group {
    mode: CollectorMode,
    members: Vec<Member>,
    /// Of failover the one in use, of round robin the next one.
    turn: usize,
    probed: MonotonicNanos,
}

struct Member {
    queue: Arc<Queue>,
    /// Its name as a number, the same at every start.
    seed: u64,
    health: Health,
}

/// Since when it is well, or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Health {
    /// It has never been otherwise, or for long enough.
    Good,
    /// It is again, since then.
    Returning(MonotonicNanos),
    /// It is not.
    Bad,
}

impl Health {
    fn next(self, is_good: bool, now: MonotonicNanos) -> Self {
        match (self, is_good) {
            (_, false) => Self::Bad,
            (Self::Bad, true) => Self::Returning(now),
            (Self::Returning(since), true) if now.since(since) >= RETURN => Self::Good,
            (same, true) => same,
        }
    }
}

impl Dispatch {
    /// Queues with the names of their collectors.
    pub(super) fn new(queues: Vec<Arc<Queue>>, groups: &[CollectorGroup]) -> Self {
        let shared = |place: &usize| groups.iter().any(|group| group.members.contains(place));
        let replicas = (0..queues.len()).filter(|place| !shared(place)).collect();
        let member = |place: &usize| {
            let queue = Arc::clone(queues.get(*place)?);
            Some(Member { seed: name_hash(queue.name()), queue, health: Health::Good })
        };
        let groups = groups.iter().map(|group| Group {
            mode: group.mode,
            members: group.members.iter().filter_map(member).collect(),
            turn: 0,
            probed: MonotonicNanos(0),
        });
        Self { replicas, groups: groups.collect(), queues, spare: Spare::default() }
    }

    /// All queues.
    pub(super) fn queues(&self) -> &[Arc<Queue>] {
        &self.queues
    }

    /// Gives records to one collector of each group, and to all that are in none; leaves the list empty. Returns
    /// them all.
    pub(super) fn offer(&mut self, records: &mut Vec<FlowRecord>, at: Option<Instant>) -> Arc<Records> {
        let whole = Batch::new(self.spare.empty(records), &self.spare, at);
        for place in &self.replicas {
            self.queues[*place].offer(whole.clone());
        }
        for group in &mut self.groups {
            group.offer(&whole, &self.spare);
        }
        whole.records
    }

    /// Options data are for everybody.
    pub(super) fn announce(&self, batch: &Batch) {
        self.queues.iter().for_each(|queue| queue.offer(batch.clone()));
    }

    /// At each tick, also without records.
    pub(super) fn look(&mut self) {
        let now = clock::now().monotonic;
        self.groups.iter_mut().for_each(|group| group.look(now));
    }
}

impl Group {
    fn offer(&mut self, whole: &Batch, spare: &Spare) {
        let usable: Vec<bool> = self
            .members
            .iter()
            .map(|member| member.health != Health::Bad && member.queue.has_room(whole.volume.records))
            .collect();
        match self.mode {
            CollectorMode::Replicate => {
                self.members.iter().for_each(|member| member.queue.offer(whole.clone()));
            }
            CollectorMode::Balance => {
                let seeds: Vec<u64> = self.members.iter().map(|member| member.seed).collect();
                let mut shares = vec![Vec::new(); seeds.len()];
                for record in whole.records.iter() {
                    shares[highest(flow_hash(&record.key), &seeds)].push(record.clone());
                }
                for (member, share) in self.members.iter().zip(shares) {
                    if !share.is_empty() {
                        member.queue.offer(Batch::new(share, spare, whole.at));
                    }
                }
            }
            CollectorMode::RoundRobin => {
                let place = next_usable(self.turn, &usable);
                self.turn = (place + 1) % self.members.len();
                self.members[place].queue.offer(whole.clone());
            }
            CollectorMode::Failover => {
                let healths: Vec<Health> = self.members.iter().map(|member| member.health).collect();
                self.turn = in_use(self.turn, &healths);
                // One that is full is well, but another one can have this.
                let place = next_usable(self.turn, &usable);
                self.members[place].queue.offer(whole.clone());
            }
        }
    }

    /// Learns how the members are, and asks those of whom nothing else would tell.
    fn look(&mut self, now: MonotonicNanos) {
        for member in &mut self.members {
            member.health = member.health.next(member.queue.is_good(), now);
        }
        let is_due = now.since(self.probed) >= PROBE;
        if matches!(self.mode, CollectorMode::RoundRobin | CollectorMode::Failover) && is_due {
            self.probed = now;
            let unknown = self.members.iter().filter(|member| member.health != Health::Good);
            unknown.for_each(|member| member.queue.probe());
        }
    }
}

/// The first from `turn` on that can be used; `turn` itself where none can: it counts what it cannot take.
fn next_usable(turn: usize, usable: &[bool]) -> usize {
    (0..usable.len()).map(|step| (turn + step) % usable.len()).find(|&place| usable[place]).unwrap_or(turn)
}

/// The collector in use next: one before it that has been well for long enough; else it as long as it is not bad; else the
/// first that is not.
fn in_use(now: usize, healths: &[Health]) -> usize {
    let earlier = healths.iter().take(now).position(|health| *health == Health::Good);
    match (earlier, healths[now]) {
        (Some(earlier), _) => earlier,
        (None, Health::Good | Health::Returning(_)) => now,
        (None, Health::Bad) => healths.iter().position(|health| *health != Health::Bad).unwrap_or(now),
    }
}

/// A number that both directions of a flow have, keyed by nothing: the same on every host and at every start.
fn flow_hash(key: &FlowKey) -> u64 {
    // Type and code of ICMP stand where ports do, and differ by direction.
    let has_ports = !matches!(key.protocol, 1 | 58);
    let end = |address: netflow_common::Address, port: netflow_common::NetworkU16| {
        let [high, low]: [u64; 2] = bytemuck::cast(address);
        let port = if has_ports { u64::from(port.value()) } else { 0 };
        mix(mix(mix(u64::from_be(high)) ^ u64::from_be(low)) ^ port)
    };
    let ends = [end(key.source_address, key.source_port), end(key.destination_address, key.destination_port)];
    // Which of them is the source does not matter.
    mix(ends[0].wrapping_add(ends[1]) ^ u64::from(key.protocol))
}

/// The member with the highest number for this flow (rendezvous hashing): one more collector takes its share from all
/// others, and moves nothing between these.
fn highest(hash: u64, seeds: &[u64]) -> usize {
    let weights = seeds.iter().enumerate().map(|(place, seed)| (mix(hash ^ seed), place));
    weights.max().map_or(0, |(_, place)| place)
}

fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0, |hash, octet| mix(hash ^ u64::from(octet)))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
