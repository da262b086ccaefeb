//! Attaching and detaching, and what the kernel means by its error numbers.

use aya::programs::{
    Program, ProgramError, TcAttachType, Xdp,
    links::FdLink,
    xdp::{XdpLink, XdpMode as AyaMode},
};

use super::{
    EntryPoint, Kernel, KernelError,
    explain::{explain, gone},
    traffic_control::{self, Clsact, TcFailure, TcLink},
};

/// Where packets that an interface receives are metered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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

/// What meters one direction of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// One attached interface. Dropping it detaches. What is a link is detached by the death of the process, too;
/// what is not (clsact, before kernel 6.6) is replaced by the next agent.
#[derive(Debug)]
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
    // In this order: the qdisc goes when its filters have gone.
    xdp_link: Option<FdLink>,
    tc_links: Vec<TcLink>,
    qdiscs: Vec<Clsact>,
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
        let mut attachment = Attachment {
            interface: interface.to_owned(),
            index,
            ingress: None,
            egress: None,
            fallback: None,
            replaced: 0,
            xdp_link: None,
            tc_links: Vec::new(),
            qdiscs: Vec::new(),
        };
        if how.direction != Direction::Egress {
            self.attach_ingress(&mut attachment, how)?;
        }
        if how.direction != Direction::Ingress {
            attachment.egress = Some(self.attach_tc(&mut attachment, EntryPoint::TcEgress(how.link))?);
        }
        self.attachments.push(attachment);
        Ok(self.attachments.last().expect("pushed above"))
    }

    /// What is attached, in the order in which it came.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
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

    /// From now on TC programs are attached as on kernels before 6.6: for tests.
    pub fn forgo_tcx(&mut self) {
        self.tcx = false;
    }

    fn attach_ingress(
        &mut self,
        attachment: &mut Attachment,
        how: &AttachOptions,
    ) -> Result<(), KernelError> {
        let entry = EntryPoint::TcIngress(how.link);
        let hook = match (how.mode, how.link) {
            (XdpMode::Native | XdpMode::Generic, Link::RawIp) => {
                return Err(KernelError::Attach {
                    interface: attachment.interface.clone(),
                    mode: how.mode.name(),
                    reason: "its packets have no Ethernet header, which XDP needs; --xdp-mode auto or tc does without"
                        .to_owned(),
                });
            }
            (XdpMode::Native | XdpMode::Generic, Link::Ethernet) => self.attach_xdp(attachment, how.mode)?,
            (XdpMode::Tc, _) | (XdpMode::Auto, Link::RawIp) => self.attach_tc(attachment, entry)?,
            (XdpMode::Auto, Link::Ethernet) => match self.attach_xdp(attachment, XdpMode::Native) {
                Ok(hook) => hook,
                Err(native) => {
                    attachment.fallback = Some(native.to_string());
                    match self.attach_tc(attachment, entry) {
                        Ok(hook) => hook,
                        // The first answer is the better one.
                        Err(_) => self.attach_xdp(attachment, XdpMode::Generic).map_err(|_| native)?,
                    }
                }
            },
        };
        attachment.ingress = Some(hook);
        Ok(())
    }

    fn attach_xdp(&mut self, attachment: &mut Attachment, mode: XdpMode) -> Result<Hook, KernelError> {
        let Attachment { interface, index, .. } = &*attachment;
        let (aya_mode, hook) = match mode {
            XdpMode::Generic => (AyaMode::Skb, Hook::GenericXdp),
            _ => (AyaMode::Driver, Hook::NativeXdp),
        };
        let fail = |reason| KernelError::Attach { interface: interface.clone(), mode: mode.name(), reason };
        let explained = |error| fail(explain(&error, interface, mode));
        let program: &mut Xdp = self
            .program_at(self.xdp)
            .ok_or(ProgramError::NotLoaded)
            .and_then(TryInto::try_into)
            .map_err(explained)?;
        let id = program.attach_to_if_index(*index, aya_mode).map_err(explained)?;
        let link: XdpLink = program.take_link(id).map_err(explained)?;
        // On EINVAL aya attaches by netlink, which outlives a killed agent: refuse that (dropping it detaches).
        let link = FdLink::try_from(link)
            .map_err(|_| fail("the kernel gave no link for it (needs 5.9 or newer)".to_owned()))?;
        attachment.xdp_link = Some(link);
        Ok(hook)
    }

    fn attach_tc(&mut self, attachment: &mut Attachment, entry: EntryPoint) -> Result<Hook, KernelError> {
        let Attachment { interface, index, .. } = &*attachment;
        let direction = match entry {
            EntryPoint::TcEgress(_) => TcAttachType::Egress,
            _ => TcAttachType::Ingress,
        };
        let (names, tcx) = (entry.attached(), self.tcx);
        self.load_at(entry)?;
        let program = match self.program_at(entry) {
            Some(Program::SchedClassifier(program)) => program,
            _ => return Err(KernelError::Missing { name: entry.name(self.width()) }),
        };
        let mut link = traffic_control::attach(program, names, interface, *index, direction, tcx).map_err(
            |failure| KernelError::Attach {
                interface: interface.clone(),
                mode: XdpMode::Tc.name(),
                reason: match failure {
                    TcFailure::Gone => gone(),
                    TcFailure::Program(error) => explain(&error, interface, XdpMode::Tc),
                },
            },
        )?;
        let hook = if link.is_tcx() { Hook::Tcx } else { Hook::Clsact };
        attachment.replaced += usize::from(link.replaced());
        attachment.qdiscs.extend(link.take_qdisc());
        attachment.tc_links.push(link);
        Ok(hook)
    }
}
