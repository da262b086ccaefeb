//! SCTP by the kernel's sockets, one-to-one style (RFC 6458 section 4): written to like a connection, with what one write
//! sends being one user message, in order and reliable, on stream 0 (RFC 7011 section 10.2).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::destination::Destination;
use super::error::TransportError;

/// A socket for `peer`.
pub(super) fn socket(peer: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::SCTP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether this kernel has SCTP (SCTP-11).
///
/// # Errors
/// It has not.
pub(super) fn check(destination: &Destination) -> Result<(), TransportError> {
    match socket((Ipv4Addr::LOCALHOST, destination.port).into()) {
        Ok(_) => Ok(()),
        Err(source) => Err(TransportError::NoSctp { destination: destination.to_string(), source }),
    }
}
