//! Which interfaces: names to indexes, the default route, what may be metered.
//!
//! In: names. Out: [`Interface`]s as the kernel knows them by netlink (never by sysfs: in a network
//! namespace that may show another one's). This room refuses to know programs and maps.

mod details;
mod drops;
mod follower;
mod following;
mod in_use;
mod link;
mod names;
mod selection;

use std::os::fd::OwnedFd;

use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle, RouteMessageBuilder, new_connection,
    packet_route::{
        AddressFamily,
        link::LinkMessage,
        route::{RouteAttribute, RouteHeader, RouteMessage, RouteType},
    },
};

pub use self::{
    details::InterfaceDetails,
    drops::ReceiveDrops,
    follower::Follower,
    following::{Attempt, Cause, Change, Following, News},
    link::Interface,
    names::{InterfaceName, InterfaceNames, Names},
    selection::{OnTop, Selection, SelectionError},
};
use crate::kernel::PrivilegedProcess;

/// Names that an error shows; a host of containers has hundreds.
const NAMES_SHOWN: usize = 12;

/// Why an interface cannot be metered.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// Netlink is not to be had.
    #[error("cannot open a netlink socket")]
    Open {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A netlink request failed.
    #[error("cannot ask the kernel for its {what}")]
    Request {
        /// links, counters, routes or addresses.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<rtnetlink::Error>,
    },
    /// There is no interface of that name.
    #[error("there is no interface '{name}'; there are {known}")]
    Unknown {
        /// As given.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// It is administratively down.
    #[error("interface {name} is down; bring it up with `ip link set {name} up`")]
    Down {
        /// Its name.
        name: String,
    },
    /// Its packets begin neither with an Ethernet nor with an IP header.
    #[error(
        "the packets of interface {name} begin neither with an Ethernet nor with an IP header, which is not supported; name another with -i"
    )]
    NotEthernet {
        /// Its name.
        name: String,
    },
    /// No interface was named and there is no default route.
    #[error("there is no default route to take the interface from; name one with -i, of {known}")]
    NoDefaultRoute {
        /// Those that exist.
        known: String,
    },
    /// The built-in collector could not be reached.
    #[error(
        "{name} is down, which the built-in collector needs; bring it up with `ip link set {name} up`, or name a collector with -c"
    )]
    LoopbackDown {
        /// Its name.
        name: String,
    },
    /// Tap mode would cut the host off.
    #[error(
        "--tap would drop everything that {name} receives, and the host uses it: it has {what}; leave out --tap, or say --tap-anyway"
    )]
    TapInUse {
        /// Its name.
        name: String,
        /// An address, a route, or a device that builds on it.
        what: String,
    },
    /// The packet socket for promiscuous mode.
    #[error("cannot set {name} to promiscuous mode (needs CAP_NET_RAW, or --promiscuous off)")]
    Promiscuous {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A netlink connection that answers questions about interfaces.
pub struct Interfaces {
    handle: Handle,
}

impl Interfaces {
    /// Opens the connection; it runs on the current tokio runtime.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn open() -> Result<Self, InterfaceError> {
        let (connection, handle, _) = new_connection().map_err(|source| InterfaceError::Open { source })?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// The interface of that name, ready to be metered.
    ///
    /// # Errors
    /// It does not exist, is down, or is of a kind that cannot be metered.
    pub async fn find(&self, name: &str) -> Result<Interface, InterfaceError> {
        let all = self.all().await?;
        let Some(found) = all.iter().find(|interface| interface.name == name) else {
            return Err(InterfaceError::Unknown { name: name.to_owned(), known: names(&all) });
        };
        if !found.up {
            return Err(InterfaceError::Down { name: name.to_owned() });
        }
        if !found.is_readable() {
            return Err(InterfaceError::NotEthernet { name: name.to_owned() });
        }
        Ok(found.clone())
    }

    /// The interface of the default route: of IPv4, else of IPv6; the lowest metric wins.
    ///
    /// # Errors
    /// There is none, or it cannot be metered.
    pub async fn of_default_route(&self) -> Result<Interface, InterfaceError> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let routes = self.routes(family).await?;
            let best = routes
                .iter()
                .filter(|route| is_default(route))
                .filter_map(|route| Some((metric(route), output(route)?)))
                .min();
            if let Some((_, index)) = best {
                let all = self.all().await?;
                if let Some(found) = all.iter().find(|interface| interface.index == index) {
                    return self.find(&found.name).await;
                }
            }
        }
        Err(InterfaceError::NoDefaultRoute { known: names(&self.all().await?) })
    }

    /// Refuses a loopback interface that is down: it takes packets and loses them without a word.
    ///
    /// # Errors
    /// It is down, or netlink failed.
    pub async fn require_loopback(&self) -> Result<(), InterfaceError> {
        match self.all().await?.into_iter().find(|interface| interface.loopback) {
            Some(Interface { name, up: false, .. }) => Err(InterfaceError::LoopbackDown { name }),
            _ => Ok(()),
        }
    }

    async fn all(&self) -> Result<Vec<Interface>, InterfaceError> {
        let messages: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|source| InterfaceError::Request { what: "links", source: Box::new(source) })?;
        Ok(messages.iter().filter_map(Interface::new).collect())
    }

    async fn routes(&self, family: AddressFamily) -> Result<Vec<RouteMessage>, InterfaceError> {
        let mut request = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
        request.header.address_family = family;
        self.handle
            .route()
            .get(request)
            .execute()
            .try_collect()
            .await
            .map_err(|source| InterfaceError::Request { what: "routes", source: Box::new(source) })
    }
}

/// Names for an error, as many as a line takes.
fn names(interfaces: &[Interface]) -> String {
    let shown: Vec<&str> = interfaces.iter().take(NAMES_SHOWN).map(|found| found.name.as_str()).collect();
    match interfaces.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A default route that everybody takes: other tables hold those of policies, such as a VPN's.
fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0
        && route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.header.kind == RouteType::Unicast
}

/// Where packets leave; of several ways the first.
fn output(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
        _ => None,
    })
}

fn metric(route: &RouteMessage) -> u32 {
    let given = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    given.unwrap_or(0)
}

/// Keeps an interface in promiscuous mode as long as it lives: the membership of a packet socket that
/// receives nothing (protocol 0), so that it ends with the process however that ends.
pub struct Promiscuous {
    _socket: OwnedFd,
}

impl Promiscuous {
    /// Switches it on.
    ///
    /// # Errors
    /// No packet socket, or the membership was refused.
    pub fn on(interface: &Interface, privileged: &PrivilegedProcess) -> Result<Self, InterfaceError> {
        let fail = |source| InterfaceError::Promiscuous { name: interface.name.clone(), source };
        Ok(Self { _socket: privileged.promiscuous(interface.index).map_err(fail)? })
    }
}
