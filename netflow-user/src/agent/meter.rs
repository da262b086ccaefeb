//! The metering line, on a thread of its own: tick -> flip -> drain -> flow cache -> record -> queues.

use std::{num::NonZeroU32, os::fd::AsFd, sync::Arc, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use tracing::{debug, error, warn};

use super::{
    AgentError, PATIENCE,
    batch::{BATCH_RECORDS, Batch},
    control::{Attaching, Control},
    flow::Flow,
    group::Dispatch,
    ledger_file::LedgerWriter,
    looking::Recent,
    overload::{Load, Overload},
    queue::Queue,
    status::{CollectorState, Latencies, Shown, Status, Timings},
    traffic::{InterfaceTraffic, RecordTraffic},
};
use crate::{
    clock,
    config::CollectorGroup,
    drain::{Drain, TickClock},
    flow_cache::{Counters, FlowCache, Key},
    interface::Interface,
    kernel::{Flip, Generation, Kernel, Watermarks},
    ledger::{Imbalance, Ledger, Tally},
    log::say_left_out,
    message::OptionsData,
    record::{FlowEndReason, FlowRecord, anonymisation::Anonymiser},
    route::Routes,
    time::{Instant, MonotonicNanos, UnixMillis},
};

/// The last stage before the sessions: records are entered in the ledger, lose their addresses where the operator
/// asks for it, and are offered to the collectors.
pub(super) struct Outflow {
    pub(super) ledger: Ledger,
    dispatch: Dispatch,
    /// The kernel's routing tables; captures have none.
    routes: Option<Routes>,
    /// What options data say of the records now.
    options: OptionsData,
    /// What takes addresses out of records.
    anonymiser: Option<Anonymiser>,
    records: Vec<FlowRecord>,
    /// What is shown of records.
    pub(super) traffic: RecordTraffic,
    /// The last of them.
    pub(super) recent: Recent,
}

impl Outflow {
    pub(super) fn new(ledger: Ledger, dispatch: Dispatch) -> Self {
        let (options, records) = (OptionsData::default(), Vec::with_capacity(BATCH_RECORDS));
        let traffic = RecordTraffic::default();
        let recent = Recent::default();
        Self { ledger, dispatch, routes: None, anonymiser: None, options, records, traffic, recent }
    }

    /// Records say where their packets go, by these tables.
    pub(super) fn with_routes(self, routes: Option<Routes>) -> Self {
        Self { routes, ..self }
    }

    /// Those before go by what was there.
    pub(super) fn set_routes(&mut self, routes: Option<Routes>) {
        self.flush(None);
        self.routes = routes;
    }

    /// These are the collectors from now on, and this is what becomes of addresses, where it is not as it was. New ones
    /// learn what options data say.
    pub(super) fn arrange(
        &mut self,
        queues: Vec<Arc<Queue>>,
        groups: &[CollectorGroup],
        anonymiser: Option<Option<Anonymiser>>,
    ) {
        // Records so far go where and as they would have gone.
        self.flush(None);
        if let Some(anonymiser) = anonymiser {
            self.anonymiser = anonymiser;
        }
        let is_new = |queue: &&Arc<Queue>| !self.dispatch.queues().iter().any(|old| Arc::ptr_eq(old, queue));
        let options = Batch::of_options(Arc::new(self.options.clone()));
        queues.iter().filter(is_new).for_each(|queue| queue.offer(options.clone()));
        let books: Vec<_> = queues.iter().map(|queue| queue.books()).collect();
        self.ledger.arrange(&books);
        groups.iter().for_each(|group| self.ledger.share(&group.name, &group.members));
        self.dispatch = Dispatch::new(queues, groups);
        report(self.ledger.check_destinations());
    }

    /// Records lose their addresses.
    pub(super) fn with_anonymiser(self, anonymiser: Option<Anonymiser>) -> Self {
        Self { anonymiser, ..self }
    }

    /// An interface is metered from now on. Of one that had its index before, all records are flushed.
    pub(super) fn attached(&mut self, interface: &Interface) {
        if let Some(anonymiser) = &mut self.anonymiser {
            anonymiser.attached(interface.index, &interface.name);
        }
    }

    /// A metered interface has another name.
    pub(super) fn renamed(&mut self, index: u32, name: &str) {
        if let Some(anonymiser) = &mut self.anonymiser {
            anonymiser.renamed(index, name);
        }
    }

    /// Takes one record.
    pub(super) fn push(&mut self, record: FlowRecord, at: Option<Instant>) {
        self.ledger.record(record.end_reason, Tally { packets: record.packets(), octets: record.octets() });
        self.traffic.count(&record);
        self.records.push(record);
        if self.records.len() == BATCH_RECORDS {
            self.flush(at);
        }
    }

    /// How the destinations are: in the order of the books, in which those that have left come last.
    fn collectors(&self) -> Vec<CollectorState> {
        let state =
            |queue: &Arc<Queue>| CollectorState { is_good: queue.is_good(), queue_limit: queue.limit() };
        self.queues().iter().map(state).collect()
    }

    /// All queues.
    pub(super) fn queues(&self) -> &[Arc<Queue>] {
        self.dispatch.queues()
    }

    /// Offers what has come together.
    pub(super) fn flush(&mut self, at: Option<Instant>) {
        self.dispatch.look();
        if self.records.is_empty() {
            return;
        }
        // A batch at once: the lookups share a lock.
        if let Some(routes) = &self.routes {
            routes.fill(&mut self.records);
        }
        // Last: whatever is looked up by address has been.
        if let Some(anonymiser) = &mut self.anonymiser {
            self.records.iter_mut().for_each(|record| anonymiser.apply(record));
        }
        self.recent.keep(self.dispatch.offer(&mut self.records, at));
    }

    /// Changes what options data say of the records from now on: those before go first (OPT-SAMP-2).
    pub(super) fn announce(&mut self, at: Option<Instant>, change: impl FnOnce(&mut OptionsData)) {
        let mut options = self.options.clone();
        change(&mut options);
        if options == self.options {
            return;
        }
        self.flush(at);
        self.options = options;
        self.dispatch.announce(&Batch::of_options(Arc::new(self.options.clone())));
    }

    /// After a batch has been offered: blocks until the queues have room for the next, until `deadline` at most.
    fn wait_for_room(&self, deadline: MonotonicNanos) {
        if self.records.is_empty() {
            for queue in self.dispatch.queues() {
                queue.wait_for_room(deadline.since(clock::now().monotonic));
            }
        }
    }

    /// Checks what must hold between flow cache, records and queues.
    pub(super) fn check<K: Key, C: Counters>(&mut self, cache: &FlowCache<K, C>) {
        let in_cache = cache.in_cache();
        let tally = Tally { packets: in_cache.packets, octets: in_cache.octets };
        let flows = cache.flows() as u64;
        report(self.ledger.check_cache(flows, u64::from(cache.capacity()).saturating_sub(flows), tally));
        report(self.ledger.check_destinations());
    }
}

/// An imbalance is an error in the log; the ledger keeps it, so that it also shows in the exit code.
pub(super) fn report(result: Result<(), Imbalance>) {
    if let Err(imbalance) = result {
        error!("the ledger does not balance: {imbalance}");
    }
}

/// What is left when the meter has ended, and why it did where nobody asked for it.
pub(super) type Ended = (Outflow, Option<AgentError>);

/// Everything between the kernel and the queues.
pub(super) struct Meter<F: Flow> {
    pub(super) kernel: Kernel,
    pub(super) ticks: TickClock,
    pub(super) drain: Drain<F::Entry>,
    pub(super) cache: FlowCache<F::Key, F::Counters>,
    /// Working memory of a merge.
    pub(super) buffer: Vec<(F::Key, F::Counters)>,
    pub(super) outflow: Outflow,
    pub(super) flip: Flip,
    pub(super) ledger_file: Option<LedgerWriter>,
    pub(super) lost: u64,
    /// The kernel program's log, passed on at each tick.
    pub(super) explain: bool,
    /// What to do besides.
    pub(super) control: Arc<Control>,
    /// How to attach when told so.
    pub(super) attaching: Attaching,
    /// One in how many packets is metered.
    pub(super) overload: Overload,
    /// One in how many is metered in the current generation.
    pub(super) sampled: NonZeroU32,
    /// The next flip comes early: a map has passed its watermark.
    pub(super) early: bool,
    /// Between two flips.
    pub(super) interval: Duration,
    /// The last flip, by the packets' clock.
    pub(super) flipped: MonotonicNanos,
    /// Where the agent shows itself.
    pub(super) shown: Shown,
    /// What is shown of interfaces.
    pub(super) interfaces: InterfaceTraffic,
    pub(super) started: UnixMillis,
    pub(super) latencies: Latencies,
}

impl<F: Flow> Meter<F> {
    /// Ticks at each interval, or when a map passes its watermark, until `stop` becomes readable. Then
    /// detaches, drains both generations and ends all flows. Returns what holds the ledger.
    pub(super) fn run(mut self, stop: impl AsFd) -> Ended {
        // Where it is not allowed (CAP_SYS_NICE), it has to do without.
        if let Err(error) = self.kernel.prioritise_this_thread() {
            debug!("the metering thread keeps its priority: {error}");
        }
        self.kernel.attachments().iter().for_each(|attachment| self.interfaces.attached(attachment));
        let failed = self.meter(&stop).and_then(|()| self.drain_both()).err();
        self.control.close();
        // Whatever failed: the flows that are there are exported, and the books tell what is missing.
        self.kernel.detach_all();
        let now = clock::read(&mut self.kernel).map_or_else(|_| clock::now(), |(now, _)| now);
        let patience = now.monotonic.plus(PATIENCE);
        let Self { cache, outflow, .. } = &mut self;
        cache.flush(FlowEndReason::ForcedEnd, &mut |key, counters, reason| {
            outflow.push(F::record(key, counters, reason, &now), None);
            // No packet can be lost any more by waiting.
            outflow.wait_for_room(patience);
        });
        outflow.flush(None);
        outflow.check(cache);
        (self.outflow, failed)
    }

    fn meter(&mut self, stop: &impl AsFd) -> Result<(), AgentError> {
        let mut due = clock::now().monotonic.plus(self.interval);
        loop {
            let wait = due.since(clock::now().monotonic);
            match self.wait(wait, stop)? {
                Wake::Stop => return Ok(()),
                Wake::Watermark(passed) => {
                    debug!("{passed:?} have passed their watermark: flipping early");
                    self.early |= passed.maps > 0;
                }
                Wake::Command => {
                    let interval = self.interval;
                    self.obey()?;
                    let now = clock::now().monotonic;
                    if self.interval != interval {
                        due = now.plus(self.interval);
                    }
                    if now < due {
                        continue;
                    }
                    due = due.plus(self.interval);
                }
                Wake::Time => due = MonotonicNanos(due.0.max(clock::now().monotonic.0)).plus(self.interval),
            }
            self.tick()?;
        }
    }

    /// A program that runs now ends before the wait of the first flip returns, but may have read the
    /// generation after it: the second drain takes that.
    fn drain_both(&mut self) -> Result<(), AgentError> {
        self.kernel.detach_all();
        self.tick()?;
        self.tick()
    }

    pub(super) fn tick(&mut self) -> Result<(), AgentError> {
        let (now, reading) = clock::read(&mut self.kernel)?;
        self.ticks.observe(&reading);
        // No packet that comes after the flip has an earlier time: by its clock, the one of packets.
        let flipped = match self.ticks {
            TickClock::Nanos => now.monotonic,
            TickClock::Jiffies { .. } => self.ticks.nanos(reading.jiffies),
        };
        let interval = self.overload.interval();
        let resampled = interval != self.sampled;
        if resampled {
            // The frozen generation is still under the old interval, and so are its flows.
            self.kernel.sample_next(interval)?;
        }
        let begun = clock::now().monotonic;
        let frozen: Generation = self.kernel.flip(self.flip)?;
        let waited = clock::now().monotonic;
        if resampled {
            // The generation after this one is, too.
            self.kernel.sample_next(interval)?;
        }
        let Self { kernel, ticks, drain, cache, buffer, outflow, interfaces, .. } = self;
        outflow.traffic.at(now);
        let mut emit = |key, counters, reason| outflow.push(F::record(key, counters, reason, &now), None);
        let drained = drain.take(kernel, frozen, ticks, |deltas| {
            interfaces.count::<F>(deltas);
            F::merge(cache, deltas, ticks.step(), buffer, &mut emit);
        })?;
        let merged = clock::now().monotonic;
        cache.expire(flipped, &mut emit);
        self.flipped = flipped;
        if resampled {
            // What was metered at one rate is not put together with what is metered at another (OPT-SAMP-2,
            // METER-OVL-1), and collectors learn of the rate before they get records under it.
            cache.flush(FlowEndReason::ForcedEnd, &mut emit);
        }
        outflow.flush(None);
        if resampled {
            outflow.announce(None, |options| options.sampled_one_in = Some(interval));
            self.sampled = interval;
        }
        let metered = Tally { packets: drained.packets, octets: drained.octets };
        report(outflow.ledger.close_flip(&drained.stats, metered));
        outflow.ledger.tell_metering(cache.begun(), now.unix_millis());
        outflow.check(cache);

        let lost: u64 = drained.stats.lost_packets.iter().sum();
        if lost > 0 && self.lost == 0 {
            warn!(
                "{lost} packets lost, see map_full and cpu_without_map in the ledger; against full maps a larger --map-size or a shorter --drain-interval helps"
            );
        }
        self.lost += lost;
        let load = match (lost > 0, std::mem::take(&mut self.early)) {
            (true, _) => Load::Lost,
            (false, true) => Load::Early,
            (false, false) => Load::Calm,
        };
        if self.overload.learn(load) {
            let interval = self.overload.interval();
            warn!("load {load:?}: one in {interval} packets is metered from the next flip on");
        }
        if self.explain {
            self.kernel.flush_log();
        }
        say_left_out(false);
        self.write_ledger();
        let timings = Timings {
            flip: waited.since(begun),
            drain: merged.since(waited),
            expire: clock::now().monotonic.since(merged),
        };
        self.show(now.unix_millis(), timings);
        Ok(())
    }

    /// Shows how things are, to whoever looks.
    fn show(&mut self, at: UnixMillis, timings: Timings) {
        self.latencies.enter(&timings);
        self.shown.send_replace(Some(Arc::new(Status {
            at,
            started: self.started,
            books: self.outflow.ledger.books(),
            timings,
            latencies: self.latencies,
            drain_interval: self.interval,
            collectors: self.outflow.collectors(),
            sampled_one_in: self.sampled.get(),
            traffic: self.outflow.traffic.shown(),
            interfaces: self.interfaces.shown(),
        })));
    }

    /// Shows what has changed since the last flip.
    pub(super) fn show_again(&mut self) {
        let Some(last) = self.shown.borrow().clone() else { return };
        let (books, traffic) = (self.outflow.ledger.books(), self.outflow.traffic.shown());
        let collectors = self.outflow.collectors();
        self.shown.send_replace(Some(Arc::new(Status { books, collectors, traffic, ..(*last).clone() })));
    }

    pub(super) fn write_ledger(&self) {
        if let Some(file) = &self.ledger_file {
            file.write(self.outflow.ledger.books());
        }
    }

    fn wait(&mut self, time: Duration, stop: &impl AsFd) -> Result<Wake, AgentError> {
        let timeout = time.try_into().ok();
        let (stopped, told, watermark) = {
            let watermark = self.kernel.watermark_fd();
            let mut polled = [
                PollFd::new(stop, PollFlags::IN),
                PollFd::new(&*self.control, PollFlags::IN),
                PollFd::new(&watermark, PollFlags::IN),
            ];
            match poll(&mut polled, timeout.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => return Ok(Wake::Time),
                Err(error) => return Err(AgentError::Poll { source: error.into() }),
            }
            let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
            let [stop, control, watermark] = polled;
            (is_ready(&stop), is_ready(&control), is_ready(&watermark))
        };
        if stopped {
            return Ok(Wake::Stop);
        }
        if told {
            return Ok(Wake::Command);
        }
        if watermark {
            let passed = self.kernel.take_watermarks();
            if passed != Watermarks::default() {
                return Ok(Wake::Watermark(passed));
            }
        }
        Ok(Wake::Time)
    }
}

enum Wake {
    Time,
    Watermark(Watermarks),
    Command,
    Stop,
}
