//! UDP: one connected socket, hence one source port, per Collector for the life of the Transport
//! Session (RFC 7011 section 2).
//!
//! A connected socket is told about ICMP errors, but late: an error that a send returns may belong to a
//! datagram sent before. The datagram in hand has then not been sent, so it is sent again at once; only
//! an error that stays is about the datagram itself.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::destination::Destination;
use super::error::TransportError;
use super::resolver::Resolver;
use super::socket_options::SocketOptions;
use super::tcp::Event;
use crate::time::MonotonicNanos;

mod segments;

/// Octets of a message that fill an Ethernet frame over IPv4: 1500 less 20 (IPv4) and 8 (UDP). The
/// default limit even where the path takes more (loopback: 65,536), since collectors read into buffers
/// of their own choice and cut what is longer; who knows the collector may ask for more.
pub const DEFAULT_LIMIT_IPV4: usize = 1472;
/// The same over IPv6, whose header has 40 octets.
pub const DEFAULT_LIMIT_IPV6: usize = 1452;

/// Asked for the send buffer. The kernel doubles it: about 450 full datagrams, fewer than the 1000
/// packets of an interface's default queue. A longer buffer would overflow that queue, which drops
/// without telling; a shorter one makes the sender wait, which loses nothing.
const SEND_BUFFER: usize = 512 * 1024;

/// How often an error that may be about an earlier datagram is taken for that.
const RESENDS: u32 = 8;

/// The waits after the kernel ran out of buffers: 127 ms in all.
const BACK_OFF: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

/// What happened on one socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UdpCounters {
    /// Datagrams the kernel accepted.
    pub sent: u64,
    /// Their octets, without headers.
    pub sent_octets: u64,
    /// Datagrams that were not sent.
    pub not_sent: u64,
    /// Reports that an earlier datagram found the port closed (ECONNREFUSED).
    pub refused: u64,
    /// Reports of other ICMP errors about earlier datagrams.
    pub unreachable: u64,
    /// Times the kernel had no buffer (ENOBUFS).
    pub no_buffers: u64,
    /// System calls that were to send: fewer than datagrams, where many go in one.
    pub calls: u64,
}

#[cfg(feature = "dtls")]
impl UdpCounters {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            sent_octets: self.sent_octets + other.sent_octets,
            not_sent: self.not_sent + other.not_sent,
            refused: self.refused + other.refused,
            unreachable: self.unreachable + other.unreachable,
            no_buffers: self.no_buffers + other.no_buffers,
            calls: self.calls + other.calls,
        }
    }
}

/// The path to one Collector.
#[derive(Debug)]
pub struct UdpTransport {
    socket: UdpSocket,
    peer: SocketAddr,
    message_size: Option<usize>,
    counters: UdpCounters,
    /// Whether the kernel takes several datagrams in one system call.
    segments: bool,
    /// Where the Collector has a name.
    resolver: Option<Box<Resolver>>,
}

