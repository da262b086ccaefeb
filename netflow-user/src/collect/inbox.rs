//! Between the connections and the decoder: messages in order, bounded, so that whoever sends faster than they are
//! decoded waits in his own connection.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::peer::Peer;

/// Messages that wait to be decoded; each is 65,535 octets at most.
const WAITING: usize = 256;
/// Addresses and reasons that have been told of; further ones are counted only.
const MAX_SAID: usize = 1024;

/// What connections tell the decoder.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection is there, its handshake done.
    Accepted,
    /// A message came whole.
    Message { peer: Peer, octets: Vec<u8> },
    /// A connection is over.
    Ended { peer: Peer, ending: Ending },
    /// There was no connection.
    Refused { address: SocketAddr, why: Refusal },
}

/// Why a connection is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The peer ended it between two messages.
    Closed,
    /// What came was no IPFIX Message.
    Foreign,
    /// It ended, or failed, within a message.
    Cut { cause: String },
    /// A message took too long, or the first one did not begin.
    Slow,
}

/// Why there was no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// There are as many as may be.
    TooMany,
    /// TLS or DTLS did not come about.
    Handshake { cause: String },
}

/// How connections went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConnectionCounters {
    /// Connections, without those whose handshake failed.
    pub accepted: u64,
    /// Handshakes of TLS and DTLS that failed, or took too long.
    pub handshakes_failed: u64,
    /// Connections closed because what came was not IPFIX.
    pub foreign: u64,
    /// Connections that ended within a message.
    pub cut: u64,
    /// Connections closed because a message took too long.
    pub slow: u64,
    /// Connections refused because there were too many.
    pub refused: u64,
}

/// The connections' end.
#[derive(Clone, Debug)]
pub(super) struct Inbox {
    sender: mpsc::Sender<Event>,
    bell: Arc<Bell>,
}

/// The decoder's end.
#[derive(Debug)]
pub(super) struct Outbox {
    receiver: mpsc::Receiver<Event>,
    bell: Arc<Bell>,
}

/// Wakes the decoder, which waits for sockets as well.
#[derive(Debug)]
struct Bell {
    event: OwnedFd,
    is_asleep: AtomicBool,
}

/// The decoder is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Inbox {
    /// Both ends.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new() -> std::io::Result<(Self, Outbox)> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = Arc::new(Bell { event, is_asleep: AtomicBool::new(false) });
        Ok((Self { sender, bell: Arc::clone(&bell) }, Outbox { receiver, bell }))
    }

    /// Waits for its turn, and puts the event in.
    pub(super) async fn put(&self, event: Event) -> Result<(), Gone> {
        self.sender.send(event).await.map_err(|_| Gone)?;
        if self.bell.is_asleep.swap(false, Ordering::SeqCst) {
            // A bell that rings already does not have to.
            let _ = rustix::io::write(&self.bell.event, &1u64.to_ne_bytes());
        }
        Ok(())
    }
}

impl Outbox {
    /// The next event, if there is one.
    pub(super) fn take(&mut self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// From here on an event rings. False where one is there already.
    pub(super) fn sleep(&mut self) -> bool {
        self.bell.is_asleep.store(true, Ordering::SeqCst);
        self.receiver.is_empty()
    }

    /// The bell has rung, or not.
    pub(super) fn wake(&mut self) {
        self.bell.is_asleep.store(false, Ordering::SeqCst);
        let _ = rustix::io::read(&self.bell.event, &mut [0; 8]);
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }
}

/// Counts how connections went, and says it once for each address and reason.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) counters: ConnectionCounters,
    said: HashSet<(IpAddr, &'static str)>,
}

impl Connections {
    pub(super) fn ended(&mut self, address: SocketAddr, ending: &Ending) {
        let (counter, reason, cause) = match ending {
            Ending::Closed => return,
            Ending::Foreign => {
                (&mut self.counters.foreign, "closed: what it sends is not IPFIX", String::new())
            }
            Ending::Cut { cause } => (&mut self.counters.cut, "ended within a message", format!(": {cause}")),
            Ending::Slow => (&mut self.counters.slow, "closed: a message took too long", String::new()),
        };
        *counter += 1;
        self.say(address, reason, &cause);
    }

    pub(super) fn refused(&mut self, address: SocketAddr, why: &Refusal) {
        let (counter, reason, cause) = match why {
            Refusal::TooMany => {
                (&mut self.counters.refused, "refused: there are as many as may be", String::new())
            }
            Refusal::Handshake { cause } => {
                (&mut self.counters.handshakes_failed, "refused: the handshake failed", format!(": {cause}"))
            }
        };
        *counter += 1;
        self.say(address, reason, &cause);
    }

    fn say(&mut self, address: SocketAddr, reason: &'static str, cause: &str) {
        let host = address.ip().to_canonical();
        let place = SocketAddr::new(host, address.port());
        let cause = cause.replace(char::is_control, " ");
        if self.said.len() < MAX_SAID && self.said.insert((host, reason)) {
            warn!("connection of {place} {reason}{cause}");
        } else {
            debug!("connection of {place} {reason}{cause}");
        }
    }
}
