//! DTLS 1.2 over UDP as a client (RFC 7011 section 11): connections to a Collector, one after the other. Each is a Transport
//! Session; a message is a record, and a record is a datagram.
//!
//! A datagram tells nobody that its reader has gone, and one that comes back knows no old connection. So there is
//! a new one at an interval, behind a goodbye, as collectors for one peer need it: until it is there, records wait. An alert or
//! what ICMP says ends a connection at once.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::destination::Destination;
use super::dtls_engine::{Engine, OVERHEAD, Settings, Step};
use super::error::TransportError;
use super::tcp::{Event, wait};
use super::udp::{DEFAULT_LIMIT_IPV6, UdpCounters, UdpTransport};
use crate::time::MonotonicNanos;

/// How often it is looked whether a part of a handshake has to go again; OpenSSL waits a second before the first.
const TICK: Duration = Duration::from_millis(250);
/// Octets of a datagram at most.
const DATAGRAM: usize = 65_536;

/// Connections to a Collector.
#[derive(Debug)]
pub struct DtlsTransport {
    destination: Destination,
    message_size: Option<usize>,
    connection: Option<Connection>,
    /// The next one, on its way.
    attempt: Option<JoinHandle<Result<Connection, TransportError>>>,
    /// When the next one is to be tried.
    due: MonotonicNanos,
    last_attempt: Option<MonotonicNanos>,
    /// Attempts that failed since the last connection that did not.
    failures: u32,
    /// Of connections that are over.
    counters: UdpCounters,
}

#[derive(Debug)]
struct Connection {
    udp: UdpTransport,
    engine: Engine,
}

impl DtlsTransport {
    /// Reads the files that the destination names; connects later.
    ///
    /// # Errors
    /// A file that is no use.
    pub fn new(destination: &Destination, message_size: Option<usize>) -> Result<Self, TransportError> {
        Settings::new(destination)?;
        Ok(Self {
            destination: destination.clone(),
            message_size,
            connection: None,
            attempt: None,
            due: MonotonicNanos(0),
            last_attempt: None,
            failures: 0,
            counters: UdpCounters::default(),
        })
    }

    /// Octets that a message may have: what is left of the path MTU.
    pub fn message_limit(&self) -> usize {
        match &self.connection {
            Some(connection) => connection.message_limit(),
            None => (DEFAULT_LIMIT_IPV6 - OVERHEAD).min(self.message_size.unwrap_or(usize::MAX)),
        }
    }

    /// Whether messages can be sent now.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Who is told of in the log.
    pub fn peer(&self) -> String {
        match &self.connection {
            Some(connection) => connection.udp.peer().to_string(),
            None => self.destination.to_string(),
        }
    }

    /// The ends of the connection: this host's, the Collector's.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let udp = &self.connection.as_ref()?.udp;
        Some((udp.local().ok()?, udp.peer()))
    }

    /// What ICMP and the kernel said so far.
    pub fn counters(&self) -> UdpCounters {
        let now = self.connection.as_ref().map(|connection| connection.udp.counters()).unwrap_or_default();
        self.counters.plus(now)
    }

    /// Sends a message, in a record, in a datagram.
    ///
    /// # Errors
    /// It was not sent. After `ConnectionLost` it is to go over the next connection.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let Some(connection) = &mut self.connection else {
            return Err(self.lost(ErrorKind::NotConnected.into()));
        };
        let limit = connection.message_limit();
        if message.len() > limit {
            let (peer, length) = (connection.udp.peer(), message.len());
            return Err(TransportError::TooLong { peer, length, limit });
        }
        let sealed = connection.engine.seal(message);
        let datagram = match sealed {
            Ok(datagram) => datagram,
            Err(source) => return Err(self.lost(source)),
        };
        let before = connection.udp.counters().refused;
        match connection.udp.send(&datagram).await {
            Ok(()) if connection.udp.counters().refused == before => Ok(()),
            // Nobody is there who could open it.
            Ok(()) => Err(self.lost(ErrorKind::ConnectionRefused.into())),
            Err(TransportError::TooLong { peer, length, limit }) => Err(TransportError::TooLong {
                peer,
                length: length.saturating_sub(OVERHEAD),
                limit: limit.saturating_sub(OVERHEAD),
            }),
            Err(error) => Err(error),
        }
    }

    /// Ends a connection that is broken, if there still is one; returns how long it is until the next attempt.
    pub fn give_up(&mut self, now: MonotonicNanos) -> Duration {
        self.counters = self.counters();
        self.connection = None;
        let wait = wait(self.destination.options.retry, self.failures);
        self.due = self.last_attempt.map_or(now, |last| last.plus(wait)).max(now);
        self.due.since(now)
    }

    fn lost(&self, source: io::Error) -> TransportError {
        TransportError::ConnectionLost { peer: self.peer(), source }
    }

    /// Waits for what happens next. Loses nothing when it is dropped. `clock` reads the monotonic clock.
    pub async fn event(&mut self, clock: impl Fn() -> MonotonicNanos) -> Event {
        loop {
            let due = self.due.since(clock());
            tokio::select! {
                result = finished(&mut self.attempt) => {
                    self.attempt = None;
                    match result {
                        Ok(next) => {
                            self.failures = 0;
                            self.connection = Some(next);
                            // DTLS-4: whether it is still who it was shows in the next one.
                            self.due = clock().plus(self.destination.options.resolve_interval);
                            return Event::Connected;
                        }
                        Err(error) => {
                            self.failures = self.failures.saturating_add(1);
                            return Event::Disconnected(error);
                        }
                    }
                }
                source = ended(&mut self.connection) => return Event::Disconnected(self.lost(source)),
                () = sleep(due), if self.attempt.is_none() => {
                    self.counters = self.counters();
                    let old = self.connection.take();
                    self.last_attempt = Some(clock());
                    let (destination, message_size) = (self.destination.clone(), self.message_size);
                    self.attempt = Some(tokio::spawn(async move {
                        if let Some(mut old) = old {
                            old.farewell().await;
                        }
                        connect(&destination, message_size).await
                    }));
                }
            }
        }
    }

    /// Says goodbye.
    pub async fn close(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.farewell().await;
        }
    }
}