impl UdpTransport {
    /// Resolves the destination and opens a socket to the first of its addresses that has a route.
    /// `message_size` is the longest message asked for; without it the default limits hold.
    pub async fn open(
        destination: &Destination,
        message_size: Option<usize>,
    ) -> Result<Self, TransportError> {
        let mut first_error = None;
        for peer in destination.resolve().await? {
            match Self::connect(peer, &destination.options.socket, message_size) {
                Ok(transport) => {
                    let resolver = Resolver::new(destination).map(Box::new);
                    return Ok(Self { resolver, ..transport });
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| TransportError::NoAddress {
            destination: destination.to_string(),
            host: destination.host.clone(),
        }))
    }

    /// Opens a socket to `peer`. Must be called within a tokio runtime.
    pub fn connect(
        peer: SocketAddr,
        options: &SocketOptions,
        message_size: Option<usize>,
    ) -> Result<Self, TransportError> {
        let open = |source| TransportError::OpenSocket { peer, source };
        let socket =
            Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP)).map_err(open)?;
        socket.set_nonblocking(true).map_err(open)?;
        forbid_fragments(&socket, peer).map_err(open)?;
        options.apply(&socket, peer)?;
        // The limit of an unprivileged process (net.core.wmem_max) may be lower; then that has to do.
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        socket.connect(&peer.into()).map_err(|source| TransportError::Connect { peer, source })?;
        let socket = UdpSocket::from_std(socket.into()).map_err(open)?;
        let counters = UdpCounters::default();
        Ok(Self { socket, peer, message_size, counters, segments: true, resolver: None })
    }

    /// The Collector.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The Exporter's end, constant for the life of the session.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What happened so far.
    pub fn counters(&self) -> UdpCounters {
        self.counters
    }

    /// The longest message to build now: what was asked for or the default, within the path MTU
    /// (RFC 7011 section 10.3.3). The path MTU may change at any time.
    pub fn message_limit(&self) -> usize {
        let default = if self.peer.is_ipv4() { DEFAULT_LIMIT_IPV4 } else { DEFAULT_LIMIT_IPV6 };
        self.path_limit().min(self.message_size.unwrap_or(default))
    }

    /// Waits until the Collector's name means another address, and then has a new socket to it: a new Transport Session.
    /// Loses nothing when it is dropped. `clock` reads the monotonic clock.
    pub async fn event(&mut self, clock: impl Fn() -> MonotonicNanos) -> Event {
        let trouble = self.counters.refused + self.counters.unreachable + self.counters.not_sent;
        loop {
            let Some(resolver) = &mut self.resolver else { return std::future::pending().await };
            let found = resolver.changed(self.peer, trouble, &clock).await;
            let options = &resolver.destination().options.socket;
            for peer in found {
                match Self::connect(peer, options, self.message_size) {
                    Ok(Self { socket, .. }) => {
                        tracing::info!("collector {}: its address is {peer} now", resolver.destination());
                        (self.socket, self.peer, self.segments) = (socket, peer, true);
                        return Event::Connected;
                    }
                    Err(error) => tracing::debug!("{error}"),
                }
            }
        }
    }

    /// Sends one datagram, waiting while the send buffer is full. An error means that this datagram was
    /// not sent; the socket stays usable.
    pub async fn send(&mut self, datagram: &[u8]) -> Result<(), TransportError> {
        let result = self.try_hard(datagram, None).await;
        match result {
            Ok(()) => {
                self.counters.sent += 1;
                self.counters.sent_octets += datagram.len() as u64;
            }
            Err(_) => self.counters.not_sent += 1,
        }
        result
    }

    #[cfg(feature = "dtls")]
    /// Waits for a datagram from the Collector, or for what ICMP says of earlier ones.
    ///
    /// # Errors
    /// That.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer).await
    }

    /// Sends one datagram, or several of `segment` octets each: those all, or none.
    async fn try_hard(&mut self, octets: &[u8], segment: Option<u16>) -> Result<(), TransportError> {
        let peer = self.peer;
        let length = segment.map_or(octets.len(), usize::from);
        let mut resends = 0;
        let mut unreachable = false;
        let mut back_off = BACK_OFF.iter();
        loop {
            let Err(source) = self.transmit(octets, segment).await else { return Ok(()) };
            match Errno::from_io_error(&source) {
                Some(Errno::NOBUFS) => {
                    self.counters.no_buffers += 1;
                    // Several take more than one does.
                    let Some(&millis) = back_off.next().filter(|_| segment.is_none()) else {
                        return Err(TransportError::NoBuffers { peer, source });
                    };
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                }
                // Also said of an earlier datagram that a router could not forward; with the path MTU
                // learned from that this one may still fit.
                Some(Errno::MSGSIZE) => {
                    let limit = self.path_limit();
                    if length > limit || resends == RESENDS {
                        return Err(TransportError::TooLong { peer, length, limit });
                    }
                    resends += 1;
                    self.counters.unreachable += 1;
                }
                _ if source.kind() == ErrorKind::ConnectionRefused && resends < RESENDS => {
                    resends += 1;
                    self.counters.refused += 1;
                }
                // Once only: without a route the datagram itself meets the same error again.
                Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NOPROTOOPT | Errno::PROTO)
                    if !unreachable =>
                {
                    unreachable = true;
                    self.counters.unreachable += 1;
                }
                _ => return Err(TransportError::Send { peer, source }),
            }
        }
    }

    /// The longest datagram the path takes. A kernel that will not say means the smallest every path
    /// has to take: 512-octet packets (RFC 7011 section 10.3.3).
    fn path_limit(&self) -> usize {
        let (mtu, headers, longest) = match self.peer {
            SocketAddr::V4(_) => (sockopt::ip_mtu(&self.socket), 28, 65_507),
            SocketAddr::V6(_) => (sockopt::ipv6_mtu(&self.socket), 48, 65_527),
        };
        let mtu = mtu.map_or(512, |mtu| usize::try_from(mtu).unwrap_or(usize::MAX));
        mtu.saturating_sub(headers).min(longest)
    }
}

