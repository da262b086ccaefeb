//! Flows put together to an answer while they come by: the most of them, or sums of those that are alike.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Cell, FlowQuery, FlowRow, QueryError, ROWS_MAX,
    filter::{Filter, leading_bits},
    word::{self, Kind, Word},
};
use crate::{ledger::ByReason, record::FlowRecord, time::UnixMillis};

/// What a rate is an average of.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Sums that are kept at once.
const GROUPS: usize = 65_536;

/// What flows are added up by: a word, and of an address how many bits.
#[derive(Clone, Copy, Debug)]
struct Part {
    word: Word,
    bits: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sort {
    Octets,
    Packets,
    Flows,
    Rate,
    Duration,
    Start,
    End,
}

/// A question on its way through the flows.
#[derive(Debug)]
pub struct Gathering {
    filter: Filter,
    sort: Sort,
    top: usize,
    parts: Vec<Part>,
    now: UnixMillis,
    rows: BinaryHeap<Reverse<Ranked>>,
    groups: HashMap<Vec<Cell>, Sums>,
    seen: u64,
    matching: Sums,
    left_out: Sums,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gathered {
    /// The instant that flows are seen from: the last flip.
    pub at: UnixMillis,
    /// The rows, the most first.
    pub rows: Vec<FlowRow>,
    /// Flows that were looked at.
    pub flows_seen: u64,
    /// All that matched, those without a row included.
    pub matching: Sums,
    /// Matched, and had no place in the table of sums: rows may have less than they should.
    pub left_out: Sums,
}

/// Flows added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sums {
    /// How many.
    pub flows: u64,
    /// Their packets since their last record.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
    /// Of the last ten seconds.
    pub bits_per_second: u64,
    /// The first packet of all.
    pub start: UnixMillis,
    /// The last packet of all.
    pub end: UnixMillis,
}

impl Sums {
    fn of(flow: &FlowRecord, now: UnixMillis) -> Self {
        let (packets, octets, start, end) = (flow.packets(), flow.octets(), flow.start, flow.end);
        Self { flows: 1, packets, octets, bits_per_second: rate(octets, start, end, now), start, end }
    }

    fn add(&mut self, other: &Self) {
        self.start = if self.flows == 0 { other.start } else { self.start.min(other.start) };
        self.end = self.end.max(other.end);
        self.flows += other.flows;
        self.packets += other.packets;
        self.octets += other.octets;
        self.bits_per_second += other.bits_per_second;
    }

    fn by(&self, sort: Sort) -> u64 {
        match sort {
            Sort::Octets => self.octets,
            Sort::Packets => self.packets,
            Sort::Flows => self.flows,
            Sort::Rate => self.bits_per_second,
            Sort::Duration => self.end.0.saturating_sub(self.start.0),
            Sort::Start => self.start.0,
            Sort::End => self.end.0,
        }
    }

