//! DTLS as a server (RFC 7011 section 10.3 and 11), by OpenSSL: many peers at one port, told apart by their addresses.
//!
//! A peer has to show by a cookie (RFC 6347 section 4.2.1) that it is where it says it is before a handshake costs
//! more than a few kilobytes. A peer that begins anew from the same port keeps its old connection until the new one is there.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::memcmp;
use openssl::rand::rand_bytes;
use openssl::sha::sha256;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslFiletype, SslMethod, SslOptions, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509Name;
use tokio::net::UdpSocket;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{MissedTickBehavior, interval};

use super::error::CollectError;
use super::inbox::{Ending, Event, Gone, Refusal};
use super::listen_url::Identity;
use super::peer::Peer;
use super::tcp::Shared;
use super::udp::Datagrams;
use crate::clock;
use crate::time::MonotonicNanos;

/// Handshakes under way; the oldest makes room.
const MAX_HANDSHAKES: usize = 256;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A peer that has said nothing for so long is gone: datagrams do not tell.
const SILENCE: Duration = Duration::from_secs(30 * 60);
/// OpenSSL sends again what was lost of a handshake when it is asked after its own time, a second at first.
const TICK: Duration = Duration::from_millis(500);
/// Octets of a datagram of ours; every path takes that.
const MTU: u32 = 1200;

/// Octets of an IPFIX Message Header.
const MESSAGE_HEADER: usize = 16;

/// DTLS record types (RFC 5246 section 6.2.1), and where the epoch stands (RFC 6347 section 4.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE_RECORD: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A bound socket and what handshakes are made of.
pub(super) struct Dtls {
    datagrams: Datagrams,
    context: SslContext,
    peer_of: Index<Ssl, SocketAddr>,
}

/// One peer's side of the socket: OpenSSL reads the datagrams that were handed in, and writes to the peer.
#[derive(Debug)]
struct PeerSocket {
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    arrived: VecDeque<Vec<u8>>,
}

struct Connection {
    stream: SslStream<PeerSocket>,
    peer: Peer,
    heard: MonotonicNanos,
    _place: OwnedSemaphorePermit,
}

struct Handshake {
    stream: SslStream<PeerSocket>,
    begun: MonotonicNanos,
}

#[derive(Default)]
struct Peers {
    connections: HashMap<SocketAddr, Connection>,
    handshakes: HashMap<SocketAddr, Handshake>,
}

impl Dtls {
    /// Listens on `address`.
    pub(super) fn bind(address: SocketAddr, identity: &Identity) -> Result<Self, CollectError> {
        let peer_of = Ssl::new_ex_index().map_err(|error| wrong(&identity.certificate, &error))?;
        let context = context(identity, peer_of)?;
        Ok(Self { datagrams: Datagrams::bind(address)?, context, peer_of })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.datagrams.address
    }

    /// Serves all peers for as long as it is polled.
    pub(super) async fn serve(self, shared: Shared) -> Result<(), CollectError> {
        let Self { datagrams: Datagrams { socket, address }, context, peer_of } = self;
        let socket = UdpSocket::from_std(socket).map_err(|source| CollectError::Start { source })?;
        let socket = Arc::new(socket);
        let mut peers = Peers::default();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; 65_536];
        loop {
            let done = tokio::select! {
                received = socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => {
                        let begin = || begin(&context, peer_of, &socket, from);
                        peers.datagram(from, &buffer[..length], begin, &shared).await
                    }
                    // What ICMP says of an earlier reply.
                    Err(error) if is_passing(&error) => Ok(()),
                    Err(source) => return Err(CollectError::Receive { address, source }),
                },
                _ = ticks.tick() => peers.tick(&shared).await,
            };
            if done.is_err() {
                return Ok(());
            }
        }
    }
}

/// Our side of a handshake.
fn begin(
    context: &SslContext,
    peer_of: Index<Ssl, SocketAddr>,
    socket: &Arc<UdpSocket>,
    peer: SocketAddr,
) -> Result<SslStream<PeerSocket>, ErrorStack> {
    let mut ssl = Ssl::new(context)?;
    ssl.set_ex_data(peer_of, peer);
    ssl.set_accept_state();
    ssl.set_mtu(MTU)?;
    SslStream::new(ssl, PeerSocket { socket: Arc::clone(socket), peer, arrived: VecDeque::new() })
}

fn is_passing(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable
    )
}

