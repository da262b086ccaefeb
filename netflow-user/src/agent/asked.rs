//! What is answered at the control socket, and from what: from the last picture where that is enough, else by the
//! metering thread, in pieces between drains.

mod flows;
mod level;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Serialize;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};
use tracing::{info, warn};

use self::level::log_level;
use super::{
    AgentError,
    control::Control,
    error::chain,
    queue::Queue,
    session::{About, Outlet},
    status::{Status, Statuses},
};
use crate::{
    clock,
    control::{
        self, Access, CollectorLine, ControlError, DEFAULT_PATH, Done, Export, Interfaces, LedgerAnswer,
        Place, Request, Responder, Socket, Summary, TemplateLine, Templates,
    },
    ledger::{Books, ByReason, DestinationLines, Tally},
    route::Routes,
};

/// Questions that may be on their way through the flow cache at once; further ones wait.
const LOOKS: usize = 4;
/// What is said when nobody answers any more.
const ENDING: &str = "the agent is about to end";

/// A collector, as the sessions say.
pub(super) struct AskedCollector {
    queue: Arc<Queue>,
    about: About,
}

impl AskedCollector {
    /// That of a session.
    pub(super) fn of(outlet: &Outlet) -> Self {
        Self { queue: Arc::clone(&outlet.queue), about: outlet.about.clone() }
    }
}

/// Makes the control socket. That the usual one is not to be had does not keep the agent from starting.
pub(super) fn open(place: &Place) -> Result<Option<Socket>, ControlError> {
    match place {
        Place::None => Ok(None),
        Place::At(path) => Socket::bind(path).map(Some),
        Place::Default => Ok(Socket::bind(Path::new(DEFAULT_PATH))
            .inspect_err(|error| warn!("{}: nobody can ask this agent", chain(error)))
            .ok()),
    }
}

/// Answers for as long as it is there.
pub(super) struct Answering {
    task: JoinHandle<()>,
    _socket: Socket,
}

