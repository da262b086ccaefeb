//! The collector of the bench: a UDP socket with room for all that an exporter sends in a run. It is read when the
//! exporter has ended, so that receiving takes nothing of the machine while others are measured.

use std::{
    fs, io,
    net::{SocketAddr, UdpSocket},
};

use ::tests::lab::Namespace;
use anyhow::{Context as _, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::datagram::{Counter, Exported};

/// Octets of memory that may wait in the socket; the kernel doubles it.
const ROOM: usize = 1 << 30;

/// A socket that collects.
pub struct Sink {
    socket: UdpSocket,
}

impl Sink {
    /// Listens at an address of the namespace.
    ///
    /// # Errors
    /// The address is taken, or the socket may not have so much room (it needs CAP_NET_ADMIN).
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let socket = namespace
            .enter(|| UdpSocket::bind(address))?
            .with_context(|| format!("cannot listen at {address}"))?;
        set_socket_recv_buffer_size_force(&socket, ROOM - 1).context("no room for the sink's socket")?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Reads what waits, again and again.
    pub fn reader(&self) -> Reader<'_> {
        Reader { socket: &self.socket, counter: Counter::default(), message: vec![0; 65_536] }
    }
}

/// Reads a sink's messages; keeps the templates.
pub struct Reader<'a> {
    socket: &'a UdpSocket,
    counter: Counter,
    message: Vec<u8>,
}

impl Reader<'_> {
    /// All that was received until now.
    ///
    /// # Errors
    /// The socket fails.
    pub fn count(&mut self) -> Result<Exported> {
        loop {
            match self.socket.recv(&mut self.message) {
                Ok(length) => self.counter.read(&self.message[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(self.counter.exported());
                }
                Err(error) => return Err(error).context("the sink's socket"),
            }
        }
    }
}

/// Datagrams that found a full socket in this namespace, or none at all.
///
/// # Errors
/// The kernel does not say it.
pub fn datagrams_lost(namespace: &Namespace) -> Result<u64> {
    // The thread's own: "/proc/net" is that of the process.
    let text = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = lines.next().zip(lines.next()).context("no counters of UDP")?;
    let count = |name: &str| {
        names
            .split(' ')
            .zip(values.split(' '))
            .find(|(of, _)| *of == name)
            .and_then(|(_, value)| value.parse::<u64>().ok())
    };
    Ok(count("RcvbufErrors").context("no RcvbufErrors")? + count("NoPorts").context("no NoPorts")?)
}