    fn row(&self, key: ByReason<Cell>) -> FlowRow {
        let Self { flows, packets, octets, bits_per_second, start, end } = *self;
        FlowRow { key, flows, packets, octets, bits_per_second, start, end }
    }
}

/// Bits a second over the window: a flow's octets are taken to be spread evenly over its time.
fn rate(octets: u64, start: UnixMillis, end: UnixMillis, now: UnixMillis) -> u64 {
    let window = WINDOW.as_millis() as u64;
    let begin = now.0.saturating_sub(window);
    if end.0 < begin {
        return 0;
    }
    let (inside, whole) = (end.0 - start.0.max(begin).min(end.0), end.0.saturating_sub(start.0));
    // Of a flow in one moment all of it is inside.
    let octets = if whole == 0 {
        octets
    } else {
        (u128::from(octets) * u128::from(inside) / u128::from(whole)) as u64
    };
    octets.saturating_mul(8000) / window
}

/// A flow with what it is sorted by.
#[derive(Debug)]
struct Ranked {
    rank: u64,
    flow: FlowRecord,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl Gathering {
    /// Begins. Rates are those at `now`.
    ///
    /// # Errors
    /// What is not understood.
    pub fn new(query: &FlowQuery, now: UnixMillis) -> Result<Self, QueryError> {
        if !(1..=ROWS_MAX).contains(&query.top) {
            return Err(QueryError::Top { given: query.top });
        }
        let parts = query.aggregate.iter().map(|text| part(text)).collect::<Result<_, _>>()?;
        Ok(Self::with(Filter::new(&query.filter)?, sort(&query.sort)?, query.top as usize, parts, now))
    }

    /// The flows of an address, those with most octets first.
    pub fn of_host(prefix: super::Prefix, top: usize, now: UnixMillis) -> Self {
        Self::with(Filter::of_host(prefix), Sort::Octets, top, Vec::new(), now)
    }

    fn with(filter: Filter, sort: Sort, top: usize, parts: Vec<Part>, now: UnixMillis) -> Self {
        let (rows, groups) = (BinaryHeap::new(), HashMap::new());
        let (matching, left_out) = (Sums::default(), Sums::default());
        Self { filter, sort, top, parts, now, rows, groups, seen: 0, matching, left_out }
    }

    /// Whether an answer says where flows go.
    pub fn needs_routes(&self) -> bool {
        let is_route = |word: &Word| word.name == word::EGRESS;
        self.parts.iter().any(|part| is_route(&part.word)) || self.filter.words().any(is_route)
    }

    /// Flows come by.
    pub fn look(&mut self, flows: &[FlowRecord]) {
        self.seen += flows.len() as u64;
        for flow in flows {
            if self.filter.matches(flow) {
                self.take(flow);
            }
        }
    }

    fn take(&mut self, flow: &FlowRecord) {
        let sums = Sums::of(flow, self.now);
        self.matching.add(&sums);
        if self.parts.is_empty() {
            let rank = sums.by(self.sort);
            let is_full = self.rows.len() >= self.top;
            if is_full && self.rows.peek().is_some_and(|Reverse(least)| least.rank >= rank) {
                return;
            }
            if is_full {
                self.rows.pop();
            }
            self.rows.push(Reverse(Ranked { rank, flow: flow.clone() }));
            return;
        }
        let key: Vec<Cell> = self.parts.iter().map(|part| part.of(flow)).collect();
        if let Some(group) = self.groups.get_mut(&key) {
            group.add(&sums);
        } else if self.groups.len() < GROUPS {
            self.groups.insert(key, sums);
        } else {
            self.left_out.add(&sums);
        }
    }

    /// The answer.
    pub fn finish(self) -> Gathered {
        let now = self.now;
        let rows = if self.parts.is_empty() {
            let flows = self.rows.into_sorted_vec();
            flows
                .iter()
                .map(|Reverse(ranked)| Sums::of(&ranked.flow, now).row(of_a_flow(&ranked.flow)))
                .collect()
        } else {
            let mut groups: Vec<(Vec<Cell>, Sums)> = self.groups.into_iter().collect();
            // Equal ones stand in the same order each time.
            groups.sort_by(|(a, of_a), (b, of_b)| {
                of_b.by(self.sort).cmp(&of_a.by(self.sort)).then_with(|| a.cmp(b))
            });
            groups.truncate(self.top);
            let names: Vec<String> = self.parts.iter().map(Part::name).collect();
            let key = |cells: Vec<Cell>| {
                ByReason(names.iter().map(|name| name.clone().into()).zip(cells).collect())
            };
            groups.into_iter().map(|(cells, sums)| sums.row(key(cells))).collect()
        };
        Gathered { at: now, rows, flows_seen: self.seen, matching: self.matching, left_out: self.left_out }
    }
}

/// A flow as a row.
pub fn row(flow: &FlowRecord, now: UnixMillis) -> FlowRow {
    Sums::of(flow, now).row(of_a_flow(flow))
}

/// The elements of a flow that has a row of its own.
fn of_a_flow(flow: &FlowRecord) -> ByReason<Cell> {
    let words = word::WORDS.iter().filter(|word| word::OF_A_FLOW.contains(&word.name));
    ByReason::new(words.map(|word| (word.name, (word.of)(flow))))
}

impl Part {
    fn of(&self, flow: &FlowRecord) -> Cell {
        match ((self.word.of)(flow), self.bits) {
            (Cell::Address(address), Some(bits)) => Cell::Address(leading_bits(address, bits)),
            (cell, _) => cell,
        }
    }

