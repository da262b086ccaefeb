//! The sockets of the built-in collector, and the loop between them and the output.
//!
//! Datagrams are read by the decoding thread itself; connections have tasks, which hand it their messages.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::collector::Collector;
#[cfg(feature = "dtls")]
use super::dtls::Dtls;
use super::error::CollectError;
use super::inbox::{Connections, Event, Inbox, Outbox};
use super::listen_url::{ListenUrl, Transport};
use super::peer::{Peer, Way};
use super::printer::{Format, Printer};
use super::summary::{Summary, Totals};
use super::tcp::{Connecting, Shared};
use super::tls;
use super::udp::Datagrams;
use crate::time::MonotonicNanos;

/// The longest wait before the loop looks at the clock and at the stop signal again.
const TICK: Duration = Duration::from_millis(100);
/// Between two frames of the table.
const FRAME: Duration = Duration::from_secs(1);
/// How long messages may go on arriving after the stop signal.
const LAST_CALL: Duration = Duration::from_secs(5);
/// Messages of one socket before it is the next one's turn.
const TURN: usize = 64;

/// Bound sockets; what arrives before [`run`] is kept by the kernel.
#[derive(Default)]
pub struct Listener {
    datagrams: Vec<Datagrams>,
    streams: Vec<(Connecting, Option<TlsAcceptor>)>,
    #[cfg(feature = "dtls")]
    dtls: Vec<Dtls>,
    /// Where it listens, with the ports it got.
    places: Vec<ListenUrl>,
    /// Nothing but flows is shown.
    without_options: bool,
}

impl Listener {
    /// Listens at all these places.
    ///
    /// # Errors
    /// A port is taken, an address not of this machine, a certificate of no use.
    pub fn open(places: &[ListenUrl]) -> Result<Self, CollectError> {
        let mut listener = Self::default();
        for place in places {
            let address = listener.add(place)?;
            listener.places.push(ListenUrl { address, ..place.clone() });
        }
        Ok(listener)
    }

    /// Receives datagrams at `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// As [`Listener::open`].
    pub fn bind(address: SocketAddr) -> Result<Self, CollectError> {
        Self::open(&[ListenUrl::udp(address)])
    }

    fn add(&mut self, place: &ListenUrl) -> Result<SocketAddr, CollectError> {
        Ok(match &place.transport {
            Transport::Udp => {
                let datagrams = Datagrams::bind(place.address)?;
                let address = datagrams.address;
                self.datagrams.push(datagrams);
                address
            }
            Transport::Tcp => self.add_stream(place.address, None)?,
            Transport::Tls(identity) => self.add_stream(place.address, Some(tls::acceptor(identity)?))?,
            #[cfg(feature = "dtls")]
            Transport::Dtls(identity) => {
                let dtls = Dtls::bind(place.address, identity)?;
                let address = dtls.address();
                self.dtls.push(dtls);
                address
            }
            #[cfg(not(feature = "dtls"))]
            Transport::Dtls(_) => return Err(CollectError::NoDtls { address: place.address }),
        })
    }

    fn add_stream(
        &mut self,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> Result<SocketAddr, CollectError> {
        let stream = Connecting::bind(address)?;
        let address = stream.address;
        self.streams.push((stream, tls));
        Ok(address)
    }

    /// Shows flows and leaves out options data.
    pub fn without_options(self) -> Self {
        Self { without_options: true, ..self }
    }

    /// Where it listens, with the ports it got.
    pub fn places(&self) -> &[ListenUrl] {
        &self.places
    }

    /// Where it listens first.
    pub fn address(&self) -> SocketAddr {
        self.places[0].address
    }

    /// Starts the tasks of what is not received by the loop itself.
    fn start(&mut self, shared: &Shared) -> JoinSet<Result<(), CollectError>> {
        let mut tasks = JoinSet::new();
        for (stream, tls) in self.streams.drain(..) {
            tasks.spawn(stream.serve(tls, shared.clone()));
        }
        #[cfg(feature = "dtls")]
        for dtls in self.dtls.drain(..) {
            tasks.spawn(dtls.serve(shared.clone()));
        }
        tasks
    }
}

/// Receives, decodes and writes until `stop` turns true (or its sender is gone) and what is under way has
/// arrived, or until the output's reader leaves. Works on a thread of its own, so that a slow output
/// holds up nobody else; `clock` is the monotonic clock.
///
/// # Errors
/// A socket or the output has failed.
pub async fn run<W: Write + Send + 'static>(
    mut listener: Listener,
    format: Format,
    stop: watch::Receiver<bool>,
    output: W,
    clock: impl Fn() -> MonotonicNanos + Send + 'static,
) -> Result<Summary, CollectError> {
    let (inbox, outbox) = Inbox::new().map_err(|source| CollectError::Start { source })?;
    // They end with this function.
    let mut tasks = listener.start(&Shared::new(inbox));
    let mut work = tokio::task::spawn_blocking(move || serve(listener, outbox, format, &stop, output, clock));
    let work = loop {
        tokio::select! {
            result = &mut work => break result,
            Some(Ok(Err(error))) = tasks.join_next() => {
                // The others go on.
                warn!("{error}: nothing more is received there");
            }
        }
    };
    match work {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Cancelled before it began: the runtime is shutting down.
        Err(_) => Ok(Summary::default()),
    }
}

