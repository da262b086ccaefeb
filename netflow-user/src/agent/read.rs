//! `netflow read`: capture file -> packet -> flow cache -> record -> queues, on the capture's clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use netflow_common::KernelStats;
use tracing::info;

use super::{
    AgentError, Collector, DefaultEntry, PATIENCE, WideEntry,
    anonymisation::anonymiser,
    cache, finish,
    flow::{Flow, Paired},
    host_meter::{HostEntry, HostMeter},
    joined,
    ledger_file::LedgerFile,
    meter::{Outflow, report},
    session::{Pacing, SessionClock, Surroundings},
    sessions::Sessions,
    share, terminated,
};
use crate::{
    capture::{CaptureFile, CapturedPacket},
    config::ReadConfig,
    filter::{Filter, FilterError},
    flow_cache::FlowCache,
    kernel::{Measure, Width},
    ledger::{Ledger, Tally},
    record::FlowEndReason,
    time::{Instant, MonotonicNanos},
};

/// The capture's time between two looks at the timeouts, as between two drains of the kernel's maps.
const TICK: Duration = Duration::from_secs(1);

/// Of the capture's clock, in nanoseconds.
const CLOCK_STEP: u64 = 1;

/// Meters a capture file.
///
/// # Errors
/// The step that failed. Of a file that ends in the middle of a packet, the whole packets have been
/// metered and exported.
pub async fn read(config: ReadConfig) -> Result<(), AgentError> {
    match (config.measure.width(), config.export.biflow) {
        (Width::Default, false) => read_as::<DefaultEntry>(config).await,
        (Width::Wide, false) => read_as::<WideEntry>(config).await,
        (Width::Default, true) => read_as::<Paired<DefaultEntry>>(config).await,
        (Width::Wide, true) => read_as::<Paired<WideEntry>>(config).await,
    }
}

async fn read_as<F>(config: ReadConfig) -> Result<(), AgentError>
where
    F: Flow<Entry: HostEntry> + 'static,
    F::Key: Send,
    F::Counters: Send,
{
    let mut file = CaptureFile::open(&config.file)?;
    // sysUpTime begins with the first packet, so that has to be known before the first message.
    let mut reader = Reader::<F>::new(cache(&config.flows)?, config.measure, config.filter);
    let mut failed: Option<AgentError> = None;
    match file.next_packet() {
        Ok(Some(first)) => reader.begin(&first)?,
        Ok(None) => {}
        Err(error) => failed = Some(error.into()),
    }
    let mut ledger = Ledger::new();
    let mut collector = Collector::open(&config.export).await?;
    let pacing = Pacing::Rate(config.export.rate.unwrap_or(u64::MAX));
    // sysUpTime is 1 at the first packet: collectors take a v9 flow whose two times are 0 for one that has none, and
    // say 1970 (seen with nfdump 1.7.1 and tshark 4.0).
    let origin = MonotonicNanos(reader.now.saturating_sub(1_000_000));
    let clock = SessionClock::Capture(reader.instant());
    let surroundings = Surroundings { pacing, clock, origin, control: None };
    let destinations = collector.destinations(&config.export);
    let sessions = Sessions::start(&destinations, &config.export, surroundings, &mut ledger).await?;
    config.ledger_file.as_deref().map(LedgerFile::open).transpose()?;
    let terminated = terminated()?;
    collector.serve(config.export.format);
    let anonymiser = config.anonymisation.map(|policy| anonymiser(policy, std::iter::empty()));
    let dispatch = share(&mut ledger, sessions.queues(), &config.export.collector_groups);
    let mut outflow = Outflow::new(ledger, dispatch).with_anonymiser(anonymiser);
    info!("reading {}", config.file.display());

    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut reading = tokio::task::spawn_blocking(move || {
        while failed.is_none() && !stopped.load(Ordering::Relaxed) {
            match file.next_packet() {
                Ok(Some(packet)) => failed = reader.meter(&packet, &mut outflow).err().map(Into::into),
                Ok(None) => break,
                Err(error) => failed = Some(error.into()),
            }
        }
        reader.end(&mut outflow);
        (outflow, failed)
    });
    let whole = tokio::select! {
        result = &mut reading => Some(result),
        () = terminated => None,
        () = collector.ended() => None,
    };
    let result = match whole {
        Some(result) => result,
        None => {
            stop.store(true, Ordering::Relaxed);
            if collector.has_left() {
                sessions.queues().iter().for_each(|queue| queue.close());
            }
            if let Ok(result) = tokio::time::timeout(PATIENCE, &mut reading).await {
                result
            } else {
                // It waits for room in a queue.
                sessions.queues().iter().for_each(|queue| queue.close());
                reading.await
            }
        }
    };
    let (outflow, failed) = joined(result)?;
    finish(outflow, sessions, collector, config.ledger_file.as_deref(), pacing).await?;
    failed.map_or(Ok(()), Err)
}