impl Answering {
    /// Answers at this socket from now on.
    pub(super) fn start(socket: Socket, asked: Arc<Asked>) -> Result<Self, AgentError> {
        let fail = |source| ControlError::Bind { path: socket.path().to_owned(), source };
        let task = tokio::spawn(control::serve(&socket, asked).map_err(fail)?);
        info!("answering at {}", socket.path().display());
        Ok(Self { task, _socket: socket })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whoever answers.
pub(super) struct Asked {
    statuses: Statuses,
    /// Those that have sessions now.
    collectors: Mutex<Vec<AskedCollector>>,
    /// What statistics are shown relative to; the books are not.
    cleared: Mutex<Option<Arc<Status>>>,
    /// To the metering thread.
    control: Arc<Control>,
    /// Where flows go.
    routes: Mutex<Option<Routes>>,
    /// Addresses in records are not those of packets.
    is_anonymised: AtomicBool,
    /// Turns at the flow cache: to look at it, and to end flows.
    looks: Semaphore,
    expiry: Semaphore,
    /// Who reads the configuration again; nobody: it cannot be.
    reloads: Option<mpsc::Sender<Reload>>,
}

/// The configuration is to be read again.
#[derive(Debug)]
pub(super) struct Reload {
    /// What was changed, in lines, or why nothing was.
    pub(super) done: oneshot::Sender<Result<Vec<String>, String>>,
}

impl Asked {
    /// Answers from these pictures.
    pub(super) fn new(statuses: Statuses, collectors: Vec<AskedCollector>, control: Arc<Control>) -> Self {
        Self {
            statuses,
            collectors: Mutex::new(collectors),
            cleared: Mutex::new(None),
            control,
            routes: Mutex::new(None),
            is_anonymised: AtomicBool::new(false),
            looks: Semaphore::new(LOOKS),
            expiry: Semaphore::new(1),
            reloads: None,
        }
    }

    /// Flows say where they go, by these tables.
    pub(super) fn set_routes(&self, routes: Option<Routes>) {
        *lock(&self.routes) = routes;
    }

    /// Whether records do not have the addresses of packets.
    pub(super) fn set_anonymised(&self, is_anonymised: bool) {
        self.is_anonymised.store(is_anonymised, Ordering::Relaxed);
    }

    fn is_anonymised(&self) -> bool {
        self.is_anonymised.load(Ordering::Relaxed)
    }

    /// These have sessions from now on.
    pub(super) fn set_collectors(&self, collectors: Vec<AskedCollector>) {
        *lock(&self.collectors) = collectors;
    }

    /// Asks these to read the configuration again.
    pub(super) fn with_reloads(self, reloads: mpsc::Sender<Reload>) -> Self {
        Self { reloads: Some(reloads), ..self }
    }

    /// The last picture; waits for the first one.
    async fn status(&self) -> Result<Arc<Status>, String> {
        let mut statuses = self.statuses.clone();
        let status = statuses.wait_for(Option::is_some).await.ok().and_then(|status| status.clone());
        status.ok_or_else(|| ENDING.to_owned())
    }

    async fn summary(&self) -> Result<Summary, String> {
        let status = self.status().await?;
        let cleared = lock(&self.cleared).clone();
        Ok(summary(&status, cleared.as_deref()))
    }

    fn export(&self) -> Export {
        let collector = |collector: &AskedCollector| CollectorLine {
            protocol: collector.about.protocol.to_owned(),
            peer: collector.about.peer.clone(),
            is_good: collector.queue.is_good(),
            queue_limit: collector.queue.limit(),
            books: DestinationLines::now(&collector.queue.books()),
        };
        Export {
            at: clock::now().unix_millis(),
            collectors: lock(&self.collectors).iter().map(collector).collect(),
        }
    }

    fn templates(&self) -> Templates {
        let collectors = lock(&self.collectors);
        let lines = collectors.iter().flat_map(|collector| {
            let named = |line: &TemplateLine| TemplateLine {
                collector: collector.queue.name().to_owned(),
                ..line.clone()
            };
            collector.about.templates.iter().map(named)
        });
        Templates { templates: lines.collect() }
    }
}

impl Responder for Asked {
    async fn respond(&self, request: Request, access: Access) -> Result<String, String> {
        // Nobody is to see here what the operator keeps out of records, but those who can see packets anyway.
        if self.is_anonymised() && request.shows_addresses() && access != Access::All {
            return Err(
                "addresses are anonymised: only root and the agent's own user may see them".to_owned()
            );
        }
        match request {
            Request::ShowLedger => {
                let status = self.status().await?;
                let Status { at, started, books, .. } = &*status;
                json(&LedgerAnswer { at: *at, started: *started, books: books.clone() })
            }
            Request::ShowSummary => json(&self.summary().await?),
            Request::ShowExport => json(&self.export()),
            Request::ShowInterfaces => {
                let status = self.status().await?;
                json(&Interfaces { at: status.at, interfaces: status.interfaces.clone() })
            }
            Request::ShowTemplates => json(&self.templates()),
            Request::ShowFlows(query) => json(&self.flows(&query).await?),
            Request::Explain { address } => json(&self.explain(&address).await?),
            Request::Expire { address } => done(self.expire(address.as_deref()).await?),
            Request::ClearStatistics => done(self.clear().await?),
            Request::SendTemplates => done(self.send_templates()),
            Request::LogLevel { level } => done(log_level(level)?),
            Request::Reload => done(self.reload().await?),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn done(lines: Vec<String>) -> Result<String, String> {
    json(&Done { done: lines })
}

fn json(answer: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(answer).map_err(|error| error.to_string())
}

fn summary(status: &Status, cleared: Option<&Status>) -> Summary {
    let before = cleared.map(|cleared| &cleared.books);
    let since = |now: u64, earlier: Option<u64>| now.saturating_sub(earlier.unwrap_or(0));
    let tally = |pick: fn(&Books) -> Tally| {
        let (now, earlier) = (pick(&status.books), before.map(pick).unwrap_or_default());
        now.since(earlier)
    };
    let reasons = status.books.records.end_reason.0.iter().map(|(reason, count)| {
        let earlier = before.and_then(|before| before.records.end_reason.of(reason));
        (reason.clone(), since(*count, earlier))
    });
    Summary {
        at: status.at,
        started: status.started,
        since: cleared.map_or(status.started, |cleared| cleared.at),
        seen: tally(|books| Tally { packets: books.packets.seen, octets: books.octets.seen }),
        metered: tally(|books| Tally { packets: books.packets.metered, octets: books.octets.metered }),
        lost: tally(|books| Tally { packets: books.packets.lost.sum(), octets: books.octets.lost.sum() }),
        flows_in_cache: status.books.flows.in_cache,
        unused_in_cache: status.books.flows.unused_in_cache,
        sampled_one_in: status.sampled_one_in,
        end_reason: ByReason(reasons.collect()),
        traffic: match cleared {
            Some(cleared) => status.traffic.since(&cleared.traffic),
            None => status.traffic.clone(),
        },
        timings: (&status.timings).into(),
    }
}
