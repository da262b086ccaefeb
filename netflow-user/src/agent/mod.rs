//! Wires the stages, owns tasks and shutdown: the one room that knows the whole line.

mod anonymisation;
mod asked;
mod batch;
mod collector;
mod control;
mod error;
mod exporter;
mod flow;
mod group;
mod host_meter;
mod interfaces;
mod json;
mod ledger_file;
mod looking;
mod messages;
mod meter;
mod overload;
mod queue;
mod read;
mod reload;
mod scrapes;
mod service;
mod session;
mod sessions;
mod spool;
mod spread;
mod status;
mod traffic;

use std::{
    collections::hash_map::RandomState, hash::BuildHasher as _, os::fd::OwnedFd, sync::Arc, time::Duration,
};

use netflow_common::{FlowCounters, FlowKey, WideCounters, WideKey};
use rustix::event::{EventfdFlags, eventfd};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::{info, warn};

use self::{
    anonymisation::anonymiser,
    asked::{Answering, Asked},
    collector::{Collector, say_not_decoded},
    control::{Attaching, Control},
    flow::{Flow, Paired},
    group::Dispatch,
    interfaces::Metered,
    ledger_file::{LedgerFile, LedgerWriter},
    meter::{Ended, Meter, Outflow, report},
    overload::Overload,
    queue::Queue,
    reload::Reloader,
    session::{Pacing, SessionClock, Surroundings},
    sessions::Sessions,
    status::Shown,
    traffic::InterfaceTraffic,
};
pub use self::{
    error::{AgentError, chain},
    exporter::Exporter,
    overload::OnOverload,
    read::read,
    status::{CollectorState, Durations, Latencies, Status, Statuses, Timings},
};
use crate::{
    clock::{self, KernelClock},
    collect::{self, Listener},
    config::{CollectConfig, CollectorGroup, FlowsConfig, RunConfig, Sources},
    drain::{Drain, Entry, Place, TickClock},
    flow_cache::{Counters, FlowCache, Key},
    kernel::{Flip, Kernel, OwnExport, Width},
    ledger::Ledger,
    message::{InformationElement, KeyElement},
    privileges::Parted,
    route::{Follower, Routes},
    time::{MonotonicNanos, UnixMillis},
};

/// Entries of the one width.
type DefaultEntry = (FlowKey, FlowCounters);
/// And of the other.
type WideEntry = (WideKey, WideCounters);

/// How long sessions may send after the last record: a collector that takes nothing must not keep the
/// agent from ending.
const PATIENCE: Duration = Duration::from_secs(10);

