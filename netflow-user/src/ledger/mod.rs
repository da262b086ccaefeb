//! The books, and nothing else.
//!
//! In: what each stage says it counted, at a flip. Out: whether the lines close, and the numbers as JSON
//! and as a sentence. This room refuses to know where the numbers come from, and repairs none.
//!
//! The lines, for packets and for octets (IP octets, by the headers' statement):
//! - metering, at each flip: `seen = not_ip + bad_ip + filtered + own_export + sampled_out + lost + metered`;
//!   packets refused have no octets.
//! - cache: `metered = in_cache + in_records`.
//! - for each destination since it joined: `in_records = offered` (of those that share the records: their sum) and `offered = sent + queued + not_sent`,
//!   for records as well.
//!
//! The order at a flip: [`Ledger::record`] as records leave the cache, then [`Ledger::close_flip`],
//! [`Ledger::check_cache`] and [`Ledger::check_destinations`]; at exit also [`Ledger::check_end`].

mod arrangement;
mod books;
mod destination;
mod metering;

use std::fmt;
use std::sync::Arc;

use netflow_common::{KernelStats, Refusal, Skip};
use serde::{Deserialize, Serialize};

use crate::{record::FlowEndReason, time::UnixMillis};

pub use self::arrangement::Registrar;
use self::arrangement::{Departed, Joined, Shared, Since, offered};
pub use self::books::{Books, ByReason, DestinationLines, FlowLines, OctetLines, PacketLines, RecordLines};
pub use self::destination::{Destination, DestinationBooks, NotSent, TransportSession, Volume};
pub use self::metering::{LossTimes, Metering, MeteringBooks, Selection};

/// Packets and their octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Their IP octets.
    pub octets: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.octets += other.octets;
    }

    /// What came since it was `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            octets: self.octets.saturating_sub(before.octets),
        }
    }
}

/// What a line counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Packets.
    Packets,
    /// Octets.
    Octets,
    /// Flow Records.
    Records,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packets => "packets",
            Self::Octets => "octets",
            Self::Records => "records",
        })
    }
}

/// A line that does not close: something was lost, or counted twice, without a reason.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Imbalance {
    /// The kernel program's totals against what was drained.
    #[error(
        "metering of flip {flip} does not close: {seen} {unit} seen, but {refused} refused + {skipped} skipped + {lost} lost + {metered} metered"
    )]
    Metering {
        /// The number of the flip, from 1.
        flip: u64,
        /// What is counted.
        unit: Unit,
        /// Entered the program.
        seen: u64,
        /// Not IP or bad IP.
        refused: u64,
        /// Filtered, own export or sampled out.
        skipped: u64,
        /// Found no place.
        lost: u64,
        /// Drained.
        metered: u64,
    },
    /// What was drained against what the flow cache did with it.
    #[error(
        "the cache does not close: {metered} {unit} metered, but {in_cache} in the cache + {in_records} in records"
    )]
    Cache {
        /// What is counted.
        unit: Unit,
        /// Drained since the start.
        metered: u64,
        /// In the cache now.
        in_cache: u64,
        /// In records since the start.
        in_records: u64,
    },
    /// Records against what a destination was given.
    #[error(
        "destination {destination} was not offered every record: {in_records} {unit} in records since it joined, but {offered} offered"
    )]
    Offered {
        /// The destination's name.
        destination: String,
        /// What is counted.
        unit: Unit,
        /// In records since it joined.
        in_records: u64,
        /// Offered to it.
        offered: u64,
    },
    /// What a destination was given against what it did with it.
    #[error(
        "destination {destination} does not close: {offered} {unit} offered + {inherited} inherited, but {sent} sent + {queued} queued + {spooled} spooled + {not_sent} not sent"
    )]
    Destination {
        /// The destination's name.
        destination: String,
        /// What is counted.
        unit: Unit,
        /// Offered.
        offered: u64,
        /// Left behind by an earlier run.
        inherited: u64,
        /// Sent.
        sent: u64,
        /// Waiting.
        queued: u64,
        /// Waiting on disk.
        spooled: u64,
        /// Not sent, for any reason.
        not_sent: u64,
    },
    /// At exit nothing may be under way.
    #[error("{left} {unit} are still in {place} at the end")]
    Left {
        /// The flow cache or the queue of a destination.
        place: String,
        /// What is counted.
        unit: Unit,
        /// How many.
        left: u64,
    },
}

/// The ledger: all totals since the agent started.
#[derive(Default)]
pub struct Ledger {
    kernel: KernelStats,
    metered: Tally,
    in_cache: Tally,
    flows_in_cache: u64,
    unused_in_cache: u64,
    in_records: Volume,
    records_by_reason: [u64; 5],
    flips: u64,
    imbalances: u64,
    last_imbalance: Option<String>,
    destinations: Vec<Joined>,
    metering: Arc<MeteringBooks>,
    shared: Vec<Shared>,
    /// The numbers of those that left long ago, together.
    departed: Departed,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters a record that left the flow cache.
    pub fn record(&mut self, reason: FlowEndReason, tally: Tally) {
        self.in_records.add(Volume { records: 1, packets: tally.packets, octets: tally.octets });
        self.records_by_reason[reason as usize - 1] += 1;
    }

