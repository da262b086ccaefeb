//! Any transport: where messages go, and the way there.

use std::{fmt, net::SocketAddr, num::NonZeroU64, str::FromStr as _, time::Duration};

use super::{
    burst::Burst,
    destination::{Destination, TransportKind},
    dtls::DtlsTransport,
    error::TransportError,
    file::{Content, FileTarget, FileTransport},
    json_lines::{JsonTarget, JsonTransport, Translator},
    spool_options::SpoolOptions,
    tcp::{Event, TcpTransport},
    udp::{UdpCounters, UdpTransport},
    url::{CollectorUrl, ExportProtocol},
};
use crate::time::{Instant, MonotonicNanos};

/// Where one stream of messages goes.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Target {
    /// A Collector.
    Collector(Box<Destination>),
    /// IPFIX Files.
    File(FileTarget),
    /// JSON lines.
    Json(JsonTarget),
}

impl Target {
    /// Reads what the operator typed; `protocol` is the general choice.
    ///
    /// # Errors
    /// What has no meaning, in one line.
    pub fn parse(url: &str, protocol: ExportProtocol) -> Result<Self, TransportError> {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("file") => return Ok(Self::File(FileTarget::parse(url, Content::Ipfix)?)),
            Some("json") => return Ok(Self::Json(JsonTarget::parse(url)?)),
            _ => {}
        }
        Ok(Self::Collector(Box::new(CollectorUrl::from_str(url)?.destination(protocol)?)))
    }

    /// Where messages wait while it is away, if anywhere.
    pub fn spool(&self) -> Option<&SpoolOptions> {
        match self {
            Self::Collector(destination) => {
                Some(&destination.options.spool).filter(|spool| spool.directory.is_some())
            }
            Self::File(_) | Self::Json(_) => None,
        }
    }

    /// Records that wait for it at most, if the operator says so.
    pub fn queue(&self) -> Option<u64> {
        match self {
            Self::Collector(destination) => destination.options.queue.map(NonZeroU64::get),
            Self::File(_) | Self::Json(_) => None,
        }
    }

    /// Whether its messages go over TCP or SCTP.
    pub fn has_connections(&self) -> bool {
        matches!(self, Self::Collector(destination) if TransportKind::RELIABLE.contains(&destination.transport))
    }

    /// The Collector's program, where messages are to be made for it.
    pub fn preset(&self) -> Option<&str> {
        match self {
            Self::Collector(destination) => destination.options.preset.as_deref(),
            Self::File(_) | Self::Json(_) => None,
        }
    }

    /// What to send there.
    pub fn protocol(&self) -> ExportProtocol {
        match self {
            Self::Collector(destination) => destination.protocol,
            Self::File(_) | Self::Json(_) => ExportProtocol::Ipfix,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collector(destination) => destination.fmt(f),
            Self::File(target) => write!(f, "file:{}", target.prefix.display()),
            Self::Json(target) => target.fmt(f),
        }
    }
}

/// The way to a target.
#[derive(Debug)]
pub enum Link {
    /// A socket.
    Udp(UdpTransport),
    /// Connections, one after the other.
    Tcp(Box<TcpTransport>),
    /// Encrypted ones, of datagrams.
    Dtls(Box<DtlsTransport>),
    /// A file, and the next ones.
    File(FileTransport),
    /// JSON lines.
    Json(Box<JsonTransport>),
}

impl Link {
    /// Opens it. `message_size` is the longest message asked for.
    ///
    /// # Errors
    /// As the transport's own.
    pub async fn open(target: &Target, message_size: Option<usize>) -> Result<Self, TransportError> {
        match target {
            Target::Collector(destination) => match destination.transport {
                TransportKind::Udp => UdpTransport::open(destination, message_size).await.map(Self::Udp),
                TransportKind::Tcp | TransportKind::Tls | TransportKind::Sctp => {
                    TcpTransport::new(destination, message_size).map(|tcp| Self::Tcp(Box::new(tcp)))
                }
                TransportKind::Dtls => {
                    DtlsTransport::new(destination, message_size).map(|dtls| Self::Dtls(Box::new(dtls)))
                }
            },
            Target::File(target) => FileTransport::open(target.clone(), message_size).map(Self::File),
            Target::Json(target) => {
                JsonTransport::open(target, message_size).map(|json| Self::Json(Box::new(json)))
            }
        }
    }

    /// What makes JSON lines of messages, which this room cannot.
    pub fn translate_by(&mut self, translator: impl FnOnce() -> Translator) {
        if let Self::Json(transport) = self {
            transport.translate_by(translator());
        }
    }