impl Drop for DtlsTransport {
    fn drop(&mut self) {
        if let Some(attempt) = &self.attempt {
            attempt.abort();
        }
    }
}

/// The result of an attempt, if there is one.
async fn finished(
    attempt: &mut Option<JoinHandle<Result<Connection, TransportError>>>,
) -> Result<Connection, TransportError> {
    match attempt {
        Some(task) => task.await.unwrap_or_else(|error| {
            let source = io::Error::other(error);
            Err(TransportError::ConnectionLost { peer: "DTLS".to_owned(), source })
        }),
        None => std::future::pending().await,
    }
}

/// Completes when the connection is over, if there is one.
async fn ended(connection: &mut Option<Connection>) -> io::Error {
    let Some(Connection { udp, engine }) = connection else { return std::future::pending().await };
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match udp.receive(&mut buffer).await {
            Ok(length) => {
                if let Err(error) = engine.open(buffer.get(..length).unwrap_or_default()) {
                    return error;
                }
                // It missed the end of the handshake, or asked for another one.
                for datagram in engine.outgoing() {
                    let _ = udp.send(&datagram).await;
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return error,
            // A passing trouble of the path.
            Err(_) => sleep(TICK).await,
        }
    }
}

/// Tries the addresses of a destination one after the other.
async fn connect(
    destination: &Destination,
    message_size: Option<usize>,
) -> Result<Connection, TransportError> {
    let settings = Settings::new(destination)?;
    let mut first_error = None;
    for peer in destination.resolve().await? {
        match connect_to(destination, &settings, peer, message_size).await {
            Ok(connection) => return Ok(connection),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| TransportError::NoAddress {
        destination: destination.to_string(),
        host: destination.host.clone(),
    }))
}

async fn connect_to(
    destination: &Destination,
    settings: &Settings,
    peer: SocketAddr,
    message_size: Option<usize>,
) -> Result<Connection, TransportError> {
    let message_size = message_size.map(|octets| octets.saturating_add(OVERHEAD));
    let mut udp = UdpTransport::connect(peer, &destination.options.socket, message_size)?;
    let failed = |reason| TransportError::Handshake { peer, protocol: "DTLS", reason };
    let mut engine = settings.engine(udp.message_limit()).map_err(failed)?;
    match timeout(destination.options.timeout, shake(&mut udp, &mut engine)).await {
        Ok(Ok(())) => Ok(Connection { udp, engine }),
        Ok(Err(reason)) => Err(failed(reason)),
        Err(_) => Err(failed("it did not answer in time".to_owned())),
    }
}

/// Shakes hands, or says why not.
async fn shake(udp: &mut UdpTransport, engine: &mut Engine) -> Result<(), String> {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let step = engine.shake();
        for datagram in engine.outgoing() {
            // What is lost goes again.
            let _ = udp.send(&datagram).await;
        }
        match step? {
            Step::Done => return Ok(()),
            Step::Wait => {}
        }
        match timeout(TICK, udp.receive(&mut buffer)).await {
            Ok(Ok(length)) => engine.arrived(buffer.get(..length).unwrap_or_default()),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                return Err("nobody listens there, says ICMP".to_owned());
            }
            Ok(Err(_)) => sleep(TICK).await,
            Err(_) => {}
        }
    }
}

impl Connection {
    fn message_limit(&self) -> usize {
        self.udp.message_limit().saturating_sub(OVERHEAD)
    }

    /// Says goodbye.
    async fn farewell(&mut self) {
        for datagram in self.engine.close() {
            let _ = self.udp.send(&datagram).await;
        }
    }
}

#[cfg(test)]
mod tests;