/// What the loop works on.
struct Work<W: Write> {
    datagrams: Vec<Datagrams>,
    outbox: Outbox,
    collector: Collector,
    connections: Connections,
    printer: Printer<W>,
}

fn serve<W: Write>(
    listener: Listener,
    outbox: Outbox,
    format: Format,
    stop: &watch::Receiver<bool>,
    output: W,
    clock: impl Fn() -> MonotonicNanos,
) -> Result<Summary, CollectError> {
    let mut printer = Printer::new(format, output);
    if listener.without_options {
        printer = printer.without_options();
    }
    let (collector, connections) = (Collector::new(), Connections::default());
    let mut work = Work { datagrams: listener.datagrams, outbox, collector, connections, printer };
    let result = work.run(stop, clock);
    let summary = Summary::of(work.totals());
    match result {
        // The reader of our output has seen enough (`| head`).
        Err(CollectError::Write { source }) if source.kind() == ErrorKind::BrokenPipe => Ok(summary),
        result => result.map(|()| summary),
    }
}

fn write(source: io::Error) -> CollectError {
    CollectError::Write { source }
}

impl<W: Write> Work<W> {
    fn run(
        &mut self,
        stop: &watch::Receiver<bool>,
        clock: impl Fn() -> MonotonicNanos,
    ) -> Result<(), CollectError> {
        let mut buffer = vec![0; 65_536];
        let mut last_call: Option<MonotonicNanos> = None;
        let mut next_frame = MonotonicNanos::default();
        self.printer.begin().map_err(write)?;
        loop {
            let now = clock();
            if self.printer.wants_frames() && now >= next_frame {
                next_frame = now.plus(FRAME);
                let totals = self.totals();
                self.printer.frame(&totals, now).map_err(write)?;
            }
            if last_call.is_none() && (*stop.borrow() || stop.has_changed().is_err()) {
                last_call = Some(now.plus(LAST_CALL));
            }
            let overdue = last_call.is_some_and(|end| now >= end);
            let received = self.datagrams(&mut buffer, now)? | self.events(now)?;
            if !received {
                self.printer.flush().map_err(write)?;
                let quiet = !self.wait()?;
                if quiet && last_call.is_some() {
                    break;
                }
            }
            if overdue {
                break;
            }
        }
        let totals = self.totals();
        self.printer.frame(&totals, clock()).map_err(write)?;
        self.printer.flush().map_err(write)
    }

    /// A turn of each socket; whether there was something.
    fn datagrams(&mut self, buffer: &mut [u8], now: MonotonicNanos) -> Result<bool, CollectError> {
        let mut received = false;
        for (socket, datagrams) in self.datagrams.iter().enumerate() {
            for _ in 0..TURN {
                let (length, address) = match datagrams.socket.recv_from(buffer) {
                    Ok(datagram) => datagram,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(source) => return Err(datagrams.failed(source)),
                };
                received = true;
                let peer = Peer { address, way: Way::Datagrams { socket } };
                for flow in self.collector.decode_all(peer, &buffer[..length]) {
                    self.printer.flow(&flow, now).map_err(write)?;
                }
            }
        }
        Ok(received)
    }

    /// A turn of the connections; whether there was something.
    fn events(&mut self, now: MonotonicNanos) -> Result<bool, CollectError> {
        let mut received = false;
        for _ in 0..TURN {
            let Some(event) = self.outbox.take() else { break };
            received = true;
            match event {
                Event::Message { peer, octets } => {
                    for flow in self.collector.decode_all(peer, &octets) {
                        self.printer.flow(&flow, now).map_err(write)?;
                    }
                }
                Event::Accepted => self.connections.counters.accepted += 1,
                Event::Ended { peer, ending } => {
                    self.collector.forget(peer);
                    self.connections.ended(peer.address, &ending);
                }
                Event::Refused { address, why } => self.connections.refused(address, &why),
            }
        }
        Ok(received)
    }

    /// Waits a tick for something; whether it is there.
    fn wait(&mut self) -> Result<bool, CollectError> {
        if !self.outbox.sleep() {
            return Ok(true);
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        let ready = {
            let sockets = self.datagrams.iter().map(|datagrams| datagrams.socket.as_fd());
            let mut polled: Vec<PollFd<'_>> = sockets
                .chain([self.outbox.as_fd()])
                .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
                .collect();
            poll(&mut polled, Some(&tick))
        };
        self.outbox.wake();
        match ready {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(CollectError::Start { source: error.into() }),
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            dropped: self.datagrams.iter().filter_map(Datagrams::dropped).sum(),
            connections: self.connections.counters,
            ..Totals::of(&self.collector)
        }
    }
}
