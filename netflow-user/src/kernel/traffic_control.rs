//! Attaching to TC: a TCX link (kernel 6.6), or a filter of the clsact qdisc on older kernels.
//!
//! A link ends with the process. A filter does not: it is removed in order, and what an agent that was killed
//! left is replaced at the next start. The same with the qdisc: made where there is none, removed if it is empty.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send, socket_with, sockopt,
};

use super::bpf_call::{self, LinkPlace};

/// Filters of a lower priority come first; this is the lowest.
const FIRST: u16 = 1;
/// Netlink answers at once; a kernel that does not must not hold up the agent.
const PATIENCE: Duration = Duration::from_secs(2);

/// What keeps a TC program attached; dropping it detaches.
#[derive(Debug)]
pub(super) enum TcLink {
    /// Kernel 6.6 and newer.
    Tcx(OwnedFd),
    /// Older kernels. The filter goes first, then the qdisc.
    Clsact {
        filter: TcFilter,
        /// Where this agent, or one that was killed, made it.
        qdisc: Option<Clsact>,
        /// A filter that was left by an agent that was killed is replaced.
        replaced: bool,
    },
}

/// A filter of the clsact qdisc; dropping it removes it.
#[derive(Debug)]
pub(super) struct TcFilter(SchedClassifierLink);

impl TcFilter {
    /// The same with another program. On an error there is none any more.
    pub(super) fn moved_to(self, program: &mut SchedClassifier) -> Result<Self, ProgramError> {
        let id = program.attach_to_link(self.0)?;
        Ok(Self(program.take_link(id)?))
    }
}

/// Why a TC program cannot be attached.
pub(super) enum TcFailure {
    /// The name belongs to another interface by now, or to none.
    Gone,
    /// What the kernel says.
    Program(ProgramError),
    /// The same of a link.
    Link(io::Error),
}

impl From<ProgramError> for TcFailure {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

/// Attaches a program before all others; `tcx` where the kernel may have it. It replaces those that an agent may have
/// left, which have one of these names.
pub(super) fn attach(
    program: &mut SchedClassifier,
    names: [&str; 3],
    interface: &str,
    index: u32,
    egress: bool,
    tcx: bool,
) -> Result<TcLink, TcFailure> {
    if index_of(interface) != Some(index) {
        return Err(TcFailure::Gone);
    }
    if tcx {
        let place = if egress { LinkPlace::TcxEgress } else { LinkPlace::TcxIngress };
        match bpf_call::link_create(program.fd()?.as_fd(), index, place) {
            Ok(link) => return Ok(TcLink::Tcx(link)),
            // A kernel that is new enough, and was built without it.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {}
            Err(error) => return Err(TcFailure::Link(error)),
        }
    }
    let direction = if egress { TcAttachType::Egress } else { TcAttachType::Ingress };
    let made = match tc::qdisc_add_clsact(interface) {
        Ok(()) => true,
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => false,
        Err(error) => return Err(ProgramError::from(error).into()),
    };
    // Not `then_some`: that makes one in any case, which would remove somebody else's empty qdisc as it goes.
    let mut qdisc = if made { Some(Clsact { index }) } else { None };
    let mut replaced = false;
    for name in names.into_iter().filter(|_| !made) {
        match tc::qdisc_detach_program(interface, direction, name) {
            Ok(()) => {
                replaced = true;
                qdisc = Some(Clsact { index });
            }
            Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ProgramError::from(error).into()),
        }
    }
    let options = TcAttachOptions::Netlink(NlOptions { priority: FIRST, ..NlOptions::default() });
    let id = program.attach_with_options(interface, direction, options)?;
    Ok(TcLink::Clsact { filter: TcFilter(program.take_link(id)?), qdisc, replaced })
}

fn index_of(interface: &str) -> Option<u32> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::name_to_index(&socket, interface).ok()
}

/// A clsact qdisc; dropping it removes it if nobody's filter is in it.
#[derive(Debug)]
pub(super) struct Clsact {
    index: u32,
}

impl Drop for Clsact {
    fn drop(&mut self) {
        // An empty qdisc that stays does no harm.
        let _ = remove_if_empty(self.index);
    }
}

const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Handle and parent of the clsact qdisc, parents of its two filter lists (`linux/pkt_sched.h`).
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

fn remove_if_empty(index: u32) -> io::Result<()> {
    // Protocol 0 is NETLINK_ROUTE.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    for parent in [INGRESS, EGRESS] {
        if has_filters(&socket, index, parent)? {
            return Ok(());
        }
    }
    let request = request(RTM_DELQDISC, NLM_F_REQUEST | NLM_F_ACK, index, CLSACT_HANDLE, CLSACT);
    send(&socket, &request, SendFlags::empty())?;
    let mut answer = [0; 512];
    recv(&socket, &mut answer[..], RecvFlags::empty())?;
    Ok(())
}

fn has_filters(socket: &OwnedFd, index: u32, parent: u32) -> io::Result<bool> {
    let request = request(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, index, 0, parent);
    send(socket, &request, SendFlags::empty())?;
    let mut found = false;
    let mut answer = vec![0; 32 << 10];
    loop {
        let (length, _) = recv(socket, &mut answer[..], RecvFlags::empty())?;
        for kind in kinds(answer.get(..length).unwrap_or_default()) {
            match kind {
                NLMSG_DONE | NLMSG_ERROR => return Ok(found),
                RTM_NEWTFILTER => found = true,
                _ => {}
            }
        }
    }
}

/// `nlmsghdr` and `tcmsg` (`linux/netlink.h`, `linux/rtnetlink.h`), 36 octets, in the machine's order.
fn request(kind: u16, flags: u16, index: u32, handle: u32, parent: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(36);
    message.extend(36u32.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence and port: one question at a time, and the kernel knows who asks.
    message.extend([0; 8]);
    // Family, padding.
    message.extend([0; 4]);
    for word in [index, handle, parent, 0] {
        message.extend(word.to_ne_bytes());
    }
    message
}

/// The kinds of the messages that came together.
fn kinds(mut messages: &[u8]) -> Vec<u16> {
    let mut kinds = Vec::new();
    while let [a, b, c, d, e, f, ..] = *messages {
        let length = u32::from_ne_bytes([a, b, c, d]).next_multiple_of(4).max(16) as usize;
        kinds.push(u16::from_ne_bytes([e, f]));
        messages = messages.get(length..).unwrap_or_default();
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_36_octets_and_messages_are_told_apart_by_their_kinds() {
        let one = request(RTM_NEWTFILTER, 0, 7, CLSACT_HANDLE, CLSACT);
        assert_eq!(one.len(), 36);
        assert_eq!(one[20..24], 7u32.to_ne_bytes());
        let two = [one, request(NLMSG_DONE, 0, 0, 0, 0)].concat();
        assert_eq!(kinds(&two), [RTM_NEWTFILTER, NLMSG_DONE]);
        assert!(kinds(&two[..5]).is_empty() && kinds(&[0; 6]) == [0]);
    }
}
