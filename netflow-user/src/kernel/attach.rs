//! Attaching and detaching, and what the kernel means by its error numbers.

use std::io;

use aya::programs::{
    ProgramError, Xdp,
    links::FdLink,
    xdp::{XdpError, XdpLink, XdpMode as AyaMode},
};

use super::{Kernel, KernelError, load};

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

/// One attached interface. Closing the link (also by the death of the process) detaches.
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
    pub fn attach(&mut self, interface: &str, index: u32, mode: XdpMode) -> Result<&Attachment, KernelError> {
        let (link, mode, fallback) = match mode {
            XdpMode::Native | XdpMode::Generic => (self.link(interface, index, mode)?, mode, None),
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
        let program: &mut Xdp = load::program(&mut self.ebpf, self.program)?;
        let id = program.attach_to_if_index(index, aya_mode).map_err(|error| fail(explain(&error)))?;
        let link: XdpLink = program.take_link(id).map_err(|error| fail(explain(&error)))?;
        // On EINVAL aya attaches by netlink, which outlives a killed agent: refuse that (dropping it detaches).
        FdLink::try_from(link)
            .map_err(|_| fail("the kernel gave no link for it (needs 5.9 or newer)".to_owned()))
    }
}

/// What the kernel means; the link path returns a number and no text.
fn explain(error: &ProgramError) -> String {
    let Some(number) = os_error(error) else { return error_chain(error) };
    let text = match number {
        libc::EBUSY | libc::EEXIST => {
            "another XDP program is attached there; see `ip link show`, remove it with `ip link set dev NAME xdp off`, or end its owner"
        }
        libc::EOPNOTSUPP => "the driver has no native XDP, or not with the device's present settings",
        libc::EINVAL => {
            "the driver refused it, often for want of queues (ethtool -L), for LRO or header split, or for the MTU"
        }
        libc::ERANGE => "the MTU (its own, or the peer's of a veth pair) is too large for the driver's XDP",
        libc::ENOSPC | libc::ENOMEM => "the driver lacks queues or memory for XDP",
        libc::ENODEV | libc::ENXIO => "the interface is gone",
        libc::EPERM | libc::EACCES => "not permitted: CAP_NET_ADMIN and CAP_BPF are needed",
        _ => return io::Error::from_raw_os_error(number).to_string(),
    };
    format!("{text} ({})", io::Error::from_raw_os_error(number))
}

fn os_error(error: &ProgramError) -> Option<i32> {
    if let ProgramError::XdpError(XdpError::NetlinkError(error)) = error {
        return error.raw_os_error();
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        cause = error.source();
    }
    None
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