    /// Closes a flip: `stats` are the frozen generation's totals over all CPUs, `metered` the sum of
    /// its drained entries.
    pub fn close_flip(&mut self, stats: &KernelStats, metered: Tally) -> Result<(), Imbalance> {
        self.kernel.add(stats);
        self.metered.add(metered);
        self.flips += 1;
        let lines = [
            (
                Unit::Packets,
                stats.seen_packets,
                stats.refused.as_slice(),
                stats.skipped_packets,
                stats.lost_packets,
                metered.packets,
            ),
            (Unit::Octets, stats.seen_octets, &[], stats.skipped_octets, stats.lost_octets, metered.octets),
        ];
        let flip = self.flips;
        self.enter(lines.into_iter().filter_map(|(unit, seen, refused, skipped, lost, metered)| {
            let (refused, skipped, lost) = (refused.iter().sum(), skipped.iter().sum(), lost.iter().sum());
            (!sums_to(seen, [refused, skipped, lost, metered])).then_some(Imbalance::Metering {
                flip,
                unit,
                seen,
                refused,
                skipped,
                lost,
                metered,
            })
        }))
    }

    /// Checks what was metered since the start against records and what the flow cache holds now, in
    /// `flows` flows, with room for `unused` more. After [`Ledger::close_flip`], as the cache already has the flip's
    /// entries.
    pub fn check_cache(&mut self, flows: u64, unused: u64, in_cache: Tally) -> Result<(), Imbalance> {
        self.in_cache = in_cache;
        self.unused_in_cache = unused;
        self.flows_in_cache = flows;
        let lines = [
            (Unit::Packets, self.metered.packets, in_cache.packets, self.in_records.packets),
            (Unit::Octets, self.metered.octets, in_cache.octets, self.in_records.octets),
        ];
        self.enter(lines.into_iter().filter_map(|(unit, metered, in_cache, in_records)| {
            (!sums_to(metered, [in_cache, in_records])).then_some(Imbalance::Cache {
                unit,
                metered,
                in_cache,
                in_records,
            })
        }))
    }

    /// Tells the destinations how many flows were begun so far and what was not metered, after a flip was closed.
    pub fn tell_metering(&self, observed_flows: u64, now: UnixMillis) {
        let refused = Refusal::ALL.iter().filter(|refusal| !refusal.is_not_ip());
        let refused: u64 = refused.map(|refusal| self.kernel.refused[*refusal as usize]).sum();
        let lost: u64 = self.kernel.lost_packets.iter().sum();
        let ignored = Tally { packets: refused + lost, octets: self.kernel.lost_octets.iter().sum() };
        // All of them were frozen by one flip (PSAMP-STAT-2).
        let selected = self.metered.packets + lost;
        let observed = selected + self.kernel.skipped_packets[Skip::SampledOut as usize];
        self.metering.tell(observed_flows, ignored, Selection { observed, selected }, now);
    }

    /// Checks each destination against the records, and against itself. Every record entered must have
    /// been offered by now; sessions may go on sending meanwhile.
    pub fn check_destinations(&mut self) -> Result<(), Imbalance> {
        let mut found = Vec::new();
        for joined in &self.destinations {
            let now = joined.books.read();
            if let Some(since) = joined.since {
                found.extend(self.check_offered(joined.books.name(), since, now.offered));
            }
            found.extend(now.check(joined.books.name()));
        }
        for Shared { name, members, since } in &self.shared {
            found.extend(self.check_offered(&format!("group '{name}'"), *since, offered(members)));
        }
        self.forget_departed();
        self.enter(found.into_iter())
    }

    fn check_offered(&self, name: &str, since: Since, offered: Volume) -> Vec<Imbalance> {
        let (in_records, offered) = (self.in_records.since(since.in_records), offered.since(since.offered));
        let lines = in_records.beside(offered).into_iter();
        let wrong = lines.filter(|(_, in_records, offered)| in_records != offered);
        let imbalance = |(unit, in_records, offered)| {
            let destination = name.to_owned();
            Imbalance::Offered { destination, unit, in_records, offered }
        };
        wrong.map(imbalance).collect()
    }

    /// Checks that nothing is left in the flow cache (as last checked) or in a queue: what is not sent at
    /// exit has a reason too.
    pub fn check_end(&mut self) -> Result<(), Imbalance> {
        let cache = Volume { records: 0, packets: self.in_cache.packets, octets: self.in_cache.octets };
        let mut places = vec![("the flow cache".to_owned(), cache)];
        for Joined { books, .. } in &self.destinations {
            places.push((format!("the queue of destination {}", books.name()), books.read().queued));
        }
        let left = places.into_iter().flat_map(|(place, volume)| {
            let units = volume.beside(Volume::default()).into_iter().filter(|(_, left, _)| *left > 0);
            units.map(move |(unit, left, _)| Imbalance::Left { place: place.clone(), unit, left })
        });
        self.enter(left)
    }

    /// Whether every line closed at every check so far.
    pub fn balanced(&self) -> bool {
        self.imbalances == 0
    }

    /// Counts the lines that do not close and returns the first.
    fn enter(&mut self, found: impl Iterator<Item = Imbalance>) -> Result<(), Imbalance> {
        let mut first = None;
        for imbalance in found {
            self.imbalances += 1;
            self.last_imbalance = Some(imbalance.to_string());
            first.get_or_insert(imbalance);
        }
        first.map_or(Ok(()), Err)
    }
}

/// Whether parts make up a sum. Wider than the counters, so that a wrong one cannot wrap into place.
fn sums_to<const N: usize>(sum: impl Into<u128>, parts: [u64; N]) -> bool {
    sum.into() == parts.into_iter().map(u128::from).sum::<u128>()
}

#[cfg(test)]
mod tests;
