//! The socket of the built-in collector, and the loop between it and the output.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use super::collector::Collector;
use super::error::CollectError;
use super::flow::DecodedFlow;
use super::line;
use super::screen::{Screen, Totals, human, losses};
use crate::time::MonotonicNanos;
use crate::transport::{CollectorUrl, ExportProtocol, TransportKind};

/// Asked for the receive buffer, which has to hold what arrives while the output is slow.
const RECEIVE_BUFFER: usize = 16 * 1024 * 1024;
/// The longest wait before the loop looks at the clock and at the stop signal again.
const TICK: Duration = Duration::from_millis(100);
/// Between two frames of the table.
const FRAME: Duration = Duration::from_secs(1);
/// How long datagrams may go on arriving after the stop signal.
const LAST_CALL: Duration = Duration::from_secs(5);

/// How decoded flows are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A table that updates in place, for a terminal.
    Screen,
    /// A header and one line per flow.
    Lines,
    /// One JSON object per flow and line.
    Json,
}

impl Format {
    /// A table as it suits standard output: in place on a terminal, line by line elsewhere.
    pub fn table() -> Self {
        if terminal_size().is_some() { Self::Screen } else { Self::Lines }
    }
}

/// A bound socket; datagrams that arrive before [`run`] are kept by the kernel.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    address: SocketAddr,
}

/// What a run of the collector came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    totals: Totals,
}

impl Listener {
    /// The address that `url` names: `udp://[::]:4739`. The port is IPFIX's if none is given; NetFlow v9
    /// is understood on any.
    pub fn place(url: &str) -> Result<SocketAddr, CollectError> {
        let typed: CollectorUrl =
            url.parse().map_err(|source| CollectError::Url { url: url.to_owned(), source })?;
        if typed.transport != TransportKind::Udp {
            let transport = typed.transport.name();
            return Err(CollectError::Transport { url: url.to_owned(), transport });
        }
        if typed.protocol.is_some() {
            return Err(CollectError::Protocol { url: url.to_owned() });
        }
        let host: IpAddr =
            typed.host.parse().map_err(|_| CollectError::NotAnAddress { url: url.to_owned() })?;
        Ok(SocketAddr::new(host, typed.port.unwrap_or(ExportProtocol::Ipfix.default_port())))
    }

    /// Listens where `url` says.
    pub fn open(url: &str) -> Result<Self, CollectError> {
        Self::bind(Self::place(url)?)
    }

    /// Listens on `address`; port 0 takes any free one.
    pub fn bind(address: SocketAddr) -> Result<Self, CollectError> {
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::AddrInUse => CollectError::PortInUse { address },
            ErrorKind::AddrNotAvailable => CollectError::ForeignAddress { address },
            _ => CollectError::Listen { address, source },
        };
        let socket =
            Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
        if address.is_ipv6() {
            // [::] takes IPv4 as well, whatever net.ipv6.bindv6only says.
            socket.set_only_v6(false).map_err(failed)?;
        }
        socket.set_nonblocking(true).map_err(failed)?;
        // Beyond net.core.rmem_max for root; others get as much as they may.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        }
        socket.bind(&address.into()).map_err(failed)?;
        let socket = UdpSocket::from(socket);
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Where it listens, with the port it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams the kernel dropped because the receive buffer was full; unknown without /proc.
    fn dropped(&self) -> Option<u64> {
        let descriptor = format!("/proc/thread-self/fd/{}", self.socket.as_raw_fd());
        let inode = std::fs::metadata(descriptor).ok()?.ino().to_string();
        let table = if self.address.is_ipv4() { "udp" } else { "udp6" };
        let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        // Column 10 is the inode, the last one the drops (Documentation/networking/proc_net_tcp.rst).
        let line = table.lines().find(|line| line.split_whitespace().nth(9) == Some(&inode))?;
        line.split_whitespace().last()?.parse().ok()
    }
}

/// Receives, decodes and writes until `stop` turns true (or its sender is gone) and what is under way has
/// arrived, or until the output's reader leaves. Works on a thread of its own, so that a slow output
/// holds up nobody else; `clock` is the monotonic clock.
pub async fn run<W: Write + Send + 'static>(
    listener: Listener,
    format: Format,
    stop: watch::Receiver<bool>,
    output: W,
    clock: impl Fn() -> MonotonicNanos + Send + 'static,
) -> Result<Summary, CollectError> {
    let work = tokio::task::spawn_blocking(move || serve(&listener, format, &stop, output, clock));
    match work.await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Cancelled before it began: the runtime is shutting down.
        Err(_) => Ok(Summary::default()),
    }
}

