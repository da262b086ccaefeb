//! What is drained, cached and recorded: entries of one width, each by itself or paired to biflows.

use std::marker::PhantomData;

use netflow_common::FlowKey;

use crate::{
    drain::Entry,
    flow_cache::{Biflow, Counters, FlowCache, Key, Reversible, pair},
    ledger::Tally,
    record::{FlowEndReason, FlowRecord, IntoRecord},
    time::Instant,
};

/// What is drained.
pub(super) type Delta<E> = (<E as Entry>::Key, <E as Entry>::Counters);

/// The way from a drained entry to a record.
pub(super) trait Flow {
    /// What is drained.
    type Entry: Entry;
    /// The key, as the cache sees it.
    type Key: Key;
    /// The counters, as the cache sees them.
    type Counters: Counters;

    /// Whose packets a delta has, and how many.
    fn measured(delta: &Delta<Self::Entry>) -> (&FlowKey, Tally);

    /// What the cache takes of a delta; `clock_step` is that of the packets' clock, in nanoseconds.
    fn cached(delta: &Delta<Self::Entry>, clock_step: u64) -> (Self::Key, Self::Counters);

    /// Puts deltas into the cache. `buffer` is working memory that is kept.
    fn merge(
        cache: &mut FlowCache<Self::Key, Self::Counters>,
        deltas: &[Delta<Self::Entry>],
        clock_step: u64,
        buffer: &mut Vec<(Self::Key, Self::Counters)>,
        emit: &mut impl FnMut(Self::Key, Self::Counters, FlowEndReason),
    ) {
        buffer.clear();
        buffer.extend(deltas.iter().map(|delta| Self::cached(delta, clock_step)));
        cache.merge_all(buffer, emit);
    }

    /// The record of an ended flow.
    fn record(key: Self::Key, counters: Self::Counters, reason: FlowEndReason, clock: &Instant)
    -> FlowRecord;
}

/// A flow of one direction.
impl<K: Key, C: Counters> Flow for (K, C)
where
    (K, C): Entry<Key = K, Counters = C> + IntoRecord,
{
    type Entry = Self;
    type Key = K;
    type Counters = C;

    #[inline]
    fn measured((key, counters): &(K, C)) -> (&FlowKey, Tally) {
        (key.flow(), Tally { packets: counters.packets(), octets: counters.octets() })
    }

    fn cached(delta: &(K, C), _: u64) -> (K, C) {
        *delta
    }

    fn merge(
        cache: &mut FlowCache<K, C>,
        deltas: &[(K, C)],
        _: u64,
        _: &mut Vec<(K, C)>,
        emit: &mut impl FnMut(K, C, FlowEndReason),
    ) {
        cache.merge_all(deltas, emit);
    }

    fn record(key: K, counters: C, reason: FlowEndReason, clock: &Instant) -> FlowRecord {
        (key, counters).into_record(reason, clock)
    }
}

/// Both directions of a flow together.
pub(super) struct Paired<E>(PhantomData<E>);

impl<K: Reversible, C: Counters> Flow for Paired<(K, C)>
where
    (K, C): Entry<Key = K, Counters = C> + IntoRecord,
{
    type Entry = (K, C);
    type Key = K;
    type Counters = Biflow<C>;

    #[inline]
    fn measured(delta: &(K, C)) -> (&FlowKey, Tally) {
        <(K, C) as Flow>::measured(delta)
    }

    fn cached((key, counters): &(K, C), clock_step: u64) -> (K, Biflow<C>) {
        pair(key, counters, clock_step)
    }

    fn record(key: K, counters: Biflow<C>, reason: FlowEndReason, clock: &Instant) -> FlowRecord {
        (key, counters).into_record(reason, clock)
    }
}
