//! Attaching and detaching, and what the kernel means by its error numbers.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::programs::Program;
use serde::{Deserialize, Serialize};

use super::{
    EntryPoint, KernelError,
    bpf_call::{self, LinkPlace},
    explain::{explain, explain_call, gone},
    loader::Loader,
    traffic_control::{self, Clsact, TcFailure, TcFilter, TcLink},
};

/// Where packets that an interface receives are metered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum XdpMode {
    /// Native XDP; TC where that is not to be had or taken; generic XDP last.
    #[default]
    Auto,
    /// In the driver only.
    Native,
    /// In the stack, by TC: any device, and packets that the driver or GRO merged count as what they were.
    Tc,
    /// In the stack, after the driver made a socket buffer: any device with an Ethernet header, and packets
    /// that the driver or GRO merged count as one.
    Generic,
}

impl XdpMode {
    /// The word of `--xdp-mode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Tc => "tc",
            Self::Generic => "generic",
        }
    }
}

/// Which packets of an interface are metered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Link {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// The IP header itself: tun, wireguard, ppp and other tunnels.
    RawIp,
}

/// How an interface is to be metered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AttachOptions {
    /// Which hook takes received packets; sent ones are always TC's.
    pub mode: XdpMode,
    /// Which packets.
    pub direction: Direction,
    /// What they begin with.
    pub link: Link,
}

/// What meters one direction of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Hook {
    /// XDP in the driver.
    NativeXdp,
    /// XDP in the stack.
    GenericXdp,
    /// TC, by a link.
    Tcx,
    /// TC, by a filter of the clsact qdisc.
    Clsact,
}

impl Hook {
    /// Its name for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NativeXdp => "native XDP",
            Self::GenericXdp => "generic XDP",
            Self::Tcx => "TC (tcx)",
            Self::Clsact => "TC (clsact)",
        }
    }
}

/// One attached interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// Name of the interface at the time.
    pub interface: String,
    /// ifIndex.
    pub index: u32,
    /// What meters the packets that it receives.
    pub ingress: Option<Hook>,
    /// What meters the packets that it sends.
    pub egress: Option<Hook>,
    /// Why native XDP was not to be had, where that was asked for first.
    pub fallback: Option<String>,
    /// Filters that an agent which was killed had left, and that are replaced.
    pub replaced: usize,
}

/// Links, each with what it brings packets to. They detach when their last descriptor is closed, so also by the death of
/// the process that has them.
pub(super) type Links = Vec<(EntryPoint, OwnedFd)>;

/// What keeps an interface attached without a link (clsact, before kernel 6.6); dropping it detaches. What an agent that
/// was killed leaves is replaced by the next one.
#[derive(Debug)]
pub(super) struct WithoutLink {
    pub(super) index: u32,
    // In this order: the qdisc goes when its filters have gone.
    filters: Vec<(EntryPoint, TcFilter)>,
    _qdiscs: Vec<Clsact>,
}

/// An attachment in the making.
struct Attaching {
    attachment: Attachment,
    links: Links,
    filters: Vec<(EntryPoint, TcFilter)>,
    qdiscs: Vec<Clsact>,
}

impl Loader {
    /// Attaches the meter to an interface; on an error nothing is left attached. Who gets the links detaches by closing
    /// them, and by [`Self::detach`].
    pub(super) fn attach(
        &mut self,
        interface: &str,
        index: u32,
        how: &AttachOptions,
    ) -> Result<(Attachment, Links), KernelError> {
        let mut attaching = Attaching {
            attachment: Attachment {
                interface: interface.to_owned(),
                index,
                ingress: None,
                egress: None,
                fallback: None,
                replaced: 0,
            },
            links: Vec::new(),
            filters: Vec::new(),
            qdiscs: Vec::new(),
        };
        if how.direction != Direction::Egress {
            self.attach_ingress(&mut attaching, how)?;
        }
        if how.direction != Direction::Ingress {
            let hook = self.attach_tc(&mut attaching, EntryPoint::TcEgress(how.link))?;
            attaching.attachment.egress = Some(hook);
        }
        let Attaching { attachment, links, filters, qdiscs } = attaching;
        if !filters.is_empty() {
            self.without_link.push(WithoutLink { index, filters, _qdiscs: qdiscs });
        }
        Ok((attachment, links))
    }

    /// Detaches from one interface what has no link.
    pub(super) fn detach(&mut self, index: u32) {
        self.without_link.retain(|attached| attached.index != index);
    }

