//! Which interfaces are metered: chosen at the start, followed while they come, go and change.

use std::collections::HashMap;

use tokio::sync::{mpsc::UnboundedReceiver, watch};
use tracing::{info, warn};

use super::{
    AgentError,
    control::{Command, Control, Outcome},
    error::chain,
};
use crate::{
    config::RunConfig,
    interface::{
        Attempt, Cause, Change, Follower, Interface, InterfaceError, Interfaces, News, Promiscuous, Selection,
    },
    kernel::{AttachOptions, Direction, Hook, Kernel, Link, OwnExport, PrivilegedProcess},
    message::InterfaceName,
    metrics::MeteredNames,
};

/// The metered interfaces.
pub(super) struct Metered {
    follower: Follower,
    /// What there is to do at the start.
    begin: Vec<Change>,
    /// Whether there is nothing to meter.
    idle: bool,
    /// Those without which it does not start, by ifIndex.
    required: Vec<u32>,
    how: AttachOptions,
    /// Why this direction.
    why: &'static str,
    promiscuous: bool,
    /// Who may make interfaces promiscuous.
    privileged: PrivilegedProcess,
    /// The loopback interface is among them.
    loopback: bool,
    /// Tap mode, which is not to cut the host off.
    spare_host: bool,
    /// By ifIndex.
    memberships: HashMap<u32, Promiscuous>,
    /// The last table for options data, where there is one.
    table: Option<Vec<InterfaceName>>,
    /// Those that are metered, for whoever looks.
    shown: watch::Sender<MeteredNames>,
}

