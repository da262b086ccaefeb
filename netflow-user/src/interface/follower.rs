//! Follows the links by netlink: every change in order, and all of them anew where some were missed.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::BoxStream};
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{AddressFamily, RouteNetlinkMessage},
    sys::AsyncSocket as _,
};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::{
    Attempt, Change, Following, Interface, InterfaceError, InterfaceNames, Interfaces, News, Selection,
    names::NamesSource,
};

/// Octets of messages that may wait: with the usual limit a hundred links that change at once are too many. It
/// takes CAP_NET_ADMIN; without, the usual limit stays.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Between attempts to reach netlink again.
const RETRY: Duration = Duration::from_secs(1);

/// The links, followed.
pub struct Follower {
    following: Following,
    interfaces: Interfaces,
    events: Option<LinkEvents>,
    names: NamesSource,
}

impl Follower {
    /// Follows the links from now on, on the current tokio runtime. Returns what there is to do at first, too.
    ///
    /// # Errors
    /// No netlink socket, or it does not tell the links.
    pub async fn open(selection: Selection) -> Result<(Self, Vec<Change>), InterfaceError> {
        let mut follower = Self {
            following: Following::new(selection),
            interfaces: Interfaces::open()?,
            events: None,
            names: NamesSource::new(),
        };
        let changes = follower.begin().await?;
        Ok((follower, changes))
    }

    /// The names of all interfaces, kept up to date.
    pub fn names(&self) -> InterfaceNames {
        self.names.names()
    }

    /// Whether nothing is metered, nor about to be.
    pub fn is_idle(&self) -> bool {
        self.following.is_idle()
    }

    /// The names of those that are metered.
    pub fn metered_names(&self) -> Vec<String> {
        self.following.metered_names()
    }

    /// Those that are metered.
    pub fn metered(&self) -> impl Iterator<Item = &Interface> {
        self.following.metered()
    }

    /// What was asked for.
    pub fn selection(&self) -> &Selection {
        self.following.selection()
    }

    /// Something else is asked for from now on. Returns what there is to do.
    pub fn select(&mut self, selection: Selection) -> Vec<Change> {
        self.following.select(selection)
    }

    /// Asks the kernel about interfaces.
    pub fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// What became of [`Change::Attach`].
    pub fn attached(&mut self, index: u32, ticket: u64, attempt: Attempt) -> News {
        self.following.attached(index, ticket, attempt)
    }

    /// What there is to do next; waits until something about the interfaces has changed, which may leave nothing to
    /// do. May be dropped and called again at any time: no change is lost by that.
    pub async fn next(&mut self) -> Vec<Change> {
        loop {
            let changes = match &mut self.events {
                Some(events) => match events.next().await {
                    Some(LinkEvent::Changed(link)) => self.following.changed(*link),
                    Some(LinkEvent::Removed(index)) => self.following.removed(index),
                    missed => {
                        match missed {
                            Some(_) => {
                                info!("changes of interfaces were missed: asking for all of them anew")
                            }
                            None => warn!("the netlink connection has ended: opening another"),
                        }
                        // What still waits there is older than what will be asked for.
                        self.events = None;
                        continue;
                    }
                },
                None => match self.begin().await {
                    Ok(changes) => changes,
                    Err(error) => {
                        warn!("cannot follow the interfaces, trying again in a second: {error}");
                        self.events = None;
                        tokio::time::sleep(RETRY).await;
                        if let Ok(interfaces) = Interfaces::open() {
                            self.interfaces = interfaces;
                        }
                        continue;
                    }
                },
            };
            self.names.update(self.following.links());
            return changes;
        }
    }

    /// Listens first, then asks, so that nothing falls in between: what is told of both ways is the same in the end.
    async fn begin(&mut self) -> Result<Vec<Change>, InterfaceError> {
        let events = LinkEvents::open()?;
        let links = self.interfaces.all().await?;
        self.events = Some(events);
        let changes = self.following.replaced(links);
        self.names.update(self.following.links());
        Ok(changes)
    }
}

enum LinkEvent {
    Changed(Box<Interface>),
    Removed(u32),
    /// The socket's buffer was full.
    Missed,
}

struct LinkEvents {
    messages: BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>,
    _connection: Connection,
}

/// A connection that nobody listens to any more would say so in the log.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LinkEvents {
    fn open() -> Result<Self, InterfaceError> {
        let (mut connection, _, messages) = new_multicast_connection(&[MulticastGroup::Link])
            .map_err(|source| InterfaceError::Open { source })?;
        let socket = connection.socket_mut().socket_ref();
        if let Err(error) = set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER) {
            debug!("the netlink socket keeps its receive buffer: {error}");
        }
        Ok(Self {
            _connection: Connection(tokio::spawn(connection).abort_handle()),
            messages: messages.map(|(message, _)| message).boxed(),
        })
    }

    async fn next(&mut self) -> Option<LinkEvent> {
        while let Some(message) = self.messages.next().await {
            if let Some(event) = event(message.payload) {
                return Some(event);
            }
        }
        None
    }
}

fn event(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<LinkEvent> {
    match payload {
        // A bridge that loses a port says so with the same message, in its own family.
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
            if link.header.interface_family == AddressFamily::Unspec =>
        {
            Some(LinkEvent::Removed(link.header.index))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))
            if link.header.interface_family == AddressFamily::Unspec =>
        {
            Interface::new(&link).map(|link| LinkEvent::Changed(Box::new(link)))
        }
        NetlinkPayload::Overrun(_) => Some(LinkEvent::Missed),
        _ => None,
    }
}