    fn name(&self) -> String {
        self.bits.map_or_else(|| self.word.name.to_owned(), |bits| format!("{}/{bits}", self.word.name))
    }
}

fn part(text: &str) -> Result<Part, QueryError> {
    let (name, bits) = match text.trim().split_once('/') {
        Some((name, bits)) => (name, Some(bits)),
        None => (text.trim(), None),
    };
    let word = word::find(name)?;
    // A flow has two of these, and would be in two sums.
    if word.or.is_some() {
        return Err(QueryError::Word { given: name.to_owned() });
    }
    let wrong = || QueryError::PrefixLength { given: text.to_owned() };
    let bits = match bits {
        Some(_) if word.kind != Kind::Address => return Err(wrong()),
        Some(bits) => Some(bits.parse::<u8>().ok().filter(|bits| *bits <= 128).ok_or_else(wrong)?),
        None => None,
    };
    Ok(Part { word, bits })
}

fn sort(text: &str) -> Result<Sort, QueryError> {
    Ok(match text {
        "octetDeltaCount" | "octets" => Sort::Octets,
        "packetDeltaCount" | "packets" => Sort::Packets,
        "flows" => Sort::Flows,
        "rate" => Sort::Rate,
        "duration" | "flowDurationMilliseconds" => Sort::Duration,
        "start" | "flowStartMilliseconds" => Sort::Start,
        "end" | "flowEndMilliseconds" => Sort::End,
        other => return Err(QueryError::Sort { given: other.to_owned() }),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::net::IpAddr;

    use netflow_common::{FlowCounters, FlowKey};

    use super::*;
    use crate::{record::FlowEndReason, time::Instant};

    fn flow(host: u16, octets: u64) -> FlowRecord {
        let [a, b] = host.to_be_bytes();
        let end = |address: [u8; 4], port| (IpAddr::from(address), port);
        let key = FlowKey::of_session(17, end([10, 0, a, b], 1000 + host), end([192, 0, 2, 7], 53));
        let counters =
            FlowCounters { packets: 1, octets, first: 1_000_000, last: 1_000_000, ..FlowCounters::default() };
        FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &Instant::default())
    }

    fn answer(query: &FlowQuery, flows: &[FlowRecord]) -> Gathered {
        let mut gathering = Gathering::new(query, UnixMillis(1000)).unwrap();
        flows.chunks(7).for_each(|flows| gathering.look(flows));
        gathering.finish()
    }

    #[test]
    fn the_rows_are_those_with_the_most_in_falling_order() {
        let flows: Vec<_> = (0..1000).map(|host| flow(host, 100 + u64::from(host) * 7 % 1000)).collect();
        let query = FlowQuery { top: 3, ..FlowQuery::default() };
        let answer = answer(&query, &flows);
        let octets: Vec<u64> = answer.rows.iter().map(|row| row.octets).collect();
        assert_eq!(octets, [1099, 1098, 1097]);
        assert_eq!((answer.flows_seen, answer.matching.flows), (1000, 1000));
    }

    #[test]
    fn flows_that_are_alike_are_one_row() {
        let flows: Vec<_> = (0..1000).map(|host| flow(host, 10)).collect();
        let query = FlowQuery {
            aggregate: vec!["sourceIPv4Address/24".to_owned(), "protocolIdentifier".to_owned()],
            sort: "flows".to_owned(),
            ..FlowQuery::default()
        };
        let answer = answer(&query, &flows);
        let flows: Vec<u64> = answer.rows.iter().map(|row| row.flows).collect();
        assert_eq!(flows, [256, 256, 256, 232]);
        let first = &answer.rows[0].key.0[0];
        assert_eq!(
            (first.0.as_ref(), first.1),
            ("sourceIPv4Address/24", Cell::Address("10.0.0.0".parse().unwrap()))
        );
    }

    #[test]
    fn what_finds_no_place_among_the_sums_is_counted() {
        let query = FlowQuery { aggregate: vec!["octetDeltaCount".to_owned()], ..FlowQuery::default() };
        let flows: Vec<_> = (0..GROUPS as u64 + 10).map(|octets| flow(1, octets)).collect();
        let answer = answer(&query, &flows);
        assert_eq!(answer.left_out.flows, 10);
        assert_eq!(answer.matching.flows, GROUPS as u64 + 10);
    }

    #[test]
    fn a_rate_has_what_lies_in_the_window() {
        let millis = |at| UnixMillis(at);
        assert_eq!(rate(10_000, millis(0), millis(0), millis(5_000)), 8_000);
        assert_eq!(rate(10_000, millis(0), millis(20_000), millis(20_000)), 4_000);
        assert_eq!(rate(10_000, millis(0), millis(9_000), millis(20_000)), 0);
        assert_eq!(rate(10_000, millis(0), millis(20_000), millis(25_000)), 2_000);
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let with = |change: fn(&mut FlowQuery)| {
            let mut query = FlowQuery::default();
            change(&mut query);
            Gathering::new(&query, UnixMillis(0)).unwrap_err().to_string()
        };
        assert!(with(|query| query.top = 0).contains("--top 0"));
        assert!(with(|query| query.sort = "beauty".to_owned()).contains("--sort beauty"));
        assert!(with(|query| query.aggregate = vec!["host".to_owned()]).contains("'host'"));
        assert!(with(|query| query.aggregate = vec!["port/8".to_owned()]).contains("'port'"));
    }
}