    /// Whether it takes what there is, at any rate.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::File(_) | Self::Json(_))
    }

    /// Who is told of in the log.
    pub fn peer(&self) -> String {
        match self {
            Self::Udp(transport) => transport.peer().to_string(),
            Self::Tcp(transport) => transport.peer(),
            Self::Dtls(transport) => transport.peer(),
            Self::File(transport) => transport.place(),
            Self::Json(transport) => transport.place(),
        }
    }

    /// The ends of its socket, if it has one: this host's, the Collector's.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Udp(transport) => Some((transport.local().ok()?, transport.peer())),
            Self::Tcp(transport) => transport.ends(),
            Self::Dtls(transport) => transport.ends(),
            Self::File(_) | Self::Json(_) => None,
        }
    }

    /// The protocol that its packets state in their IP headers, if it has a socket (IANA, Protocol Numbers).
    pub fn protocol_identifier(&self) -> Option<u8> {
        match self {
            Self::Tcp(transport) => Some(if transport.is_sctp() { 132 } else { 6 }),
            Self::Udp(_) | Self::Dtls(_) => Some(17),
            Self::File(_) | Self::Json(_) => None,
        }
    }

    /// Whether messages may get lost on the way, so that templates go again and again.
    pub fn is_lossy(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Dtls(_))
    }

    /// Whether it tells what has arrived, so that what has not can go again.
    pub fn is_reliable(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Whether Data Records that were discarded before they could go are missing in the Sequence Numbers: on SCTP
    /// (RFC 7011 section 10.2).
    pub fn leaves_gaps(&self) -> bool {
        matches!(self, Self::Tcp(transport) if transport.is_sctp())
    }

    /// Whether messages can be sent now.
    pub fn is_up(&self) -> bool {
        match self {
            Self::Tcp(transport) => transport.is_connected(),
            Self::Dtls(transport) => transport.is_connected(),
            Self::Udp(_) | Self::File(_) | Self::Json(_) => true,
        }
    }

    /// Octets that a reliable link has taken since it was connected.
    pub fn written(&self) -> u64 {
        match self {
            Self::Tcp(transport) => transport.written(),
            Self::Udp(_) | Self::Dtls(_) | Self::File(_) | Self::Json(_) => 0,
        }
    }

    /// How many of them have arrived.
    pub fn acknowledged(&self) -> u64 {
        match self {
            Self::Tcp(transport) => transport.acknowledged(),
            Self::Udp(_) | Self::Dtls(_) | Self::File(_) | Self::Json(_) => 0,
        }
    }

    /// Waits for what happens to a link by itself. Loses nothing when it is dropped. `clock` reads the monotonic clock.
    pub async fn event(&mut self, clock: impl Fn() -> MonotonicNanos) -> Event {
        match self {
            Self::Tcp(transport) => transport.event(clock).await,
            Self::Dtls(transport) => transport.event(clock).await,
            Self::Udp(transport) => transport.event(clock).await,
            Self::File(_) | Self::Json(_) => std::future::pending().await,
        }
    }

    /// Ends a connection that is broken; returns how long it is until the next attempt.
    pub fn give_up(&mut self, now: MonotonicNanos) -> Duration {
        match self {
            Self::Tcp(transport) => transport.give_up(now),
            Self::Dtls(transport) => transport.give_up(now),
            Self::Udp(_) | Self::File(_) | Self::Json(_) => Duration::ZERO,
        }
    }

    /// Ends a connection in order, and begins another at once.
    pub async fn reconnect(&mut self) {
        if let Self::Tcp(transport) = self {
            transport.reconnect().await;
        }
    }

    /// Ends a connection in order.
    pub async fn close(&mut self) {
        match self {
            Self::Tcp(transport) => transport.close().await,
            Self::Dtls(transport) => transport.close().await,
            Self::Udp(_) | Self::File(_) | Self::Json(_) => {}
        }
    }

    /// The longest message to build now.
    pub fn message_limit(&self) -> usize {
        match self {
            Self::Udp(transport) => transport.message_limit(),
            Self::Tcp(transport) => transport.message_limit(),
            Self::Dtls(transport) => transport.message_limit(),
            Self::File(transport) => transport.message_limit(),
            Self::Json(transport) => transport.message_limit(),
        }
    }

    /// What ICMP and the kernel said; nothing where there is no socket.
    pub fn counters(&self) -> UdpCounters {
        match self {
            Self::Udp(transport) => transport.counters(),
            Self::Dtls(transport) => transport.counters(),
            Self::Tcp(_) | Self::File(_) | Self::Json(_) => UdpCounters::default(),
        }
    }

    /// Whether the next message is the first of another Transport Session.
    pub fn is_complete(&self, now: MonotonicNanos) -> bool {
        match self {
            Self::Udp(_) | Self::Tcp(_) | Self::Dtls(_) => false,
            Self::File(transport) => transport.is_complete(now),
            Self::Json(transport) => transport.is_complete(now),
        }
    }

    /// When that will be, as far as time tells.
    pub fn deadline(&self) -> Option<MonotonicNanos> {
        match self {
            Self::Udp(_) | Self::Tcp(_) | Self::Dtls(_) => None,
            Self::File(transport) => transport.deadline(),
            Self::Json(transport) => transport.deadline(),
        }
    }

    /// Sends one message. An error means that it was not sent; the link stays usable.
    ///
    /// # Errors
    /// As the transport's own.
    pub async fn send(&mut self, message: &[u8], now: Instant) -> Result<(), TransportError> {
        match self {
            Self::Udp(transport) => transport.send(message).await,
            Self::Tcp(transport) => transport.send(message).await,
            Self::Dtls(transport) => transport.send(message).await,
            // A disk may take its time: the other sessions are not to wait for it.
            Self::File(transport) => tokio::task::block_in_place(|| transport.send(message, now)),
            Self::Json(transport) => transport.send(message, now).await,
        }
    }

    /// Whether messages may go together.
    pub fn takes_bursts(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// Sends the messages of a burst, which says how many went, whenever this ends or is dropped. An error is about the one
    /// behind them; those behind that were not tried.
    ///
    /// # Errors
    /// As the transport's own.
    pub async fn send_all(&mut self, burst: &mut Burst, now: Instant) -> Result<(), TransportError> {
        if let Self::Udp(transport) = self {
            return transport.send_all(burst).await;
        }
        while let Some(message) = burst.next() {
            self.send(message, now).await?;
            burst.advance(1);
        }
        Ok(())
    }

    /// Ends the Transport Session: what was sent is safe.
    ///
    /// # Errors
    /// As the transport's own.
    pub fn complete(&mut self) -> Result<(), TransportError> {
        match self {
            Self::Udp(_) | Self::Tcp(_) | Self::Dtls(_) => Ok(()),
            Self::File(transport) => tokio::task::block_in_place(|| transport.complete()).map(drop),
            Self::Json(transport) => transport.complete(),
        }
    }
}
