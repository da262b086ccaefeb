//! Promiscuous mode by the membership of a packet socket: it ends with the socket, so with the process.
//!
//! Unsafe: `PACKET_ADD_MEMBERSHIP` has no safe wrapper in the crates used here.
#![allow(unsafe_code, reason = "setsockopt(PACKET_ADD_MEMBERSHIP) has no safe wrapper")]

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// A packet socket that receives nothing (protocol 0) and keeps the interface in promiscuous mode (packet(7)).
///
/// # Errors
/// What socket(2) and setsockopt(2) say.
pub fn promiscuous_socket(index: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    join(socket.as_fd(), index)?;
    Ok(socket)
}

fn join(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: the request is a whole packet_mreq that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
