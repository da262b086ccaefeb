//! What the peer's kernel has not acknowledged yet. The one file of this room with `unsafe`: neither the ioctl nor the socket
//! options have a safe wrapper in a crate.
#![allow(unsafe_code, reason = "an ioctl and two socket options that no crate wraps")]

use std::{
    ffi::{c_int, c_void},
    io,
    mem::size_of_val,
    os::fd::{AsFd, AsRawFd as _},
};

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` (tcp(7)), which is `TIOCOUTQ`.
const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
/// linux/sock_diag.h: the values of SO_MEMINFO, and the place of what is queued to be sent.
const SK_MEMINFO_VARS: usize = 9;
const SK_MEMINFO_WMEM_QUEUED: usize = 5;
/// linux/sctp.h: struct sctp_status has 176 octets, the second word of which is the association's state.
const SCTP_STATUS: c_int = 14;
const SCTP_STATUS_WORDS: usize = 44;
const SCTP_STATE: usize = 1;
const SCTP_ESTABLISHED: u32 = 4;

/// Octets written to a TCP socket that the peer's kernel has not acknowledged, also after the connection was reset.
pub(super) fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: SIOCOUTQ writes one int and reads nothing (Linux, net/ipv4/tcp.c, tcp_ioctl).
    let octets: c_int = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) }?;
    Ok(octets.try_into().unwrap_or(0))
}

/// An upper bound of the octets written to an SCTP socket that the peer's kernel has not acknowledged, and exactly 0 when it has
/// all: the memory that they take. Whole DATA chunks go, in the order of their numbers, once they are acknowledged.
///
/// # Errors
/// The association is over: its memory is free, whatever has arrived.
pub(super) fn unacknowledged_by_sctp(socket: impl AsFd) -> io::Result<u64> {
    let memory: [u32; SK_MEMINFO_VARS] = option(&socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    // Behind it: what still is an association now has freed nothing else before.
    let status: [u32; SCTP_STATUS_WORDS] = option(&socket, libc::IPPROTO_SCTP, SCTP_STATUS)?;
    if status[SCTP_STATE] < SCTP_ESTABLISHED {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(memory[SK_MEMINFO_WMEM_QUEUED].into())
}

/// A socket option that is words.
fn option<const WORDS: usize>(socket: impl AsFd, level: c_int, name: c_int) -> io::Result<[u32; WORDS]> {
    let mut words = [0_u32; WORDS];
    let mut length = size_of_val(&words) as libc::socklen_t;
    let place: *mut c_void = words.as_mut_ptr().cast();
    // SAFETY: the kernel writes up to `length` octets, which are those of `words`, and any of them are words.
    let result = unsafe { libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, place, &raw mut length) };
    if result == 0 { Ok(words) } else { Err(io::Error::last_os_error()) }
}
