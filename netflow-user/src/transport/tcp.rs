//! TCP, TLS over it, and SCTP: one connection is one Transport Session (RFC 7011 section 10.4). Messages follow one another; Length delimits them.
//!
//! What the socket has accepted may still be lost with the connection. The kernel tells how much of it the peer's kernel has
//! acknowledged, so a message counts as delivered when its last octet is, and what is not goes again over the
//! next connection. (What a collector does with octets that its kernel acknowledged, TCP and SCTP cannot tell.)

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpSocket,
    task::JoinHandle,
};

use super::{
    counting::Counting,
    destination::{Destination, TransportKind},
    error::TransportError,
    resolver::Resolver,
    sctp,
    tls::TlsClient,
    unacknowledged::{unacknowledged, unacknowledged_by_sctp},
};
use crate::time::MonotonicNanos;

/// The longest message unless another is asked for: one TLS record (RFC 8446 section 5.1).
const DEFAULT_LIMIT: usize = 16_384;
/// How often it is asked what has been acknowledged, while something has not.
const ACKNOWLEDGEMENT: Duration = Duration::from_millis(50);
/// How long an orderly end may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// The wait between attempts is doubled up to so many times what it is at first.
const LONGEST_WAIT: u32 = 8;

/// What the connection carries its octets in.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Stream for S {}

/// What happened on a connection, or instead of one.
#[derive(Debug)]
pub enum Event {
    /// The next message is the first of a new Transport Session.
    Connected,
    /// There is none, and this is why. It is to be given up, which tells when it is tried again.
    Disconnected(TransportError),
    /// More may have been acknowledged.
    Acknowledged,
}

/// Connections to a Collector, one after the other.
#[derive(Debug)]
pub struct TcpTransport {
    destination: Destination,
    message_size: Option<usize>,
    state: State,
    /// Attempts that failed since the last connection that did not.
    failures: u32,
    /// When the last attempt began.
    last_attempt: Option<MonotonicNanos>,
    /// Where the Collector has a name.
    resolver: Option<Resolver>,
    /// The name means another address: this connection takes no more messages, and ends when it has delivered those it has.
    is_leaving: bool,
}

#[derive(Debug)]
enum State {
    /// To be tried at this time; it has been told why not before.
    Waiting(MonotonicNanos),
    Connecting(JoinHandle<Result<Connection, TransportError>>),
    Connected(Connection),
}

#[derive(Debug)]
struct Connection {
    stream: Box<dyn Stream>,
    /// The same socket, for what the kernel says of it.
    socket: OwnedFd,
    /// Octets that the socket has accepted.
    written: Arc<AtomicU64>,
    is_sctp: bool,
    /// What was acknowledged when that was last told.
    told: u64,
    /// Since when nothing more of what has not been is acknowledged.
    stands_still: Option<MonotonicNanos>,
    local: SocketAddr,
    peer: SocketAddr,
}

impl TcpTransport {
    /// Reads what it takes; connects later.
    ///
    /// # Errors
    /// What was asked for cannot be had.
    pub fn new(destination: &Destination, message_size: Option<usize>) -> Result<Self, TransportError> {
        match destination.transport {
            TransportKind::Tls => drop(TlsClient::new(destination)?),
            TransportKind::Sctp => sctp::check(destination)?,
            _ => {}
        }
        Ok(Self {
            destination: destination.clone(),
            message_size,
            state: State::Waiting(MonotonicNanos(0)),
            failures: 0,
            last_attempt: None,
            resolver: Resolver::new(destination),
            is_leaving: false,
        })
    }

    /// Octets that a message may have.
    pub fn message_limit(&self) -> usize {
        self.message_size.unwrap_or(DEFAULT_LIMIT)
    }

    /// Whether its connections are associations of SCTP.
    pub fn is_sctp(&self) -> bool {
        self.destination.transport == TransportKind::Sctp
    }

