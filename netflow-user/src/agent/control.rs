//! What the metering thread is told while it runs: which interfaces to meter from now on, and which no longer.

use std::{
    collections::VecDeque,
    io,
    num::NonZeroU32,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{mpsc::UnboundedSender, oneshot};
use tracing::{info, warn};

use super::{
    AgentError,
    anonymisation::anonymiser,
    batch::Records,
    error::chain,
    flow::Flow,
    interfaces::attach,
    ledger_file::LedgerFile,
    looking::{Expired, Piece},
    meter::Meter,
    overload::Overload,
    queue::Queue,
};
use crate::{
    clock,
    config::CollectorGroup,
    control::Prefix,
    flow_cache::Timeouts,
    interface::{Attempt, Interface},
    kernel::{AttachOptions, SessionSocket},
    message::InterfaceName,
    record::{FlowEndReason, FlowRecord, anonymisation::Policy},
    route::Routes,
};

/// One thing to do.
pub(super) enum Command {
    /// Meter an interface; the outcome has the same ticket.
    Attach {
        /// Number of the attempt.
        ticket: u64,
        /// What to meter.
        interface: Interface,
    },
    /// Meter it no longer, and end its flows.
    Detach {
        /// ifIndex.
        index: u32,
        /// Its last name.
        name: String,
    },
    /// Options data name these interfaces from now on.
    Table(Vec<InterfaceName>),
    /// What a session has sent and will send is this exporter's own: a new socket, and the one that is no more.
    Own {
        /// Is about to send.
        opened: Option<SessionSocket>,
        /// Sends no longer.
        closed: Option<SessionSocket>,
        /// Told when it is done; gone when it will not be.
        done: oneshot::Sender<()>,
    },
    /// What is in the flow cache from this slot on; the list is used again.
    Look { from: u32, flows: Vec<FlowRecord>, done: oneshot::Sender<Piece> },
    /// Ends flows, of an address or all, from this slot on.
    Expire { from: u32, of: Option<Prefix>, done: oneshot::Sender<Expired> },
    /// The last records.
    Recent { done: oneshot::Sender<Vec<Arc<Records>>> },
    /// These are the collectors from now on.
    Arrange {
        /// Their queues.
        queues: Vec<Arc<Queue>>,
        /// Who shares.
        groups: Vec<CollectorGroup>,
        /// What becomes of addresses from now on, where that is not as it was.
        anonymisation: Option<Option<Policy>>,
        /// Told when nothing is given to others any more.
        done: oneshot::Sender<()>,
    },
    /// The metering thread goes by this from now on.
    Alter(Box<Alteration>),
    /// It has another name; its flows go on.
    Renamed {
        /// ifIndex.
        index: u32,
        /// Its name now.
        name: String,
    },
}

/// What a reload changes of the metering thread; `None` is as it was.
#[derive(Default)]
pub(super) struct Alteration {
    /// When flows end.
    pub(super) timeouts: Option<Timeouts>,
    /// How many flows the cache holds.
    pub(super) cache_size: Option<NonZeroU32>,
    /// Between two drains.
    pub(super) drain_interval: Option<Duration>,
    /// What is sampled, and what is done when maps fill up.
    pub(super) overload: Option<Overload>,
    /// Records say where their packets go, by these tables.
    pub(super) routes: Option<Option<Routes>>,
    /// Where the books are written.
    pub(super) ledger_file: Option<Option<LedgerFile>>,
}

/// What became of [`Command::Attach`].
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) index: u32,
    pub(super) ticket: u64,
    pub(super) attempt: Attempt,
}

/// Commands on their way to the metering thread, which are carried out in their order.
pub(super) struct Control {
    /// `None`: nobody carries them out any more.
    queue: Mutex<Option<VecDeque<Command>>>,
    event: OwnedFd,
}

