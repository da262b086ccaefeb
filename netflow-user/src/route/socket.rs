//! Netlink sockets: one that lists are asked for, one that news comes to.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
        netlink::SocketAddrNetlink,
        recv, send, socket_with,
        sockopt::{
            Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout,
        },
    },
};

use super::{
    RouteError,
    fib::Change,
    netlink::{List, Said, messages},
};

/// The kernel answers with datagrams of up to 32 KiB where there is room for them.
pub(super) const DATAGRAM: usize = 64 << 10;
/// Octets of news that wait: some 20,000 routes, about a fifth of a second of a routing daemon's start.
const NEWS_BUFFER: usize = 16 << 20;
/// How long the kernel may take for the next part of a list.
const PATIENCE: Duration = Duration::from_secs(10);

/// RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_ROUTE, IPV6_RULE, NEXTHOP: group n is bit n - 1.
const GROUPS: u32 = 1 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 18 | 1 << 31;

/// A netlink socket.
pub(super) struct Socket {
    descriptor: OwnedFd,
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Listed {
    /// It changed while it was made.
    pub(super) interrupted: bool,
    /// The kernel has no such thing.
    pub(super) missing: bool,
    /// Messages that cannot be read.
    pub(super) unread: u64,
}

impl Socket {
    /// One for lists.
    pub(super) fn for_lists() -> Result<Self, RouteError> {
        let open = || -> io::Result<Self> {
            let socket = Self::open(0)?;
            set_socket_timeout(&socket.descriptor, Timeout::Recv, Some(PATIENCE))?;
            Ok(socket)
        };
        open().map_err(|source| RouteError::Open { source })
    }

    /// One that news comes to from now on.
    pub(super) fn for_news() -> Result<Self, RouteError> {
        let open = || -> io::Result<Self> {
            let socket = Self::open(GROUPS)?;
            // Beyond the host's limit needs CAP_NET_ADMIN; without it, less has to do.
            if set_socket_recv_buffer_size_force(&socket.descriptor, NEWS_BUFFER).is_err() {
                set_socket_recv_buffer_size(&socket.descriptor, NEWS_BUFFER)?;
            }
            Ok(socket)
        };
        open().map_err(|source| RouteError::Open { source })
    }

    fn open(groups: u32) -> io::Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        let descriptor = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        bind(&descriptor, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { descriptor })
    }

    /// The next datagram of news; `None`: there is none now.
    ///
    /// # Errors
    /// ENOBUFS: some was lost.
    pub(super) fn news<'a>(&self, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, Errno> {
        match recv(&self.descriptor, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            // Cut: as good as lost.
            Ok((_, length)) if length > buffer.len() => Err(Errno::NOBUFS),
            Ok((_, length)) => Ok(Some(&buffer[..length])),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for a list and hands over its items. `sequence` is a new number each time.
    ///
    /// # Errors
    /// The kernel does not answer, or refuses.
    pub(super) fn list(
        &self,
        list: List,
        sequence: u32,
        buffer: &mut [u8],
        mut take: impl FnMut(Change),
    ) -> Result<Listed, RouteError> {
        let fail = |source: io::Error| RouteError::List { what: list.name(), source };
        send(&self.descriptor, &list.request(sequence), SendFlags::empty())
            .map_err(|errno| fail(errno.into()))?;
        let mut listed = Listed::default();
        loop {
            let length = match recv(&self.descriptor, &mut *buffer, RecvFlags::empty()) {
                Ok((_, length)) => length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(fail(errno.into())),
            };
            for message in messages(&buffer[..length]) {
                let Some(message) = message else {
                    listed.unread += 1;
                    continue;
                };
                // The rest of a list that was given up.
                if message.sequence != sequence {
                    continue;
                }
                listed.interrupted |= message.interrupted();
                match message.read(true) {
                    Said::Change(change) => take(change),
                    Said::Nothing => {}
                    Said::Done => return Ok(listed),
                    Said::Failed(errno) if is_missing(errno) => {
                        return Ok(Listed { missing: true, ..listed });
                    }
                    Said::Failed(errno) => return Err(fail(io::Error::from_raw_os_error(errno))),
                    Said::Unread => listed.unread += 1,
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A kernel without policy routing, nexthop objects or IPv6 says one of these.
fn is_missing(errno: i32) -> bool {
    [Errno::OPNOTSUPP, Errno::AFNOSUPPORT].iter().any(|missing| missing.raw_os_error() == errno)
}
