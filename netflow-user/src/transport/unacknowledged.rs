//! What TCP has not been told of yet. The one file of this room with `unsafe`: the ioctl has no safe wrapper in a crate.
#![allow(unsafe_code, reason = "an ioctl that no crate wraps")]

use std::{ffi::c_int, io, os::fd::AsFd};

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` (tcp(7)), which is `TIOCOUTQ`.
const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;

/// Octets written to a TCP socket that the peer's kernel has not acknowledged, also after the connection was reset.
pub(super) fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: SIOCOUTQ writes one int and reads nothing (Linux, net/ipv4/tcp.c, tcp_ioctl).
    let octets: c_int = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) }?;
    Ok(octets.try_into().unwrap_or(0))
}