/// `netflow run`: meters until SIGINT or SIGTERM; at SIGHUP reads its configuration again from `sources`.
///
/// # Errors
/// The step that failed; nothing is left attached.
pub async fn run(mut config: RunConfig, sources: Sources, parted: &Parted) -> Result<(), AgentError> {
    let privileged = parted.process();
    let privileged_ended = parted.ended().map_err(|source| AgentError::Poll { source })?;
    let mut metered = Metered::choose(&config, privileged).await?;
    let metrics = scrapes::listen(config.metrics)?;
    config.load.own_export = metered.leave_out(config.load.own_export);
    let mut kernel = Kernel::load_in(privileged, &config.load)?;
    let sizes = *kernel.sizes();
    if sizes.map_size < config.load.map_size {
        warn!(
            "flow maps have {} entries per CPU and generation, not {}, to stay within --kernel-memory",
            sizes.map_size, config.load.map_size
        );
    }
    if sizes.flow_table < config.load.flow_table {
        warn!(
            "the flow table has {} slots per CPU and generation, not {}, to stay within --kernel-memory",
            sizes.flow_table, config.load.flow_table
        );
    }
    if !kernel.takes_fragments() {
        warn!(
            "this kernel takes no XDP program for frames of several buffers with these options: interfaces with jumbo frames are metered by TC or not at all"
        );
    }
    let ticks = if config.load.precise_clock { TickClock::Nanos } else { clock::calibrate(&mut kernel)? };
    let (start, _) = clock::read(&mut kernel)?;
    let kernel_clock = Arc::new(KernelClock::new(&start));

    let mut ledger = Ledger::new();
    let mut collector = Collector::open(&config.export).await?;
    let destinations = collector.destinations(&config.export);
    let pacing = pacing(&config);
    let control = Arc::new(Control::new().map_err(|source| AgentError::Poll { source })?);
    let surroundings = Surroundings {
        pacing,
        clock: SessionClock::Live(Arc::clone(&kernel_clock)),
        // sysUpTime counts from the machine's start, as on a router: no packet is older.
        origin: kernel_clock.start(),
        control: (config.load.own_export != OwnExport::Metered).then(|| Arc::clone(&control)),
    };
    let mut sessions = Sessions::start(&destinations, &config.export, surroundings, &mut ledger).await?;
    // Nothing is attached yet, so no message has been seen before the kernel knows whose it is; and the sockets
    // stay open for as long as anything is attached.
    sessions.sockets().try_for_each(|socket| kernel.leave_out(socket))?;
    let ledger_file = config.ledger_file.as_deref().map(LedgerFile::open).transpose()?;
    let socket = asked::open(&config.control)?;
    let is_anonymised = config.anonymisation.is_some();
    let anonymiser = config.anonymisation.clone().map(|policy| anonymiser(policy, metered.begin()));

    let (routes, mut follower) = follow_routes(config.routes).await?.unzip();
    let routes_asked = routes.clone();

    // Before anything is attached: from here on a signal ends the agent with its books closed.
    let terminated = terminated()?;
    let hung_up = signal(SignalKind::hangup()).map_err(|source| AgentError::Signals { source })?;
    metered.start(&mut kernel).await?;
    collector.serve(config.export.format);
    let ledger_file = ledger_file.map(|file| file.start(&ledger.books())).transpose()?;
    let dispatch = share(&mut ledger, sessions.queues(), &config.export.collector_groups);
    let mut outflow = Outflow::new(ledger, dispatch).with_routes(routes).with_anonymiser(anonymiser);
    outflow.announce(None, |options| {
        options.sampled_one_in = config.export.sampling.map(|(_, one_in)| one_in);
        options.interfaces = metered.table().unwrap_or_default();
    });
    let (outcomes, attached) = mpsc::unbounded_channel();
    let stop =
        eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| AgentError::Poll { source: error.into() })?;
    let meter_stop: OwnedFd = stop.try_clone().map_err(|source| AgentError::Poll { source })?;
    let (shown, statuses) = watch::channel(None);
    let stages = Stages {
        kernel,
        ticks,
        drain_place: config.drain_place,
        flows: config.flows,
        outflow,
        flip: config.flip,
        ledger_file,
        explain: config.load.explain,
        control: Arc::clone(&control),
        attaching: Attaching { how: metered.how(), outcomes },
        overload: Overload::new(config.on_overload, config.load.measure.sampling_interval),
        interval: config.drain_interval,
        shown,
        started: start.unix_millis(),
    };
    let mut metering = match (config.load.measure.width(), config.export.biflow) {
        (Width::Default, false) => stages.start::<DefaultEntry>(meter_stop)?,
        (Width::Wide, false) => stages.start::<WideEntry>(meter_stop)?,
        (Width::Default, true) => stages.start::<Paired<DefaultEntry>>(meter_stop)?,
        (Width::Wide, true) => stages.start::<Paired<WideEntry>>(meter_stop)?,
    };
    info!(
        "metering {}: {} ({} flows in the table and {} behind it per CPU and generation, {} CPUs, about {} MiB of kernel memory)",
        metered.summary(),
        metered.direction(),
        sizes.flow_table,
        sizes.map_size,
        sizes.cpus,
        sizes.kernel_memory >> 20
    );

    service::ready("metering");
    let watched = statuses.clone();
    let asked = Asked::new(statuses.clone(), sessions.asked(), Arc::clone(&control));
    let (reloads, reloads_asked) = mpsc::channel(1);
    let asked = Arc::new(asked.with_reloads(reloads));
    asked.set_routes(routes_asked);
    asked.set_anonymised(is_anonymised);
    let answering = socket.map(|socket| Answering::start(socket, Arc::clone(&asked))).transpose()?;
    let _metrics = metrics.map(|listener| scrapes::serve(listener, statuses, &metered)).transpose()?;

    let by_interface = |part: &KeyElement| part.element == InformationElement::INGRESS_INTERFACE;
    let one_sided = !metered.sees_both_directions() && !config.load.tap;
    if config.export.biflow && one_sided && config.export.key.iter().any(by_interface) {
        warn!(
            "biflows pair what one interface shows of both directions: it needs --direction both, a mirror port, or a --key without ingressInterface (5-tuple)"
        );
    }

    let (wishes, wished) = mpsc::unbounded_channel();
    let mut reloader = Reloader {
        sources,
        reach: config.needs(),
        config,
        sessions: &mut sessions,
        routes: &mut follower,
        control: &control,
        wishes,
        asked: &asked,
    };
    let mut without_privileges = None;
    let early = tokio::select! {
        () = terminated => None,
        () = privileged_ended => {
            // Nobody can attach or load any more. What was metered is exported.
            without_privileges = Some(AgentError::PrivilegedProcessEnded);
            None
        }
        () = collector.ended() => None,
        result = &mut metering => Some(result),
        () = metered.follow(&control, attached, wished) => None,
        () = reloader.follow(hung_up, reloads_asked) => None,
        () = service::watch(watched) => None,
    };
    let config = reloader.config;
    service::stopping();
    let result = match early {
        // The meter ends by itself only when it fails.
        Some(result) => result,
        None => {
            let _ = rustix::io::write(&stop, &1u64.to_ne_bytes());
            metering.await
        }
    };
    let (outflow, failed) = joined(result)?;
    drop((answering, metered, follower));
    let pacing = sessions.pacing();
    finish(outflow, sessions, collector, config.ledger_file.as_deref(), pacing).await?;
    without_privileges.or(failed).map_or(Ok(()), Err)
}

