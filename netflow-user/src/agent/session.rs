//! One destination: queue -> packer -> socket, with books of its own. Nothing here is shared with
//! another destination, so none can disturb another.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, oneshot};
use tracing::{info, warn};

use super::{
    AgentError,
    batch::{Batch, volume},
    control::Control,
    json,
    messages::{Messages, Way},
    queue::{QUEUE_RECORDS, Queue},
    spread,
};
use crate::{
    clock::{self, KernelClock},
    config::ExportConfig,
    kernel::SessionSocket,
    ledger::{DestinationBooks, NotSent},
    record::FlowRecord,
    time::{Instant, MonotonicNanos},
    transport::{Link, Pace, Target},
};

mod about;
mod connection;
#[cfg(test)]
mod measure;
mod outgoing;
mod outlet;
mod sending;
mod spooling;
mod statistics;
mod unacknowledged;

pub(super) use about::About;
use outgoing::Outgoing;
pub(super) use outlet::Outlet;
use spooling::Spooling;
use unacknowledged::Unacknowledged;

/// Records that may go without a pause between them.
const BURST: u64 = 64;

/// Between attempts to send templates where sending fails.
const RETRY: Duration = Duration::from_secs(1);

/// Without an error for this time a collector is taken to be there again.
const QUIET: Duration = Duration::from_secs(3);

/// How fast records go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pacing {
    /// At this rate at most.
    Rate(u64),
    /// As [`spread`] says, at this drain interval: a burst at full speed overflows a collector's buffer, and then
    /// is lost without a trace.
    Spread(Duration),
}

impl Pacing {
    /// The same over a link: what makes its sender wait takes what there is.
    fn over(self, link: &Link) -> Self {
        match self {
            Self::Spread(_) if !link.is_lossy() => Self::Rate(u64::MAX),
            _ if link.is_local() => Self::Rate(u64::MAX),
            pacing => pacing,
        }
    }

    /// Records per second while few wait.
    fn rate(self) -> u64 {
        match self {
            Self::Rate(rate) => rate,
            Self::Spread(_) => spread::CALM,
        }
    }
}

/// What a session can go by from now on without being another one.
#[derive(Clone, Debug)]
pub(super) struct Tempo {
    /// For how often things are said again.
    pub(super) export: ExportConfig,
    /// How fast records go.
    pub(super) pacing: Pacing,
}

/// Whose time is written on messages.
#[derive(Clone)]
pub(super) enum SessionClock {
    /// The kernel's, now.
    Live(Arc<KernelClock>),
    /// That of the batches: a capture's own. Before the first of them, this: a capture without flows still
    /// gives templates.
    Capture(Instant),
}

/// What the sessions of an agent have in common.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) pacing: Pacing,
    pub(super) clock: SessionClock,
    /// Where sysUpTime is zero.
    pub(super) origin: MonotonicNanos,
    /// Who is told of their sockets, if anybody is to know.
    pub(super) control: Option<Arc<Control>>,
}

/// A Transport Session with its Collector.
pub(super) struct Session {
    queue: Arc<Queue>,
    books: Arc<DestinationBooks>,
    messages: Messages,
    link: Link,
    clock: SessionClock,
    pacing: Pacing,
    pace: Pace,
    /// Taken from the queue.
    pending: Vec<FlowRecord>,
    /// How many of them were sent or given up: the first ones.
    gone: usize,
    /// Messages that hold the next ones.
    outgoing: Outgoing,
    /// Records that were discarded and are missing in the Sequence Numbers.
    skipped: u64,
    /// Given to the connection, but not known to have arrived.
    unacknowledged: Unacknowledged,
    /// Where records go that the link does not take.
    spooling: Option<Spooling>,
    /// For statistics.
    noticed: statistics::Noticed,
    /// Who is told of its sockets, if anybody is to know.
    control: Option<Arc<Control>>,
    /// The socket that was told of last.
    socket: Option<SessionSocket>,
    at: Option<Instant>,
    health: Health,
    last_trouble: MonotonicNanos,
}

/// Whether the collector can be reached, as far as UDP tells; to log the changes and not each datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Refused,
    Failing,
}

