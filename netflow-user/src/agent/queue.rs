//! Between the meter and a session: batches of records, bounded, never blocking the meter.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::batch::Batch;
use crate::ledger::{DestinationBooks, NotSent};

/// Records that wait for one destination before further ones are turned away, where the operator says no number: as many as a full flow
/// cache of the default size gives at shutdown, about 110 MiB (shared between destinations).
pub(super) const QUEUE_RECORDS: u64 = 1 << 20;

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    records: u64,
    closed: bool,
}

/// One destination's queue.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    emptied: Condvar,
    books: Arc<DestinationBooks>,
    /// Records that wait before further ones are turned away.
    limit: u64,
    /// Whether the collector takes messages, as far as its session knows.
    is_good: AtomicBool,
}

impl Queue {
    pub(super) fn new(books: Arc<DestinationBooks>, limit: u64) -> Self {
        let is_good = AtomicBool::new(true);
        Self {
            waiting: Mutex::default(),
            filled: Notify::new(),
            emptied: Condvar::new(),
            books,
            limit,
            is_good,
        }
    }

    /// Records that wait before further ones are turned away.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The destination's books.
    pub(super) fn books(&self) -> Arc<DestinationBooks> {
        Arc::clone(&self.books)
    }

    /// The destination's name.
    pub(super) fn name(&self) -> &str {
        self.books.name()
    }

    /// The session says how its collector is.
    pub(super) fn set_good(&self, is_good: bool) {
        self.is_good.store(is_good, Ordering::Relaxed);
    }

    /// What the session said last.
    pub(super) fn is_good(&self) -> bool {
        self.is_good.load(Ordering::Relaxed)
    }

    /// Whether so many records would be taken.
    pub(super) fn has_room(&self, records: u64) -> bool {
        let waiting = self.lock();
        !waiting.closed && waiting.records + records <= self.limit
    }

    /// Has the session send templates, where it has nothing else to do.
    pub(super) fn probe(&self) {
        let mut waiting = self.lock();
        if !waiting.closed && waiting.batches.is_empty() {
            waiting.batches.push_back(Batch::probe());
            drop(waiting);
            self.filled.notify_one();
        }
    }

    /// Has the session send its templates again, behind the records that wait.
    pub(super) fn announce(&self) {
        let mut waiting = self.lock();
        // One is enough, however often it is asked for.
        if !waiting.closed && !waiting.batches.back().is_some_and(|last| last.is_probe) {
            waiting.batches.push_back(Batch::probe());
            drop(waiting);
            self.filled.notify_one();
        }
    }

    /// Puts a batch in, or counts it as turned away.
    pub(super) fn offer(&self, batch: Batch) {
        let mut waiting = self.lock();
        if waiting.closed || waiting.records + batch.volume.records > self.limit {
            self.books.turned_away(NotSent::QueueFull, batch.volume);
            return;
        }
        self.books.queued(batch.volume);
        waiting.records += batch.volume.records;
        waiting.batches.push_back(batch);
        drop(waiting);
        self.filled.notify_one();
    }

    /// Blocks until half of the queue is free, or `patience` is over: for a reader that can wait, as a packet
    /// cannot.
    pub(super) fn wait_for_room(&self, patience: Duration) {
        let full = |waiting: &mut Waiting| !waiting.closed && waiting.records > self.limit / 2;
        drop(self.emptied.wait_timeout_while(self.lock(), patience, full));
    }

    /// No further batch comes; the session ends when it has sent what is there.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
        self.emptied.notify_all();
    }

    /// The next batch; `None` when the queue is closed and empty. Loses nothing when it is dropped.
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(batch) = waiting.batches.pop_front() {
                    waiting.records -= batch.volume.records;
                    self.emptied.notify_all();
                    return Some(batch);
                }
                if waiting.closed {
                    return None;
                }
            }
            // A notification between the look and here is kept for the next `notified`.
            self.filled.notified().await;
        }
    }

    /// The next batch, if there is one now.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        let batch = waiting.batches.pop_front()?;
        waiting.records -= batch.volume.records;
        Some(batch)
    }

    /// Completes when the queue is closed and empty; for the one who takes from it.
    pub(super) async fn finished(&self) {
        loop {
            {
                let waiting = self.lock();
                if waiting.closed && waiting.batches.is_empty() {
                    return;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Records that wait.
    pub(super) fn records(&self) -> u64 {
        self.lock().records
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use netflow_common::{FlowCounters, FlowKey};

    use super::*;
    use crate::{
        ledger::Ledger,
        record::{FlowEndReason, FlowRecord},
        time::Instant,
    };

    fn batch(records: usize) -> Batch {
        let counters = FlowCounters { packets: 2, octets: 80, ..FlowCounters::default() };
        let record =
            FlowRecord::new(FlowKey::default(), counters, FlowEndReason::IdleTimeout, &Instant::default());
        Batch::of(&vec![record; records], None)
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_and_says_so() {
        let mut ledger = Ledger::new();
        let books = ledger.join("test");
        let queue = Queue::new(Arc::clone(&books), QUEUE_RECORDS);
        queue.offer(batch(QUEUE_RECORDS as usize));
        queue.offer(batch(1));
        let numbers = books.read();
        assert_eq!(numbers.queued.records, QUEUE_RECORDS);
        assert_eq!(numbers.not_sent[NotSent::QueueFull as usize].packets, 2);
        assert_eq!(queue.next().await.unwrap().volume.records, QUEUE_RECORDS);
        queue.close();
        assert!(queue.next().await.is_none());
    }
}