fn serve(
    listener: &Listener,
    format: Format,
    stop: &watch::Receiver<bool>,
    output: impl Write,
    clock: impl Fn() -> MonotonicNanos,
) -> Result<Summary, CollectError> {
    let mut collector = Collector::new();
    let mut printer = Printer::new(format, output);
    let result = receive(listener, stop, &mut collector, &mut printer, clock);
    let summary = Summary { totals: totals(listener, &collector) };
    match result {
        // The reader of our output has seen enough (`| head`).
        Err(CollectError::Write { source }) if source.kind() == ErrorKind::BrokenPipe => Ok(summary),
        result => result.map(|()| summary),
    }
}

fn receive(
    listener: &Listener,
    stop: &watch::Receiver<bool>,
    collector: &mut Collector,
    printer: &mut Printer<impl Write>,
    clock: impl Fn() -> MonotonicNanos,
) -> Result<(), CollectError> {
    let write = |source| CollectError::Write { source };
    let failed = |source| CollectError::Receive { address: listener.address, source };
    let mut buffer = vec![0; 65_536];
    let mut last_call: Option<MonotonicNanos> = None;
    let mut next_frame = MonotonicNanos::default();
    printer.begin().map_err(write)?;
    loop {
        let now = clock();
        if printer.wants_frames() && now >= next_frame {
            next_frame = now.plus(FRAME);
            printer.frame(&totals(listener, collector), now).map_err(write)?;
        }
        if last_call.is_none() && (*stop.borrow() || stop.has_changed().is_err()) {
            last_call = Some(now.plus(LAST_CALL));
        }
        let overdue = last_call.is_some_and(|end| now >= end);
        match listener.socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                for flow in collector.decode(from, &buffer[..length]) {
                    printer.flow(&flow, now).map_err(write)?;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                printer.flush().map_err(write)?;
                let quiet = !wait(&listener.socket).map_err(failed)?;
                if quiet && last_call.is_some() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(failed(source)),
        }
        if overdue {
            break;
        }
    }
    printer.frame(&totals(listener, collector), clock()).map_err(write)?;
    printer.flush().map_err(write)
}

/// Waits a tick for a datagram; whether one is there.
fn wait(socket: &UdpSocket) -> io::Result<bool> {
    let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&tick)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn totals(listener: &Listener, collector: &Collector) -> Totals {
    Totals {
        counters: collector.counters(),
        sessions: collector.sessions(),
        dropped: listener.dropped().unwrap_or(0),
    }
}

/// The output in one of its formats.
pub(super) struct Printer<W: Write> {
    format: Format,
    screen: Screen,
    output: io::BufWriter<W>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Self { format, screen: Screen::default(), output: io::BufWriter::with_capacity(65_536, output) }
    }

    fn wants_frames(&self) -> bool {
        self.format == Format::Screen
    }

    pub(super) fn begin(&mut self) -> io::Result<()> {
        match self.format {
            Format::Screen => self.output.write_all(b"\x1b[2J")?,
            Format::Lines => writeln!(self.output, "{}", line::header())?,
            Format::Json => {}
        }
        self.output.flush()
    }

    pub(super) fn flow(&mut self, flow: &DecodedFlow, now: MonotonicNanos) -> io::Result<()> {
        match self.format {
            Format::Screen => {
                self.screen.add(flow, now);
                Ok(())
            }
            Format::Lines => writeln!(self.output, "{}", line::line(flow)),
            Format::Json => {
                serde_json::to_writer(&mut self.output, flow)?;
                self.output.write_all(b"\n")
            }
        }
    }

    fn frame(&mut self, totals: &Totals, now: MonotonicNanos) -> io::Result<()> {
        if self.wants_frames() {
            let (columns, rows) = terminal_size().unwrap_or((80, 24));
            self.output.write_all(self.screen.frame(totals, columns, rows, now).as_bytes())?;
            self.output.flush()?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Columns and rows of the terminal at standard output, if it is one.
fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(if size.ws_col == 0 || size.ws_row == 0 { (80, 24) } else { (size.ws_col, size.ws_row) })
}

impl Summary {
    pub(super) fn of(totals: Totals) -> Self {
        Self { totals }
    }

    /// The counters.
    pub fn counters(&self) -> super::CollectorCounters {
        self.totals.counters
    }

    /// Datagrams the kernel dropped for want of buffer.
    pub fn dropped(&self) -> u64 {
        self.totals.dropped
    }
}

/// One line for the end.
impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counters = &self.totals.counters;
        write!(
            f,
            "collected {} records, {} packets, {} in {} datagrams; {}",
            counters.records,
            counters.packets,
            human(counters.octets),
            counters.datagrams,
            losses(&self.totals)
        )
    }
}