/// What stands for the kernel: the same parser, and books like the kernel's.
struct Reader<F: Flow> {
    cache: FlowCache<F::Key, F::Counters>,
    meter: HostMeter,
    /// The latest time of a packet, in nanoseconds since 1970: the monotonic clock of this run.
    now: u64,
    next_tick: u64,
}

impl<F: Flow<Entry: HostEntry>> Reader<F> {
    fn new(cache: FlowCache<F::Key, F::Counters>, measure: Measure, filter: Option<Arc<Filter>>) -> Self {
        Self { cache, meter: HostMeter::new(measure, filter), now: 0, next_tick: 0 }
    }

    fn begin(&mut self, packet: &CapturedPacket<'_>) -> Result<(), FilterError> {
        self.now = packet.time_unix_nanos;
        self.next_tick = self.now.saturating_add(TICK.as_nanos() as u64);
        if let Some(delta) = self.meter.meter::<F::Entry>(packet)? {
            let (key, counters) = F::cached(&delta, CLOCK_STEP);
            // The cache is empty: nothing leaves it to make room.
            self.cache.merge(&key, &counters, &mut |_, _, _| {});
        }
        Ok(())
    }

    fn meter(&mut self, packet: &CapturedPacket<'_>, outflow: &mut Outflow) -> Result<(), FilterError> {
        self.catch_up(packet.time_unix_nanos, outflow);
        // Packets of several interfaces may stand in the file a little out of order.
        if packet.time_unix_nanos > self.now {
            self.now = packet.time_unix_nanos;
        }
        if self.now >= self.next_tick {
            self.tick(outflow);
            self.next_tick = self.now.saturating_add(TICK.as_nanos() as u64);
        }
        if let Some(delta) = self.meter.meter::<F::Entry>(packet)? {
            let at = self.instant();
            let (key, counters) = F::cached(&delta, CLOCK_STEP);
            self.cache.merge(&key, &counters, &mut |key, counters, reason| {
                outflow.push(F::record(key, counters, reason, &at), Some(at));
            });
        }
        Ok(())
    }

    /// Ends flows that are over before `time` when they are over, as live, however late the next packet comes: a
    /// capture may have a gap of months, and v9's times reach 49 days.
    fn catch_up(&mut self, time: u64, outflow: &mut Outflow) {
        if self.next_tick >= time {
            return;
        }
        while let Some(deadline) = self.cache.next_deadline() {
            let tick = deadline.0.max(self.next_tick);
            if tick >= time {
                break;
            }
            self.now = tick;
            self.tick(outflow);
            self.next_tick = tick.saturating_add(TICK.as_nanos() as u64);
        }
    }

    /// The capture's clock is monotonic clock and wall clock in one.
    fn instant(&self) -> Instant {
        Instant { monotonic: MonotonicNanos(self.now), unix_nanos: self.now }
    }

    fn tick(&mut self, outflow: &mut Outflow) {
        let at = self.instant();
        self.cache.expire(at.monotonic, &mut |key, counters, reason| {
            outflow.push(F::record(key, counters, reason, &at), Some(at));
        });
        self.close(outflow, at);
        outflow.queues().iter().for_each(|queue| queue.wait_for_room(Duration::MAX));
    }

    fn end(mut self, outflow: &mut Outflow) {
        self.tick(outflow);
        let at = self.instant();
        self.cache.flush(FlowEndReason::ForcedEnd, &mut |key, counters, reason| {
            outflow.push(F::record(key, counters, reason, &at), Some(at));
        });
        outflow.flush(Some(at));
        outflow.check(&self.cache);
    }

    fn close(&mut self, outflow: &mut Outflow, at: Instant) {
        outflow.flush(Some(at));
        report(outflow.ledger.close_flip(&self.meter.stats, self.meter.metered));
        outflow.ledger.tell_metering(self.cache.begun(), at.unix_millis());
        outflow.check(&self.cache);
        (self.meter.stats, self.meter.metered) = (KernelStats::default(), Tally::default());
    }
}