    /// Whether messages can be sent now.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_)) && !self.is_leaving
    }

    /// Who is told of in the log.
    pub fn peer(&self) -> String {
        match &self.state {
            State::Connected(connection) => connection.peer.to_string(),
            _ => self.destination.to_string(),
        }
    }

    /// The ends of the connection: this host's, the Collector's.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &self.state {
            State::Connected(Connection { local, peer, .. }) => Some((*local, *peer)),
            _ => None,
        }
    }

    /// Octets that were written to the connection, encryption included.
    pub fn written(&self) -> u64 {
        self.connection().map_or(0, |connection| connection.written.load(Ordering::Relaxed))
    }

    /// How many of them the peer's kernel has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.connection().map_or(0, Connection::acknowledged)
    }

    fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    /// Writes a message, waiting while the peer takes nothing. After an error it may or may not have arrived:
    /// [`TcpTransport::acknowledged`] tells, until [`TcpTransport::give_up`].
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let State::Connected(connection) = &mut self.state else {
            return Err(self.lost(io::ErrorKind::NotConnected.into()));
        };
        let is_sctp = connection.is_sctp;
        let sending = async {
            connection.stream.write_all(message).await?;
            connection.stream.flush().await
        };
        let result = if is_sctp {
            let result = tokio::time::timeout(self.destination.options.timeout, sending).await;
            result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        } else {
            // TCP's socket notices by itself.
            sending.await
        };
        result.map_err(|source| self.lost(source))
    }

    /// Ends a connection that is broken, if there still is one; returns how long it is until the next attempt.
    pub fn give_up(&mut self, now: MonotonicNanos) -> Duration {
        if let State::Waiting(due) = self.state {
            return due.since(now);
        }
        if let State::Connected(connection) = &self.state
            && connection.is_sctp
        {
            // The kernel is not to go on with what goes over another association.
            let _ = SockRef::from(&connection.socket).set_linger(Some(Duration::ZERO));
        }
        let wait = wait(self.destination.options.retry, self.failures);
        let due = self.last_attempt.map_or(now, |last| last.plus(wait)).max(now);
        self.state = State::Waiting(due);
        due.since(now)
    }

    fn lost(&self, source: io::Error) -> TransportError {
        TransportError::ConnectionLost { peer: self.peer(), source }
    }

    /// Waits for what happens next. Loses nothing when it is dropped. `clock` reads the monotonic clock.
    pub async fn event(&mut self, clock: impl Fn() -> MonotonicNanos) -> Event {
        loop {
            match &mut self.state {
                State::Waiting(due) => {
                    tokio::time::sleep(due.since(clock())).await;
                    self.last_attempt = Some(clock());
                    let destination = self.destination.clone();
                    self.state = State::Connecting(tokio::spawn(async move { connect(&destination).await }));
                }
                State::Connecting(task) => {
                    let result = task.await.unwrap_or_else(|error| {
                        let source = io::Error::other(error);
                        Err(TransportError::ConnectionLost { peer: self.destination.to_string(), source })
                    });
                    return match result {
                        Ok(connection) => {
                            (self.failures, self.is_leaving) = (0, false);
                            self.state = State::Connected(connection);
                            Event::Connected
                        }
                        Err(error) => {
                            self.failures = self.failures.saturating_add(1);
                            self.give_up(clock());
                            Event::Disconnected(error)
                        }
                    };
                }
                State::Connected(connection) => {
                    // Not by what is acknowledged now: the last of it may have been just then, and nobody knows yet.
                    let is_waiting = connection.told < connection.written.load(Ordering::Relaxed);
                    if self.is_leaving && !is_waiting {
                        self.reconnect().await;
                        continue;
                    }
                    let peer = connection.peer;
                    tokio::select! {
                        source = connection.ended() => {
                            // The connection stays until it is given up: it tells what has arrived.
                            return Event::Disconnected(self.lost(source));
                        }
                        () = tokio::time::sleep(ACKNOWLEDGEMENT), if is_waiting => {
                            let timeout = self.destination.options.timeout;
                            return match connection.look(clock(), timeout) {
                                Ok(()) => Event::Acknowledged,
                                Err(source) => Event::Disconnected(self.lost(source)),
                            };
                        }
                        () = moved(&mut self.resolver, peer, &clock), if !self.is_leaving => {
                            tracing::info!("collector {}: {peer} is no longer its address", self.destination);
                            self.is_leaving = true;
                            return Event::Acknowledged;
                        }
                    }
                }
            }
        }
    }

    /// Ends the connection in order, once all is acknowledged (TCP-CONN-5).
    pub async fn close(&mut self) {
        if let State::Connected(connection) = &mut self.state {
            let _ = tokio::time::timeout(FAREWELL, connection.stream.shutdown()).await;
        }
    }
}