/// What the metering thread is made of, whatever the width of its entries.
struct Stages {
    kernel: Kernel,
    ticks: TickClock,
    drain_place: Place,
    flows: FlowsConfig,
    outflow: Outflow,
    flip: Flip,
    ledger_file: Option<LedgerWriter>,
    explain: bool,
    control: Arc<Control>,
    attaching: Attaching,
    overload: Overload,
    interval: Duration,
    shown: Shown,
    started: UnixMillis,
}

impl Stages {
    /// Starts the thread.
    fn start<F>(self, stop: OwnedFd) -> Result<JoinHandle<Ended>, AgentError>
    where
        F: Flow + 'static,
        <F::Entry as Entry>::Key: Send,
        <F::Entry as Entry>::Counters: Send,
        F::Key: Send,
        F::Counters: Send,
    {
        let meter = Meter::<F> {
            kernel: self.kernel,
            ticks: self.ticks,
            drain: Drain::new(self.drain_place),
            cache: cache(&self.flows)?,
            buffer: Vec::new(),
            outflow: self.outflow,
            flip: self.flip,
            ledger_file: self.ledger_file,
            lost: 0,
            explain: self.explain,
            control: self.control,
            attaching: self.attaching,
            sampled: self.overload.interval(),
            overload: self.overload,
            early: false,
            interval: self.interval,
            flipped: MonotonicNanos(0),
            shown: self.shown,
            started: self.started,
            interfaces: InterfaceTraffic::default(),
            latencies: Latencies::default(),
        };
        Ok(tokio::task::spawn_blocking(move || meter.run(stop)))
    }
}

