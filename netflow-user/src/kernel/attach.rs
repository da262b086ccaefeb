//! Attaching and detaching, and what the kernel means by its error numbers.

use std::io;

use aya::programs::{
    ProgramError,
    links::FdLink,
    xdp::{XdpError, XdpLink, XdpMode as AyaMode},
};

use super::{Kernel, KernelError, error::os_error};

/// Which XDP mode to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpMode {
    /// Native, and generic where the driver has no native XDP.
    #[default]
    Auto,
    /// In the driver only.
    Native,
    /// In the stack, after the driver made a socket buffer: any device, and packets that the driver
    /// or GRO merged count as one.
    Generic,
}

impl XdpMode {
    /// The word of `--xdp-mode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// Which packets of an interface are metered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// Those that it receives.
    #[default]
    Ingress,
    /// Those that it sends.
    Egress,
    /// All.
    Both,
}

impl Direction {
    /// The word of `--direction`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Both => "both",
        }
    }
}

/// What the packets of an interface begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// The IP header itself: tun, wireguard, ppp and other tunnels.
    RawIp,
}

/// How an interface is to be metered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AttachOptions {
    /// Which hook takes received packets; sent ones are always TC's.
    pub mode: XdpMode,
    /// Which packets.
    pub direction: Direction,
    /// What they begin with.
    pub link: Link,
}

/// One attached interface. Closing its links (also by the death of the process) detaches.
#[derive(Debug)]
pub struct Attachment {
    /// Name of the interface at the time.
    pub interface: String,
    /// ifIndex.
    pub index: u32,
    /// [`XdpMode::Native`] or [`XdpMode::Generic`].
    pub mode: XdpMode,
    /// Why native XDP was not to be had, where that was asked for first.
    pub fallback: Option<String>,
    _link: FdLink,
}

impl Kernel {
    /// Attaches the meter to an interface.
    ///
    /// # Errors
    /// One line with cause and remedy; nothing is left attached.
    pub fn attach(
        &mut self,
        interface: &str,
        index: u32,
        how: &AttachOptions,
    ) -> Result<&Attachment, KernelError> {
        let (link, mode, fallback) = match how.mode {
            mode @ (XdpMode::Native | XdpMode::Generic) => (self.link(interface, index, mode)?, mode, None),
            XdpMode::Auto => match self.link(interface, index, XdpMode::Native) {
                Ok(link) => (link, XdpMode::Native, None),
                Err(native) => match self.link(interface, index, XdpMode::Generic) {
                    Ok(link) => (link, XdpMode::Generic, Some(native.to_string())),
                    // An occupied interface is occupied in both modes: the first answer is the better one.
                    Err(_) => return Err(native),
                },
            },
        };
        self.attachments.push(Attachment {
            interface: interface.to_owned(),
            index,
            mode,
            fallback,
            _link: link,
        });
        Ok(self.attachments.last().expect("pushed above"))
    }

    /// Detaches from one interface; whether it was attached. Programs that still run end before the next
    /// flip's wait returns. Of an interface that is gone only the memory of it is given back.
    pub fn detach(&mut self, index: u32) -> bool {
        let before = self.attachments.len();
        self.attachments.retain(|attachment| attachment.index != index);
        self.attachments.len() < before
    }

    /// Detaches everywhere. Programs that still run end before the next flip's wait returns.
    pub fn detach_all(&mut self) {
        self.attachments.clear();
    }

    fn link(&mut self, interface: &str, index: u32, mode: XdpMode) -> Result<FdLink, KernelError> {
        let aya_mode = if mode == XdpMode::Generic { AyaMode::Skb } else { AyaMode::Driver };
        let fail = |reason: String| KernelError::Attach {
            interface: interface.to_owned(),
            mode: mode.name(),
            reason,
        };
        let explained = |error: &ProgramError| fail(explain(error, interface, mode));
        let program = self.meter().map_err(|error| explained(&error))?;
        let id = program.attach_to_if_index(index, aya_mode).map_err(|error| explained(&error))?;
        let link: XdpLink = program.take_link(id).map_err(|error| explained(&error))?;
        // On EINVAL aya attaches by netlink, which outlives a killed agent: refuse that (dropping it detaches).
        FdLink::try_from(link)
            .map_err(|_| fail("the kernel gave no link for it (needs 5.9 or newer)".to_owned()))
    }
}

/// What the kernel means and what helps; the link path returns a number and no text.
fn explain(error: &ProgramError, interface: &str, mode: XdpMode) -> String {
    let netlink = match error {
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    };
    match netlink.or_else(|| os_error(error)) {
        Some(number) => meaning(number, interface, mode),
        None => error_chain(error),
    }
}

fn meaning(number: i32, interface: &str, mode: XdpMode) -> String {
    let text = match number {
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
        libc::ENODEV | libc::ENXIO => "the interface is gone".to_owned(),
        libc::EPERM | libc::EACCES => "not permitted; CAP_NET_ADMIN and CAP_BPF are needed".to_owned(),
        _ => return io::Error::from_raw_os_error(number).to_string(),
    };
    format!("{text} ({})", io::Error::from_raw_os_error(number))
}

fn error_chain(error: &dyn std::error::Error) -> String {
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