impl Control {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { queue: Mutex::new(Some(VecDeque::new())), event })
    }

    /// Gives a command; does not wait for it.
    pub(super) fn send(&self, command: Command) {
        if let Some(queue) = &mut *self.queue() {
            queue.push_back(command);
        }
        // It can only fail where the thread is told already.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Takes all commands, in their order.
    fn take(&self) -> VecDeque<Command> {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
        self.queue().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What is asked for from now on is not done.
    pub(super) fn close(&self) {
        *self.queue() = None;
    }

    fn queue(&self) -> MutexGuard<'_, Option<VecDeque<Command>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readable when there is a command.
impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// How the metering thread does what it is told.
pub(super) struct Attaching {
    /// How to attach.
    pub(super) how: AttachOptions,
    /// Where what became of it is told.
    pub(super) outcomes: UnboundedSender<Outcome>,
}

impl<F: Flow> Meter<F> {
    /// Does what has been asked for. Interfaces that leave are settled together, and always before anything is
    /// attached to the index of one of them: no flow ever has packets of two interfaces.
    pub(super) fn obey(&mut self) -> Result<(), AgentError> {
        let mut leaving: Vec<(u32, String)> = Vec::new();
        for command in self.control.take() {
            match command {
                Command::Detach { index, name } => {
                    if self.kernel.detach(index) {
                        leaving.push((index, name));
                    }
                }
                Command::Table(interfaces) => {
                    self.outflow.announce(None, |options| options.interfaces = interfaces);
                }
                Command::Own { opened, closed, done } => {
                    if let Some(socket) = closed {
                        self.kernel.take_back(&socket)?;
                    }
                    if let Some(socket) = opened {
                        self.kernel.leave_out(socket)?;
                    }
                    // A session that is over does not wait for it.
                    let _ = done.send(());
                }
                // Who does not wait any more needs no answer.
                Command::Look { from, flows, done } => drop(done.send(self.look(from, flows))),
                Command::Expire { from, of, done } => drop(done.send(self.expire_now(from, of)?)),
                Command::Recent { done } => drop(done.send(self.outflow.recent.lists())),
                Command::Renamed { index, name } => {
                    self.outflow.renamed(index, &name);
                    self.interfaces.renamed(index, &name);
                }
                Command::Arrange { queues, groups, anonymisation, done } => {
                    let interfaces = &self.interfaces;
                    let anonymiser = anonymisation
                        .map(|policy| policy.map(|policy| anonymiser(policy, interfaces.metered())));
                    self.outflow.arrange(queues, &groups, anonymiser);
                    // Who waits for it may have been told to end.
                    let _ = done.send(());
                }
                Command::Alter(alteration) => self.alter(*alteration),
                Command::Attach { ticket, interface } => {
                    // It is only there if its end was missed.
                    if self.kernel.detach(interface.index) {
                        leaving.push((interface.index, interface.name.clone()));
                    }
                    if leaving.iter().any(|(index, _)| *index == interface.index) {
                        self.settle(&mut leaving)?;
                    }
                    self.outflow.attached(&interface);
                    let attempt = match attach(&mut self.kernel, &interface, &self.attaching.how) {
                        Ok(program) => {
                            self.kernel
                                .attachments()
                                .last()
                                .iter()
                                .for_each(|attachment| self.interfaces.attached(attachment));
                            Attempt::Metered(program)
                        }
                        Err(error) => Attempt::Failed(chain(&error)),
                    };
                    // Nobody listens any more where the agent is about to end.
                    let _ = self.attaching.outcomes.send(Outcome { index: interface.index, ticket, attempt });
                }
            }
        }
        self.settle(&mut leaving)
    }

    /// Between two flips.
    fn alter(&mut self, alteration: Alteration) {
        let Alteration { timeouts, cache_size, drain_interval, overload, routes, ledger_file } = alteration;
        if let Some(timeouts) = timeouts {
            self.cache.set_timeouts(timeouts, self.flipped);
        }
        if let Some(cache_size) = cache_size {
            let now = clock::now();
            let Self { cache, outflow, .. } = self;
            let result = cache.set_capacity(cache_size, &mut |key, counters, reason| {
                outflow.push(F::record(key, counters, reason, &now), None);
            });
            if let Err(error) = result {
                warn!("the flow cache stays as it was: {}", chain(&error));
            }
            outflow.flush(None);
            outflow.check(cache);
        }
        self.interval = drain_interval.unwrap_or(self.interval);
        self.overload = overload.unwrap_or(self.overload);
        if let Some(routes) = routes {
            self.outflow.set_routes(routes);
        }
        if let Some(file) = ledger_file {
            let books = self.outflow.ledger.books();
            self.ledger_file = match file.map(|file| file.start(&books)).transpose() {
                Ok(writer) => writer,
                Err(error) => {
                    warn!("{}", chain(&error));
                    None
                }
            };
        }
    }

    /// Ends the flows of interfaces that were detached. A packet that was on its way then may be in either
    /// generation, so both are drained first, each after the wait for running programs.
    fn settle(&mut self, leaving: &mut Vec<(u32, String)>) -> Result<(), AgentError> {
        if leaving.is_empty() {
            return Ok(());
        }
        self.tick()?;
        self.tick()?;
        let (now, _) = clock::read(&mut self.kernel)?;
        let Self { cache, outflow, interfaces, .. } = self;
        for (index, name) in leaving.drain(..) {
            let ended = cache.end_where(
                |key| key.interface == index,
                FlowEndReason::ForcedEnd,
                &mut |key, counters, reason| outflow.push(F::record(key, counters, reason, &now), None),
            );
            interfaces.detached(index);
            info!("{name} is metered no longer; {ended} flows ended");
        }
        outflow.flush(None);
        outflow.check(cache);
        self.write_ledger();
        Ok(())
    }
}