/// Sets Don't Fragment, so that a datagram beyond the path MTU comes back as an error instead of going
/// out in fragments (RFC 7011 section 10.3.3).
fn forbid_fragments(socket: &Socket, peer: SocketAddr) -> io::Result<()> {
    match peer {
        SocketAddr::V4(_) => sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DO)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DO)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::net::UdpSocket as StdSocket;

    use super::*;

    /// A listener whose datagrams are read with a limit in time, so that a lost one fails the test.
    pub(super) fn listener(address: &str) -> StdSocket {
        let socket = StdSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    pub(super) fn connect(
        peer: SocketAddr,
        message_size: Option<usize>,
    ) -> Result<UdpTransport, TransportError> {
        UdpTransport::connect(peer, &SocketOptions::default(), message_size)
    }

    pub(super) fn received(socket: &StdSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    #[tokio::test]
    async fn a_closed_port_costs_only_what_was_sent_to_it() {
        // UDP-ERR-1. A loopback address of our own keeps other programs off the port.
        let address = listener("127.83.1.1:0").local_addr().unwrap();
        let mut transport = connect(address, None).unwrap();
        for _ in 0..10 {
            transport.send(b"to nobody").await.unwrap();
        }
        let alive = listener(&address.to_string());
        for number in 0..5u8 {
            transport.send(&[number]).await.unwrap();
        }
        for number in 0..5u8 {
            assert_eq!(received(&alive).0, [number]);
        }
        let counters = transport.counters();
        assert_eq!((counters.sent, counters.sent_octets, counters.not_sent), (15, 95, 0));
        assert!((1..=10).contains(&counters.refused), "{counters:?}");
    }

    #[tokio::test]
    async fn one_session_has_one_source_port() {
        // UDP-SRC-1.
        let collector = listener("127.83.1.2:0");
        let mut transport = connect(collector.local_addr().unwrap(), None).unwrap();
        for _ in 0..3 {
            transport.send(b"x").await.unwrap();
            assert_eq!(received(&collector).1, transport.local().unwrap());
        }
    }

    #[tokio::test]
    async fn a_datagram_beyond_the_path_mtu_is_refused_with_the_limit() {
        // UDP-MTU-1. Holds for any MTU of the loopback interface.
        let collector = listener("127.83.1.3:0");
        let mut transport = connect(collector.local_addr().unwrap(), Some(usize::MAX)).unwrap();
        let longest = transport.message_limit();
        let error = transport.send(&vec![1; longest + 1]).await.unwrap_err();
        assert!(
            matches!(error, TransportError::TooLong { length, limit, .. } if length == longest + 1 && limit == longest),
            "{error}"
        );
        transport.send(&vec![2; longest]).await.unwrap();
        assert_eq!(received(&collector).0, vec![2; longest]);
        let counters = transport.counters();
        assert_eq!((counters.sent, counters.not_sent), (1, 1));
    }

    #[tokio::test]
    async fn messages_fill_an_ethernet_frame_unless_more_is_asked_for() {
        let peer = "127.83.1.4:4739".parse().unwrap();
        let limit = |size| connect(peer, size).unwrap().message_limit();
        let path = limit(Some(usize::MAX));
        assert_eq!(limit(None), path.min(DEFAULT_LIMIT_IPV4));
        assert_eq!(limit(Some(500)), 500);
        assert_eq!(limit(Some(8000)), path.min(8000));
    }

    #[tokio::test]
    async fn ipv6_works_the_same() {
        let Ok(collector) = StdSocket::bind("[::1]:0") else {
            eprintln!("skipped: this host has no IPv6");
            return;
        };
        collector.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let port = collector.local_addr().unwrap().port();
        let destination = Destination::udp("::1", port, super::super::ExportProtocol::Ipfix);
        let mut transport = UdpTransport::open(&destination, None).await.unwrap();
        assert_eq!(transport.message_limit(), transport.path_limit().min(DEFAULT_LIMIT_IPV6));
        transport.send(b"over IPv6").await.unwrap();
        assert_eq!(received(&collector), (b"over IPv6".to_vec(), transport.local().unwrap()));
        let longest = transport.path_limit();
        assert!(transport.send(&vec![0; longest + 1]).await.is_err());
        transport.send(&vec![0; longest]).await.unwrap();
    }

    #[tokio::test]
    async fn a_destination_that_may_not_be_sent_to_is_an_error_with_its_address() {
        // The broadcast address needs SO_BROADCAST.
        let error = connect("255.255.255.255:4739".parse().unwrap(), None).unwrap_err();
        assert_eq!(error.to_string(), "collector 255.255.255.255:4739: cannot connect");
    }
}