impl Metered {
    /// Chooses interfaces, and follows them from now on.
    ///
    /// # Errors
    /// One that is named literally cannot be metered. That it is missing or down is no error where there are others
    /// that a glob takes: it is waited for, as it is later on.
    pub(super) async fn choose(
        config: &RunConfig,
        privileged: &PrivilegedProcess,
    ) -> Result<Self, InterfaceError> {
        let known = Interfaces::open()?;
        let selection = selection_of(config).await?;
        let (follower, begin) = Follower::open(selection.clone()).await?;
        let (direction, why) = direction(config, &selection, &known).await;
        let mut metered = Self {
            follower,
            begin,
            idle: true,
            required: Vec::new(),
            how: AttachOptions { mode: config.xdp_mode, direction, link: Link::default() },
            why,
            promiscuous: config.promiscuous,
            privileged: privileged.clone(),
            loopback: false,
            spare_host: config.load.tap && !config.tap_anyway,
            memberships: HashMap::new(),
            table: config.export.interface_table.then(Vec::new),
            shown: watch::channel(Vec::new()).0,
        };
        let matched = metered.begin.iter().any(|change| {
            matches!(change, Change::Attach { interface, .. } if !selection.names().contains(&interface.name))
        });
        for name in selection.names() {
            match known.find(name).await {
                Ok(interface) => {
                    metered.check(&interface).await?;
                    metered.loopback |= interface.loopback;
                    metered.required.push(interface.index);
                }
                Err(error @ (InterfaceError::Unknown { .. } | InterfaceError::Down { .. })) if matched => {
                    warn!("{error}; waiting for it");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(metered)
    }

    /// Those that there are to attach to at the start.
    pub(super) fn begin(&self) -> impl Iterator<Item = (u32, &str)> + Clone {
        self.begin.iter().filter_map(|change| match change {
            Change::Attach { interface, .. } => Some((interface.index, interface.name.as_str())),
            _ => None,
        })
    }

    /// Attaches to those that are there.
    ///
    /// # Errors
    /// It cannot be attached to one that is named literally.
    pub(super) async fn start(&mut self, kernel: &mut Kernel) -> Result<(), AgentError> {
        for change in std::mem::take(&mut self.begin) {
            let Change::Attach { ticket, interface } = change else {
                tell(&change);
                continue;
            };
            let required = self.required.contains(&interface.index);
            let attempt = match self.attach(kernel, &interface).await {
                Ok(program) => Attempt::Metered(program),
                Err(error) if required => return Err(error),
                Err(error) => Attempt::Failed(chain(&error)),
            };
            if required && self.promiscuous {
                self.memberships.insert(interface.index, Promiscuous::on(&interface, &self.privileged)?);
            }
            self.hear(Outcome { index: interface.index, ticket, attempt });
        }
        self.idle = self.follower.is_idle();
        self.show();
        Ok(())
    }

    /// Those that are metered, now and from now on.
    pub(super) fn shown(&self) -> watch::Receiver<MeteredNames> {
        self.shown.subscribe()
    }

    fn show(&self) {
        let mut names: MeteredNames =
            self.follower.metered().map(|interface| (interface.index, interface.name.clone())).collect();
        names.sort();
        self.shown.send_if_modified(|shown| {
            let differs = *shown != names;
            *shown = names;
            differs
        });
    }

    /// How interfaces are attached to.
    pub(super) fn how(&self) -> AttachOptions {
        self.how
    }

    /// Where messages of this exporter are left out, if they are.
    pub(super) fn leave_out(&self, own: OwnExport) -> OwnExport {
        match own {
            OwnExport::LeftOutWhereSent if self.loopback => OwnExport::LeftOut,
            other => other,
        }
    }

    /// What is metered, or waited for, in words.
    pub(super) fn summary(&self) -> String {
        match self.follower.metered_names() {
            names if names.is_empty() => {
                format!("no interface yet, waiting for {}", self.follower.selection())
            }
            names => names.join(", "),
        }
    }

    /// Which packets are metered, and why, in words.
    pub(super) fn direction(&self) -> String {
        let which = match self.how.direction {
            Direction::Ingress => "received packets",
            Direction::Egress => "sent packets",
            Direction::Both => "received and sent packets",
        };
        format!("{which}{}", self.why)
    }

    /// Whether an interface shows both directions of a flow, mirror ports apart.
    pub(super) fn sees_both_directions(&self) -> bool {
        self.how.direction == Direction::Both
    }

    /// Follows the interfaces, and what the operator wishes of them; does not end.
    pub(super) async fn follow(
        &mut self,
        control: &Control,
        mut outcomes: UnboundedReceiver<Outcome>,
        mut wishes: UnboundedReceiver<Wish>,
    ) {
        loop {
            let again = tokio::select! {
                Some(wish) = wishes.recv() => {
                    if wish.table != self.table.is_some() {
                        self.table = wish.table.then(Vec::new);
                    }
                    for change in self.follower.select(wish.selection) {
                        self.carry_out(change, control).await;
                    }
                    None
                }
                changes = self.follower.next() => {
                    for change in changes {
                        self.carry_out(change, control).await;
                    }
                    let idle = self.follower.is_idle();
                    if idle && !self.idle {
                        warn!("no interface is metered any more; waiting for {}", self.follower.selection());
                    }
                    self.idle = idle;
                    None
                }
                Some(outcome) = outcomes.recv() => self.hear(outcome),
            };
            if let Some(again) = again {
                self.carry_out(again, control).await;
            }
            self.show();
            if let Some(table) = self.table() {
                control.send(Command::Table(table));
            }
        }
    }

    /// The interfaces that are metered, for options data: if they are asked for and others than last time.
    pub(super) fn table(&mut self) -> Option<Vec<InterfaceName>> {
        let last = self.table.as_mut()?;
        let mut now: Vec<InterfaceName> = self.follower.metered().map(interface_name).collect();
        now.sort_by_key(|interface| interface.index);
        if now == *last {
            return None;
        }
        last.clone_from(&now);
        Some(now)
    }

    async fn carry_out(&mut self, change: Change, control: &Control) {
        tell(&change);
        match change {
            Change::Attach { ticket, interface } => {
                if let Err(error) = self.check(&interface).await {
                    let attempt = Attempt::Failed(chain(&error));
                    self.hear(Outcome { index: interface.index, ticket, attempt });
                } else {
                    control.send(Command::Attach { ticket, interface });
                }
            }
            Change::Detach { index, name, .. } => {
                self.memberships.remove(&index);
                control.send(Command::Detach { index, name });
            }
            Change::Renamed { index, to: name, .. } => control.send(Command::Renamed { index, name }),
            _ => {}
        }
    }

    /// Takes notice of what became of attaching; returns what is to be done again.
    fn hear(&mut self, outcome: Outcome) -> Option<Change> {
        let Outcome { index, ticket, attempt } = outcome;
        match self.follower.attached(index, ticket, attempt) {
            News::Metered { interface } if self.promiscuous && !self.memberships.contains_key(&index) => {
                match Promiscuous::on(&interface, &self.privileged) {
                    Ok(membership) => drop(self.memberships.insert(index, membership)),
                    Err(error) => warn!("{}", chain(&error)),
                }
            }
            News::Failed { name, reason } => {
                warn!("{name} is not metered until it changes: {reason}");
            }
            News::Again(change) => return Some(change),
            News::Metered { .. } | News::Void => {}
        }
        None
    }

    /// Attaches while there is no metering thread yet.
    async fn attach(&self, kernel: &mut Kernel, interface: &Interface) -> Result<Option<u32>, AgentError> {
        self.check(interface).await?;
        attach(kernel, interface, &self.how)
    }

    /// Refuses what cannot be metered, and to cut off the host.
    async fn check(&self, interface: &Interface) -> Result<(), InterfaceError> {
        if !interface.is_readable() {
            return Err(InterfaceError::NotEthernet { name: interface.name.clone() });
        }
        if self.spare_host { self.follower.interfaces().refuse_in_use(interface).await } else { Ok(()) }
    }
}

/// What a reload says of interfaces.
pub(super) struct Wish {
    pub(super) selection: Selection,
    /// Options data name them.
    pub(super) table: bool,
}

/// Which interfaces a configuration asks for: where it names none, that of the default route.
///
/// # Errors
/// There is none.
pub(super) async fn selection_of(config: &RunConfig) -> Result<Selection, InterfaceError> {
    if !config.interfaces.is_empty() {
        return Ok(config.interfaces.clone());
    }
    let known = Interfaces::open()?;
    Ok(config.interfaces.clone().with(&known.of_default_route().await?.name))
}

/// Which packets of them.
///
/// # Errors
/// The kernel tells nothing of interfaces.
pub(super) async fn direction_of(
    config: &RunConfig,
    selection: &Selection,
) -> Result<Direction, InterfaceError> {
    Ok(direction(config, selection, &Interfaces::open()?).await.0)
}

fn interface_name(interface: &Interface) -> InterfaceName {
    InterfaceName {
        index: interface.index,
        name: interface.name.clone(),
        description: interface.alias.clone().unwrap_or_default(),
    }
}

/// Attaches the meter to an interface, and says how. Returns the id of the XDP program that meters it, if one does.
pub(super) fn attach(
    kernel: &mut Kernel,
    interface: &Interface,
    how: &AttachOptions,
) -> Result<Option<u32>, AgentError> {
    let link = if interface.ethernet { Link::Ethernet } else { Link::RawIp };
    let attachment = kernel.attach(&interface.name, interface.index, &AttachOptions { link, ..*how })?;
    let ingress = attachment.ingress;
    let named = |hook: Option<Hook>| hook.map(Hook::name);
    if let (Some(native), Some(taken)) = (&attachment.fallback, named(attachment.ingress)) {
        info!("{native}; taking {taken} instead");
    }
    if attachment.replaced > 0 {
        warn!("{} had a filter of an agent that was killed, which is replaced", interface.name);
    }
    let by = match (named(attachment.ingress), named(attachment.egress)) {
        (Some(ingress), Some(egress)) => format!("{ingress}, what it sends by {egress}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    };
    let xdp = matches!(attachment.ingress, Some(Hook::NativeXdp | Hook::GenericXdp));
    if attachment.ingress == Some(Hook::GenericXdp) {
        warn!(
            "{} is metered by {by}: packets that the driver or GRO merged count as one; `ethtool -K {} gro off lro off` avoids that",
            interface.name, interface.name
        );
    } else {
        info!("{} is metered by {by}", interface.name);
    }
    if interface.loopback {
        let own = ingress.is_none_or(|hook| kernel.meters_own_export(hook));
        let too = if own { ", the flows that are exported over it too" } else { "" };
        let name = &interface.name;
        warn!("{name} is the loopback interface: each packet between programs of this host is metered{too}");
    }
    Ok(if xdp { kernel.xdp_program() } else { None })
}

/// Which packets are metered where the operator does not say it, and why.
async fn direction(
    config: &RunConfig,
    selection: &Selection,
    known: &Interfaces,
) -> (Direction, &'static str) {
    if let Some(direction) = config.direction {
        return (direction, "");
    }
    if selection.is_several() {
        return (Direction::Ingress, ", or one that is forwarded would count twice; see --direction");
    }
    for name in selection.names() {
        if known.find(name).await.is_ok_and(|interface| interface.loopback) {
            return (Direction::Ingress, ", as each that is sent on loopback is received; see --direction");
        }
    }
    (Direction::Both, "")
}

/// Says what happens.
fn tell(change: &Change) {
    match change {
        Change::Attach { .. } => {}
        Change::Detach { name, cause: Cause::Gone, .. } => warn!("interface {name} is gone"),
        Change::Detach { name, cause: Cause::Replaced, .. } => {
            warn!("interface {name} was removed and made again");
        }
        Change::Detach { name, cause: Cause::Excluded, .. } => {
            info!("interface {name} is excluded under this name");
        }
        Change::Detach { name, cause: Cause::Unasked, .. } => {
            info!("nothing asks for an interface of the name {name}");
        }
        Change::Detach { name, cause: Cause::OnTop(why), .. } => {
            info!("interface {name} is not the lowest of its stack any more: {why}");
        }
        Change::Renamed { from, to, .. } => info!("interface {from} is called {to} now; its flows go on"),
        Change::Down { name } => warn!("interface {name} is down: no packets until it is up again"),
        Change::Up { name } => info!("interface {name} is up again"),
        Change::PassedOver { name, why } => {
            info!("interface {name} is passed over: {why}; -i {name} meters it all the same");
        }
        Change::CountedTwice { name, below: Some(below) } => {
            warn!("packets of {name} are counted twice: {below} below it is metered, too");
        }
        Change::CountedTwice { name, below: None } => {
            warn!(
                "packets of {name} come inside those of another interface: they are counted twice if that is metered, too"
            );
        }
    }
}