    /// Takes over from another meter, each link and filter in one step of the kernel: a packet comes to the one or to the
    /// other. All that is needed is loaded before the first of them moves. Returns, for each link, whether it has moved,
    /// and the ifIndexes that have filters which have not.
    pub(super) fn take_over(
        &mut self,
        links: &[(EntryPoint, BorrowedFd<'_>)],
        other: &mut Self,
    ) -> Result<(Vec<bool>, Vec<u32>), KernelError> {
        self.tcx = other.tcx;
        let filters = other.without_link.iter().flat_map(|attached| &attached.filters);
        let entries = links.iter().map(|(entry, _)| *entry).chain(filters.map(|(entry, _)| *entry));
        for entry in entries.collect::<Vec<_>>() {
            self.load_at(self.instead_of(entry))?;
        }
        let mut moved = Vec::new();
        for (entry, link) in links {
            let program = self.descriptor_at(self.instead_of(*entry));
            let result = program
                .map_err(io::Error::other)
                .and_then(|program| bpf_call::link_update(*link, program.as_fd()));
            moved.push(result.is_ok());
        }
        let mut lost = Vec::new();
        for mut attached in std::mem::take(&mut other.without_link) {
            for (entry, filter) in std::mem::take(&mut attached.filters) {
                let Some(Program::SchedClassifier(program)) = self.program_at(entry) else { continue };
                match filter.moved_to(program) {
                    Ok(filter) => attached.filters.push((entry, filter)),
                    Err(_) => lost.push(attached.index),
                }
            }
            self.without_link.push(attached);
        }
        Ok((moved, lost))
    }

    /// The XDP program of this meter may be the other one.
    fn instead_of(&self, entry: EntryPoint) -> EntryPoint {
        if entry.is_xdp() { self.xdp } else { entry }
    }

    fn attach_ingress(&mut self, attaching: &mut Attaching, how: &AttachOptions) -> Result<(), KernelError> {
        let entry = EntryPoint::TcIngress(how.link);
        let hook = match (how.mode, how.link) {
            (XdpMode::Native | XdpMode::Generic, Link::RawIp) => {
                return Err(KernelError::Attach {
                    interface: attaching.attachment.interface.clone(),
                    mode: how.mode.name(),
                    reason: "its packets have no Ethernet header, which XDP needs; --xdp-mode auto or tc does without"
                        .to_owned(),
                });
            }
            (XdpMode::Native | XdpMode::Generic, Link::Ethernet) => self.attach_xdp(attaching, how.mode)?,
            (XdpMode::Tc, _) | (XdpMode::Auto, Link::RawIp) => self.attach_tc(attaching, entry)?,
            (XdpMode::Auto, Link::Ethernet) => match self.attach_xdp(attaching, XdpMode::Native) {
                Ok(hook) => hook,
                Err(native) => {
                    attaching.attachment.fallback = Some(native.to_string());
                    match self.attach_tc(attaching, entry) {
                        Ok(hook) => hook,
                        // The first answer is the better one.
                        Err(_) => self.attach_xdp(attaching, XdpMode::Generic).map_err(|_| native)?,
                    }
                }
            },
        };
        attaching.attachment.ingress = Some(hook);
        Ok(())
    }

    fn attach_xdp(&mut self, attaching: &mut Attaching, mode: XdpMode) -> Result<Hook, KernelError> {
        let Attachment { interface, index, .. } = &attaching.attachment;
        let (place, hook) = match mode {
            XdpMode::Generic => (LinkPlace::GenericXdp, Hook::GenericXdp),
            _ => (LinkPlace::NativeXdp, Hook::NativeXdp),
        };
        let fail = |reason| KernelError::Attach { interface: interface.clone(), mode: mode.name(), reason };
        let program = self.descriptor_at(self.xdp).map_err(|error| fail(explain(&error, interface, mode)))?;
        // By a link or not at all: what netlink attaches outlives a killed agent.
        let link = bpf_call::link_create(program.as_fd(), *index, place)
            .map_err(|error| fail(explain_call(&error, interface, mode)))?;
        attaching.links.push((self.xdp, link));
        Ok(hook)
    }

    fn attach_tc(&mut self, attaching: &mut Attaching, entry: EntryPoint) -> Result<Hook, KernelError> {
        let Attachment { interface, index, .. } = &attaching.attachment;
        let (names, tcx) = (entry.attached(), self.tcx);
        self.load_at(entry)?;
        let program = match self.program_at(entry) {
            Some(Program::SchedClassifier(program)) => program,
            _ => return Err(KernelError::Missing { name: entry.name(self.width) }),
        };
        let egress = matches!(entry, EntryPoint::TcEgress(_));
        let link =
            traffic_control::attach(program, names, interface, *index, egress, tcx).map_err(|failure| {
                KernelError::Attach {
                    interface: interface.clone(),
                    mode: XdpMode::Tc.name(),
                    reason: match failure {
                        TcFailure::Gone => gone(),
                        TcFailure::Program(error) => explain(&error, interface, XdpMode::Tc),
                        TcFailure::Link(error) => explain_call(&error, interface, XdpMode::Tc),
                    },
                }
            })?;
        Ok(match link {
            TcLink::Tcx(link) => {
                attaching.links.push((entry, link));
                Hook::Tcx
            }
            TcLink::Clsact { filter, qdisc, replaced } => {
                attaching.attachment.replaced += usize::from(replaced);
                attaching.filters.push((entry, filter));
                attaching.qdiscs.extend(qdisc);
                Hook::Clsact
            }
        })
    }
}
