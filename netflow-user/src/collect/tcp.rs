//! Connections of TCP and TLS: accepted, bounded in number, each with a task of its own.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::AsyncRead;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::error::CollectError;
use super::inbox::{Event, Gone, Inbox, Refusal};
use super::peer::{Peer, Way};
use super::stream;

/// Connections at once, of all listeners.
pub(super) const MAX_CONNECTIONS: usize = 1024;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// When no connection can be accepted, as when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);
/// A peer that has vanished is noticed after some four minutes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What all connections share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) inbox: Inbox,
    places: Arc<Semaphore>,
    numbers: Arc<AtomicU64>,
    /// How long a message may take.
    pub(super) patience: Duration,
}

/// A bound socket; connections that come before they are accepted are kept by the kernel.
#[derive(Debug)]
pub(super) struct Connecting {
    socket: StdListener,
    pub(super) address: SocketAddr,
}

impl Shared {
    pub(super) fn new(inbox: Inbox) -> Self {
        Self {
            inbox,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            numbers: Arc::default(),
            patience: stream::patience(),
        }
    }

    /// A place for one more connection.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A connection's name.
    pub(super) fn peer(&self, address: SocketAddr) -> Peer {
        Peer { address, way: Way::Connection { number: self.numbers.fetch_add(1, Ordering::Relaxed) } }
    }
}

impl Connecting {
    /// Listens on `address`; port 0 takes any free one.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, CollectError> {
        let failed = |source| CollectError::of_bind(address, source);
        raise_descriptor_limit();
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(failed)?;
        if address.is_ipv6() {
            socket.set_only_v6(false).map_err(failed)?;
        }
        // Connections of an earlier run that linger do not hold the port.
        socket.set_reuse_address(true).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        socket.bind(&address.into()).map_err(failed)?;
        socket.listen(BACKLOG).map_err(failed)?;
        let socket = StdListener::from(socket);
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Accepts connections, of TLS where there is an acceptor, for as long as it is polled.
    pub(super) async fn serve(self, tls: Option<TlsAcceptor>, shared: Shared) -> Result<(), CollectError> {
        let failed = |source| CollectError::Start { source };
        let listener = TcpListener::from_std(self.socket).map_err(failed)?;
        // Dropped with this future, and the connections with it.
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok((stream, address)) = listener.accept().await else {
                // A connection that was gone before, or no descriptors: the next attempt tells.
                sleep(PAUSE).await;
                continue;
            };
            let Some(place) = shared.place() else {
                drop(stream);
                if shared.inbox.put(Event::Refused { address, why: Refusal::TooMany }).await.is_err() {
                    return Ok(());
                }
                continue;
            };
            let (tls, shared) = (tls.clone(), shared.clone());
            connections.spawn(async move {
                // An error: nobody decodes any more.
                let _ = connection(stream, address, tls, &shared).await;
                drop(place);
            });
        }
    }
}

/// As many descriptors as the system lets the process have: by default it has not enough for all connections.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused, connections wait until others end.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: &Shared,
) -> Result<(), Gone> {
    // Where it does not work, dead peers stay.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    let Some(tls) = tls else { return messages(stream, address, shared).await };
    let cause = match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => return messages(stream, address, shared).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    shared.inbox.put(Event::Refused { address, why: Refusal::Handshake { cause } }).await
}

async fn messages(stream: impl AsyncRead + Unpin, address: SocketAddr, shared: &Shared) -> Result<(), Gone> {
    let peer = shared.peer(address);
    shared.inbox.put(Event::Accepted).await?;
    let ending = stream::receive(stream, peer, &shared.inbox, shared.patience).await?;
    shared.inbox.put(Event::Ended { peer, ending }).await
}