impl Peers {
    /// Sends a datagram to where it belongs.
    async fn datagram(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        begin: impl FnOnce() -> Result<SslStream<PeerSocket>, ErrorStack>,
        shared: &Shared,
    ) -> Result<(), Gone> {
        let is_new_handshake = matches!(datagram, [HANDSHAKE_RECORD, _, _, 0, 0, ..]);
        let is_data = datagram.first() == Some(&APPLICATION_DATA);
        let is_connected = self.connections.contains_key(&from);
        if !self.handshakes.contains_key(&from) && is_new_handshake {
            if self.handshakes.len() >= MAX_HANDSHAKES
                && let Some(oldest) = self.oldest_handshake()
            {
                self.handshakes.remove(&oldest);
                failed(oldest, "there were too many at once".to_owned(), shared).await?;
            }
            match begin() {
                Ok(stream) => {
                    self.handshakes.insert(from, Handshake { stream, begun: clock::now().monotonic });
                }
                Err(error) => return failed(from, error.to_string(), shared).await,
            }
        }
        if !(is_data && is_connected)
            && let Some(handshake) = self.handshakes.get_mut(&from)
        {
            handshake.stream.get_mut().arrived.push_back(datagram.to_vec());
            return self.shake(from, shared).await;
        }
        if let Some(connection) = self.connections.get_mut(&from) {
            connection.heard = clock::now().monotonic;
            connection.stream.get_mut().arrived.push_back(datagram.to_vec());
            return self.read(from, shared).await;
        }
        match datagram.first() {
            // What is left of a handshake that failed, or of a goodbye.
            Some(&(CHANGE_CIPHER_SPEC..=HANDSHAKE_RECORD)) => Ok(()),
            Some(&APPLICATION_DATA) => {
                failed(from, "its connection is not known here".to_owned(), shared).await
            }
            _ => failed(from, "what it sends is not DTLS".to_owned(), shared).await,
        }
    }

    fn oldest_handshake(&self) -> Option<SocketAddr> {
        self.handshakes.iter().min_by_key(|(_, handshake)| handshake.begun).map(|(peer, _)| *peer)
    }

    /// Goes on with a handshake.
    async fn shake(&mut self, from: SocketAddr, shared: &Shared) -> Result<(), Gone> {
        let Some(handshake) = self.handshakes.get_mut(&from) else { return Ok(()) };
        match handshake.stream.do_handshake() {
            Ok(()) => {}
            Err(error) if would_block(&error) => return Ok(()),
            Err(error) => {
                self.handshakes.remove(&from);
                return failed(from, error.to_string(), shared).await;
            }
        }
        let Some(Handshake { stream, .. }) = self.handshakes.remove(&from) else { return Ok(()) };
        self.end(from, shared).await?;
        let Some(place) = shared.place() else {
            return shared.inbox.put(Event::Refused { address: from, why: Refusal::TooMany }).await;
        };
        let peer = shared.peer(from);
        self.connections
            .insert(from, Connection { stream, peer, heard: clock::now().monotonic, _place: place });
        shared.inbox.put(Event::Accepted).await?;
        // The first messages may have come with the end of the handshake.
        self.read(from, shared).await
    }

    /// Reads the messages that have come.
    async fn read(&mut self, from: SocketAddr, shared: &Shared) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(&from) else { return Ok(()) };
        let mut record = [0; 16_384];
        loop {
            match connection.stream.ssl_read(&mut record) {
                // A message is a record; some put several into one.
                Ok(length) => {
                    for octets in cut(&record[..length]) {
                        shared.inbox.put(Event::Message { peer: connection.peer, octets }).await?;
                    }
                }
                Err(error) if would_block(&error) => return Ok(()),
                // It said goodbye, or an alert.
                Err(_) => return self.end(from, shared).await,
            }
        }
    }

    async fn end(&mut self, from: SocketAddr, shared: &Shared) -> Result<(), Gone> {
        let Some(mut connection) = self.connections.remove(&from) else { return Ok(()) };
        let _ = connection.stream.shutdown();
        shared.inbox.put(Event::Ended { peer: connection.peer, ending: Ending::Closed }).await
    }

    /// What time brings: replies that were lost are sent again, those who say nothing are given up.
    async fn tick(&mut self, shared: &Shared) -> Result<(), Gone> {
        let now = clock::now().monotonic;
        let under_way: Vec<SocketAddr> = self.handshakes.keys().copied().collect();
        for from in under_way {
            let begun = self.handshakes.get(&from).map(|handshake| handshake.begun);
            if begun.is_some_and(|begun| now.since(begun) >= HANDSHAKE) {
                self.handshakes.remove(&from);
                failed(from, "it took too long".to_owned(), shared).await?;
            } else {
                self.shake(from, shared).await?;
            }
        }
        let silent = |connection: &Connection| now.since(connection.heard) >= SILENCE;
        let silent: Vec<SocketAddr> =
            self.connections.iter().filter(|(_, it)| silent(it)).map(|(from, _)| *from).collect();
        for from in silent {
            self.end(from, shared).await?;
        }
        Ok(())
    }
}