/// `netflow collect`: receives until SIGINT or SIGTERM, or until the output's reader leaves.
///
/// # Errors
/// The address cannot be listened on, or the output fails.
pub async fn collect(config: CollectConfig) -> Result<(), AgentError> {
    if !config.files.is_empty() {
        return joined(tokio::task::spawn_blocking(move || collect_files(&config)).await)?;
    }
    let listener = Listener::open(&config.listen)?;
    let terminated = terminated()?;
    listener.places().iter().for_each(|place| info!("listening on {place}"));
    let mut collector = Collector::on(listener);
    collector.serve(config.format);
    tokio::select! {
        () = terminated => {}
        () = collector.ended() => {}
    }
    collector.finish().await
}

/// Prints what IPFIX Files hold, one after the other.
fn collect_files(config: &CollectConfig) -> Result<(), AgentError> {
    for file in &config.files {
        let summary = collect::read(file, config.format, std::io::stdout().lock())?;
        info!("{}: {summary}", file.display());
        say_not_decoded(&summary);
    }
    Ok(())
}

/// The routing tables, where they are asked for and to be had.
async fn follow_routes(wanted: bool) -> Result<Option<(Routes, Follower)>, AgentError> {
    if !wanted {
        return Ok(None);
    }
    match joined(tokio::task::spawn_blocking(Follower::start).await)? {
        Ok(following) => Ok(Some(following)),
        Err(error) => {
            warn!("{}: records say nothing about routes", chain(&error));
            Ok(None)
        }
    }
}

fn cache<K: Key, C: Counters>(flows: &FlowsConfig) -> Result<FlowCache<K, C>, AgentError> {
    // Keyed by the process's own randomness, so that nobody can send flows that collide.
    let random = RandomState::new();
    let seed = [random.hash_one(0u8), random.hash_one(1u8)];
    Ok(FlowCache::new(flows.cache_size, flows.timeouts, seed)?)
}

/// Who gets which records, also as the ledger knows it.
fn share(ledger: &mut Ledger, queues: Vec<Arc<Queue>>, groups: &[CollectorGroup]) -> Dispatch {
    groups.iter().for_each(|group| ledger.share(&group.name, &group.members));
    Dispatch::new(queues, groups)
}

/// Waits for the sessions, checks the books a last time and writes them.
async fn finish(
    mut outflow: Outflow,
    sessions: Sessions,
    collector: Collector,
    path: Option<&std::path::Path>,
    pacing: Pacing,
) -> Result<(), AgentError> {
    // Every record goes out, however long the pace makes it take, unless a second signal says otherwise.
    let waiting = sessions.queues().iter().map(|queue| queue.records()).max().unwrap_or(0);
    let (hurry, hurried) = watch::channel(false);
    let again = terminated()?;
    let hurrying = tokio::spawn(async move {
        again.await;
        let _ = hurry.send(true);
    });
    // Who prints no more needs no more.
    let patience = if collector.has_left() { Duration::ZERO } else { patience(waiting, pacing) };
    sessions.finish(patience, &hurried).await;
    hurrying.abort();
    let collected = collector.finish().await;
    report(outflow.ledger.check_destinations());
    report(outflow.ledger.check_end());
    let books = outflow.ledger.books();
    info!("{books}");
    if let Some(path) = path {
        LedgerFile::open(path)?.close(&books)?;
    }
    if outflow.ledger.balanced() { collected } else { Err(AgentError::Imbalance) }
}

/// How fast records go, by the configuration.
fn pacing(config: &RunConfig) -> Pacing {
    config.export.rate.map_or(Pacing::Spread(config.drain_interval), Pacing::Rate)
}

/// How long a session may take for so many records at the end.
fn patience(waiting: u64, pacing: Pacing) -> Duration {
    PATIENCE
        + match pacing {
            Pacing::Rate(rate) => Duration::from_secs(2 * waiting / rate.max(1)),
            Pacing::Spread(interval) => spread::time(waiting, interval),
        }
}

/// Completes at SIGINT or SIGTERM.
fn terminated() -> Result<impl Future<Output = ()>, AgentError> {
    let fail = |source| AgentError::Signals { source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, AgentError> {
    match result {
        Ok(result) => Ok(result),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(AgentError::Cancelled),
    }
}