impl Session {
    /// Opens the socket and starts the session's task. Its first message goes when `may_begin`, or what that was made from
    /// is gone.
    pub(super) async fn start(
        destination: &Target,
        config: &ExportConfig,
        surroundings: &Surroundings,
        books: Arc<DestinationBooks>,
        may_begin: oneshot::Receiver<()>,
    ) -> Result<Outlet, AgentError> {
        let Surroundings { pacing, clock, origin, control } = surroundings.clone();
        let config = &config.of(destination);
        let mut link = Link::open(destination, config.message_size).await?;
        link.translate_by(json::translator);
        let messages = Messages::new(config, destination.protocol(), Way::of(&link), origin)?;
        info!(
            "exporting {} to {} ({}), messages of up to {} octets",
            destination.protocol().name(),
            destination,
            link.peer(),
            messages.message_size()
        );
        let socket = socket(&link);
        let about = About {
            protocol: destination.protocol().name(),
            peer: link.peer(),
            is_lossy: link.is_lossy(),
            templates: messages.templates().map(about::templates).unwrap_or_default(),
        };
        let queue = Arc::new(Queue::new(Arc::clone(&books), destination.queue().unwrap_or(QUEUE_RECORDS)));
        if link.is_up() {
            books.session_began(clock::now().unix_millis());
        }
        let spooling = match destination.spool() {
            Some(options) => Some(Spooling::open(options, destination, config, Arc::clone(&books))?),
            None => None,
        };
        let pacing = pacing.over(&link);
        let pace = Pace::new(pacing.rate(), BURST);
        let mut session = Self {
            queue: Arc::clone(&queue),
            books: Arc::clone(&books),
            messages,
            link,
            clock,
            pacing,
            pace,
            pending: Vec::new(),
            gone: 0,
            outgoing: Outgoing::default(),
            skipped: 0,
            unacknowledged: Unacknowledged::default(),
            spooling,
            noticed: statistics::Noticed::default(),
            control,
            socket,
            at: None,
            health: Health::Good,
            last_trouble: MonotonicNanos(0),
        };
        let abandon = Arc::new(Notify::new());
        let abandoned = Arc::clone(&abandon);
        let task = tokio::spawn(async move {
            let _ = may_begin.await;
            tokio::select! {
                () = session.run() => return,
                () = abandoned.notified() => {}
            }
            session.abandon();
        });
        Ok(Outlet { queue, socket, about, abandon, task })
    }

    async fn run(&mut self) {
        let queue = Arc::clone(&self.queue);
        let mut is_ended = false;
        // While nobody can be sent to, records wait in the queue, which is bounded and counts, or on disk.
        while !is_ended || (self.link.is_reliable() && !self.has_delivered()) {
            let (is_live, is_taking, patience) = (self.is_live(), self.is_taking(), self.patience());
            let replay = self.until_replay(clock::now().monotonic);
            tokio::select! {
                batch = queue.next(), if is_taking && !is_ended => match batch {
                    Some(batch) if is_live => self.take(&batch).await,
                    Some(batch) => self.spool(&batch),
                    None => {
                        is_ended = true;
                        self.send(true).await;
                    }
                },
                () = queue.finished(), if !is_taking && !is_ended => is_ended = true,
                () = sleep(patience), if is_live => self.send(true).await,
                () = sleep(replay), if replay.is_some() => self.replay().await,
                event = self.link.event(|| clock::now().monotonic) => self.on(event).await,
            }
        }
        self.conclude().await;
        // Their templates did not go.
        self.books.not_sent(NotSent::SendFailed, volume(&self.pending));
        self.pending.clear();
        self.complete();
        self.end_spooling();
        self.link.close().await;
        self.books.session_ended();
        self.forget_socket();
    }

    /// The time to write on messages.
    fn now(&self) -> Instant {
        match &self.clock {
            SessionClock::Live(clock) => clock.now(),
            SessionClock::Capture(start) => self.at.unwrap_or(*start),
        }
    }

    /// Ends the Transport Session.
    fn complete(&mut self) {
        if let Err(error) = self.link.complete() {
            warn!("{}", super::chain(&error));
        }
    }

    /// How long until templates are to be sent though there are no records; `None`: for ever.
    fn patience(&self) -> Option<Duration> {
        // A capture's time stands still between its packets.
        let SessionClock::Live(clock) = &self.clock else { return None };
        let deadlines = [self.messages.template_deadline(), self.link.deadline()];
        let deadline = deadlines.into_iter().flatten().min()?;
        // Templates that could not be sent are due at once: not again and again.
        let patience = if self.health == Health::Failing { self.last_trouble.plus(RETRY) } else { deadline };
        Some(deadline.max(patience).since(clock.now().monotonic))
    }

    fn set_tempo(&mut self, tempo: &Tempo) {
        if let Err(error) = self.messages.set_periods(&tempo.export, self.link.is_lossy()) {
            warn!("collector {}: {error}", self.link.peer());
        }
        self.pacing = tempo.pacing.over(&self.link);
        self.pace.set_rate(self.pacing.rate(), BURST);
    }

    async fn take(&mut self, batch: &Batch) {
        if batch.is_probe {
            self.messages.announce_templates();
            self.send(true).await;
            return;
        }
        if let Some(tempo) = &batch.tempo {
            self.set_tempo(tempo);
            return;
        }
        if let Some(options) = &batch.options {
            // What it does not hold for goes before it.
            self.send(true).await;
            self.messages.set_options_data(options);
            self.send(true).await;
            return;
        }
        if batch.at != self.at && !self.pending.is_empty() {
            // A message states one instant. Records of another one may be years away from it in a capture, and then
            // v9's 32 bits would not reach them.
            self.send(true).await;
        }
        self.at = batch.at;
        self.keep(&batch.records);
        let waiting = self.queue.records() + self.pending.len() as u64;
        if let Pacing::Spread(interval) = self.pacing {
            self.pace.set_rate(spread::rate(waiting, self.queue.limit(), interval), BURST);
        }
        // The path may have become narrower or wider.
        let limit = self.link.message_limit();
        if limit != self.messages.message_size() {
            let _ = self.messages.set_message_size(limit);
        }
        self.send(self.queue.records() == 0).await;
    }
}

/// The socket of a link, if it has one now.
fn socket(link: &Link) -> Option<SessionSocket> {
    let (local, peer) = link.ends()?;
    Some(SessionSocket { protocol: link.protocol_identifier()?, local, peer })
}

/// Waits so long, or for ever.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