async fn failed(address: SocketAddr, cause: String, shared: &Shared) -> Result<(), Gone> {
    shared.inbox.put(Event::Refused { address, why: Refusal::Handshake { cause } }).await
}

fn would_block(error: &openssl::ssl::Error) -> bool {
    matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE)
}

impl Read for PeerSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.arrived.pop_front().ok_or(ErrorKind::WouldBlock)?;
        // As a socket: what does not fit is lost.
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }
}

impl Write for PeerSocket {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        // What is lost here is lost as on the way: the peer asks again.
        let _ = self.socket.try_send_to(datagram, self.peer);
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn wrong(path: &Path, error: &ErrorStack) -> CollectError {
    CollectError::Identity { path: path.to_owned(), reason: error.to_string() }
}

/// What handshakes are made of.
fn context(identity: &Identity, peer_of: Index<Ssl, SocketAddr>) -> Result<SslContext, CollectError> {
    let certificate = |error: ErrorStack| wrong(&identity.certificate, &error);
    let mut builder = SslContext::builder(SslMethod::dtls_server()).map_err(certificate)?;
    builder.set_min_proto_version(Some(SslVersion::DTLS1_2)).map_err(certificate)?;
    builder
        .set_options(SslOptions::COOKIE_EXCHANGE | SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION);
    builder.set_certificate_chain_file(&identity.certificate).map_err(certificate)?;
    let key = |error: ErrorStack| wrong(&identity.key, &error);
    builder.set_private_key_file(&identity.key, SslFiletype::PEM).map_err(key)?;
    builder.check_private_key().map_err(key)?;
    if let Some(path) = &identity.client_authority {
        let authority = |error: ErrorStack| wrong(path, &error);
        builder.set_ca_file(path).map_err(authority)?;
        builder.set_client_ca_list(X509Name::load_client_ca_file(path).map_err(authority)?);
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    let mut secret = [0; 32];
    rand_bytes(&mut secret).map_err(certificate)?;
    let cookie = move |ssl: &openssl::ssl::SslRef| ssl.ex_data(peer_of).map(|peer| cookie(&secret, *peer));
    builder.set_cookie_generate_cb(move |ssl, buffer| {
        let cookie = cookie(ssl).ok_or_else(ErrorStack::get)?;
        buffer[..cookie.len()].copy_from_slice(&cookie);
        Ok(cookie.len())
    });
    builder.set_cookie_verify_cb(move |ssl, given| {
        cookie(ssl).is_some_and(|cookie| cookie.len() == given.len() && memcmp::eq(&cookie, given))
    });
    Ok(builder.build())
}

/// What only we can make, and only for this address: all that goes in has a fixed length.
fn cookie(secret: &[u8; 32], peer: SocketAddr) -> [u8; 32] {
    let address = match peer.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    sha256(&[&secret[..], &address.octets(), &peer.port().to_be_bytes()].concat())
}

/// Cuts what came at once into messages by their Length; what is left at the end is in the last piece, whatever it is.
fn cut(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !octets.is_empty() {
        let length = match octets {
            [0, 10, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        let (message, rest) = match octets.split_at_checked(length) {
            Some((message, rest)) if length >= MESSAGE_HEADER => (message, rest),
            _ => (octets, &[][..]),
        };
        messages.push(message.to_vec());
        octets = rest;
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_several_messages_is_cut_and_the_rest_is_kept_for_the_counters() {
        let message = |length: u8| {
            let mut octets = vec![7; length.into()];
            octets[..4].copy_from_slice(&[0, 10, 0, length]);
            octets
        };
        let two = [message(16), message(40)].concat();
        assert_eq!(cut(&two), [message(16), message(40)]);
        assert_eq!(cut(&two[..50]), [message(16), message(40)[..34].to_vec()]);
        assert_eq!(cut(&[0, 10, 0, 3, 9]), [[0, 10, 0, 3, 9]]);
        assert_eq!(cut(b"x"), [b"x"]);
        assert!(cut(b"").is_empty());
    }
}
