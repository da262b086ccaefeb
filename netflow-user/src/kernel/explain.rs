//! What the kernel means by its error numbers when attaching, and what helps.

use std::io;

use aya::programs::{ProgramError, tc::TcError, xdp::XdpError};

use super::{XdpMode, error::os_error};

/// The interface was removed, or renamed while it was attached to.
pub(super) fn gone() -> String {
    "the interface is gone".to_owned()
}

/// What the kernel means and what helps; the link path returns a number and no text.
pub(super) fn explain(error: &ProgramError, interface: &str, mode: XdpMode) -> String {
    let netlink = match error {
        ProgramError::XdpError(XdpError::NetlinkError(error))
        | ProgramError::TcError(TcError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    };
    match netlink.or_else(|| os_error(error)) {
        Some(number) => meaning(number, interface, mode),
        None => error_chain(error),
    }
}

/// The same of a call that was made here.
pub(super) fn explain_call(error: &io::Error, interface: &str, mode: XdpMode) -> String {
    match error.raw_os_error() {
        Some(number) => meaning(number, interface, mode),
        None => error.to_string(),
    }
}

fn meaning(number: i32, interface: &str, mode: XdpMode) -> String {
    let text = match number {
        libc::ENOENT | libc::EINVAL | libc::EOPNOTSUPP if mode == XdpMode::Tc => {
            "the kernel lacks tcx (6.6) and the clsact qdisc with BPF classifiers, or a filter of another kind has the first place (`tc filter show dev NAME ingress`, and egress)".to_owned()
        }
        libc::EBUSY | libc::EEXIST => {
            // EEXIST: the other mode is in use. `xdp off` alone means native where the driver has it.
            let theirs = if (number == libc::EBUSY) == (mode == XdpMode::Generic) { "xdpgeneric" } else { "xdpdrv" };
            format!(
                "another XDP program is attached there (`bpftool net` shows it); end its owner, or `ip link set dev {interface} {theirs} off`"
            )
        }
        libc::EOPNOTSUPP if mode == XdpMode::Native => "the driver has no native XDP, or not with the device's present settings; --xdp-mode auto or generic does without".to_owned(),
        libc::EINVAL => "the driver refuses it, often for want of queues (ethtool -L), for LRO or header split, or for the MTU; --xdp-mode generic does without it".to_owned(),
        libc::ERANGE => format!("the MTU of {interface} (or of a veth's other end) is too large for its XDP; a smaller MTU or --xdp-mode generic helps"),
        libc::ENOSPC | libc::ENOMEM => "the driver lacks queues or memory for XDP; fewer queues (ethtool -L) or --xdp-mode generic helps".to_owned(),
        libc::ENODEV | libc::ENXIO => gone(),
        libc::EPERM | libc::EACCES => "not permitted; CAP_NET_ADMIN and CAP_BPF are needed".to_owned(),
        _ => return io::Error::from_raw_os_error(number).to_string(),
    };
    format!("{text} ({})", io::Error::from_raw_os_error(number))
}

/// The error and its causes in one line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_come_with_cause_and_remedy() {
        let cases = [
            (libc::EBUSY, "another XDP program is attached there", "`ip link set dev m0 xdpdrv off`"),
            (libc::EEXIST, "another XDP program is attached there", "`ip link set dev m0 xdpgeneric off`"),
            (libc::EOPNOTSUPP, "the driver has no native XDP", "--xdp-mode auto"),
            (libc::EINVAL, "the driver refuses it", "--xdp-mode generic"),
            (libc::ERANGE, "the MTU of m0", "a smaller MTU"),
            (libc::ENODEV, "the interface is gone", "os error 19"),
        ];
        for (number, cause, remedy) in cases {
            let text = meaning(number, "m0", XdpMode::Native);
            assert!(text.starts_with(cause) && text.contains(remedy) && !text.contains('\n'), "{text}");
        }
    }
}
