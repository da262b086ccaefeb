//! A socket for datagrams, with room for what arrives while the output is slow.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use super::error::CollectError;

/// Asked for the receive buffer.
const RECEIVE_BUFFER: usize = 16 * 1024 * 1024;

/// A bound socket; datagrams that arrive before they are read are kept by the kernel.
#[derive(Debug)]
pub(super) struct Datagrams {
    pub(super) socket: UdpSocket,
    pub(super) address: SocketAddr,
}

impl Datagrams {
    /// Listens on `address`; port 0 takes any free one.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, CollectError> {
        let failed = |source| CollectError::of_bind(address, source);
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

    /// Datagrams the kernel dropped because the receive buffer was full; unknown without /proc.
    pub(super) fn dropped(&self) -> Option<u64> {
        let descriptor = format!("/proc/thread-self/fd/{}", self.socket.as_raw_fd());
        let inode = std::fs::metadata(descriptor).ok()?.ino().to_string();
        let table = if self.address.is_ipv4() { "udp" } else { "udp6" };
        let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        // Column 10 is the inode, the last one the drops (Documentation/networking/proc_net_tcp.rst).
        let line = table.lines().find(|line| line.split_whitespace().nth(9) == Some(&inode))?;
        line.split_whitespace().last()?.parse().ok()
    }

    /// As [`io::Error`] tells it.
    pub(super) fn failed(&self, source: io::Error) -> CollectError {
        CollectError::Receive { address: self.address, source }
    }
}