impl TcpTransport {
    /// Ends a connection in order, and begins another at once.
    pub async fn reconnect(&mut self) {
        self.close().await;
        self.state = State::Waiting(MonotonicNanos(0));
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        if let State::Connecting(task) = &self.state {
            task.abort();
        }
    }
}

impl Connection {
    fn acknowledged(&self) -> u64 {
        let written = self.written.load(Ordering::Relaxed);
        if self.is_sctp {
            let waiting = unacknowledged_by_sctp(&self.socket);
            return waiting.map_or(self.told, |waiting| written.saturating_sub(waiting).max(self.told));
        }
        // A socket that cannot be asked has no say in what is delivered.
        let waiting = unacknowledged(&self.socket).unwrap_or(written);
        written.saturating_sub(waiting)
    }

    /// Looks what has been acknowledged. An error says that the peer is dead: of TCP the socket says so.
    fn look(&mut self, now: MonotonicNanos, timeout: Duration) -> io::Result<()> {
        let acknowledged = self.acknowledged();
        if acknowledged > self.told || acknowledged == self.written.load(Ordering::Relaxed) {
            self.stands_still = None;
        } else if self.is_sctp && now.since(*self.stands_still.get_or_insert(now)) >= timeout {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.told = acknowledged;
        Ok(())
    }

    /// Completes when the peer closes. Collectors say nothing; what they say is not read for its meaning.
    async fn ended(&mut self) -> io::Error {
        let mut ignored = [0; 512];
        loop {
            match self.stream.read(&mut ignored).await {
                Ok(0) => {
                    return io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the collector closed the connection",
                    );
                }
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}

/// Completes when a Collector's name no longer means this peer.
async fn moved(resolver: &mut Option<Resolver>, peer: SocketAddr, clock: impl Fn() -> MonotonicNanos) {
    match resolver {
        Some(resolver) => drop(resolver.changed(peer, 0, clock).await),
        None => std::future::pending().await,
    }
}

/// How long after the last attempt the next may begin.
pub(super) fn wait(retry: Duration, failures: u32) -> Duration {
    let doubled = retry * (1 << failures.saturating_sub(1).min(LONGEST_WAIT.ilog2()));
    // Up to a quarter more: many exporters of one collector are not to come back together.
    let random = RandomState::new().hash_one(()) as u32;
    doubled + (retry / 4).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Tries the addresses of a destination one after the other.
async fn connect(destination: &Destination) -> Result<Connection, TransportError> {
    let mut first_error = None;
    for peer in destination.resolve().await? {
        match connect_to(destination, peer).await {
            Ok(connection) => return Ok(connection),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| TransportError::NoAddress {
        destination: destination.to_string(),
        host: destination.host.clone(),
    }))
}

async fn connect_to(destination: &Destination, peer: SocketAddr) -> Result<Connection, TransportError> {
    let failed = |source| TransportError::Connect { peer, source };
    let is_sctp = destination.transport == TransportKind::Sctp;
    let socket = if is_sctp { sctp::socket(peer) } else { socket(destination, peer) }.map_err(failed)?;
    destination.options.socket.apply(&socket, peer)?;
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(peer);
    let stream = match tokio::time::timeout(destination.options.timeout, connecting).await {
        Ok(result) => result.map_err(failed)?,
        Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
    };
    let local = stream.local_addr().map_err(failed)?;
    let socket = stream.as_fd().try_clone_to_owned().map_err(failed)?;
    let written = Arc::new(AtomicU64::new(0));
    let stream = Counting { stream, written: Arc::clone(&written) };
    let stream: Box<dyn Stream> = match destination.transport {
        TransportKind::Tls => Box::new(TlsClient::new(destination)?.connect(stream, peer).await?),
        _ => Box::new(stream),
    };
    Ok(Connection { stream, socket, written, is_sctp, told: 0, stands_still: None, local, peer })
}

/// A socket that notices within the destination's timeout that its peer is gone (TCP-CONN-6).
fn socket(destination: &Destination, peer: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Messages are written whole.
    SockRef::from(&socket).set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(destination.options.timeout))?;
    let probe = (destination.options.timeout / 3).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(probe).with_interval(probe).with_retries(2);
    socket.set_tcp_keepalive(&keepalive)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
