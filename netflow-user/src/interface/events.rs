//! What happens to interfaces while they are metered: set down, up again, gone.

use futures_util::{StreamExt as _, stream::BoxStream};
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkFlags, LinkMessage},
    },
};
use tokio::task::AbortHandle;

use super::{Interface, InterfaceError};

/// A change of a watched interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InterfaceEvent {
    /// Removed, or moved to another network namespace.
    Gone {
        /// Its name.
        name: String,
    },
    /// Administratively down.
    Down {
        /// Its name.
        name: String,
    },
    /// Up again.
    Up {
        /// Its name.
        name: String,
    },
}

/// A netlink connection that tells about changes of some interfaces.
pub struct InterfaceEvents {
    messages: BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>,
    watched: Vec<Watched>,
    _connection: Connection,
}

/// A connection that nobody listens to any more would say so in the log.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Watched {
    index: u32,
    name: String,
    up: bool,
}

impl InterfaceEvents {
    /// Opens the connection; it runs on the current tokio runtime. What happens from now on is told.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn open(interfaces: &[Interface]) -> Result<Self, InterfaceError> {
        let (connection, _, messages) = new_multicast_connection(&[MulticastGroup::Link])
            .map_err(|source| InterfaceError::Open { source })?;
        let connection = Connection(tokio::spawn(connection).abort_handle());
        Ok(Self {
            _connection: connection,
            messages: messages.map(|(message, _)| message).boxed(),
            watched: interfaces.iter().map(Watched::new).collect(),
        })
    }

    /// The next event; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<InterfaceEvent> {
        while let Some(message) = self.messages.next().await {
            let event = match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => self.removed(&link),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => self.changed(&link),
                _ => None,
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn removed(&mut self, link: &LinkMessage) -> Option<InterfaceEvent> {
        // A bridge that loses a port says so with the same message, in its own family.
        if link.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let gone = self.watched.iter().position(|watched| watched.index == link.header.index)?;
        Some(InterfaceEvent::Gone { name: self.watched.swap_remove(gone).name })
    }

    fn changed(&mut self, link: &LinkMessage) -> Option<InterfaceEvent> {
        let watched = self.watched.iter_mut().find(|watched| watched.index == link.header.index)?;
        let up = link.header.flags.contains(LinkFlags::Up);
        if up == std::mem::replace(&mut watched.up, up) {
            return None;
        }
        let name = watched.name.clone();
        Some(if up { InterfaceEvent::Up { name } } else { InterfaceEvent::Down { name } })
    }
}

impl Watched {
    fn new(interface: &Interface) -> Self {
        Self { index: interface.index, name: interface.name.clone(), up: interface.up }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use futures_util::stream;

    use super::*;

    fn link(index: u32, flags: LinkFlags, family: AddressFamily) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message.header.interface_family = family;
        message
    }

    fn events(messages: Vec<RouteNetlinkMessage>) -> InterfaceEvents {
        let messages = messages.into_iter().map(NetlinkMessage::from);
        let watched = Watched { index: 7, name: "m0".to_owned(), up: true };
        let connection = Connection(tokio::spawn(std::future::pending::<()>()).abort_handle());
        InterfaceEvents {
            messages: stream::iter(messages).boxed(),
            watched: vec![watched],
            _connection: connection,
        }
    }

    #[tokio::test]
    async fn changes_of_a_watched_interface_are_told_once() {
        use RouteNetlinkMessage::{DelLink, NewLink};
        let (up, down) = (LinkFlags::Up, LinkFlags::empty());
        let mut events = events(vec![
            NewLink(link(7, up, AddressFamily::Unspec)),
            NewLink(link(8, down, AddressFamily::Unspec)),
            DelLink(link(8, down, AddressFamily::Unspec)),
            DelLink(link(7, up, AddressFamily::Bridge)),
            NewLink(link(7, down, AddressFamily::Unspec)),
            NewLink(link(7, down, AddressFamily::Unspec)),
            NewLink(link(7, up, AddressFamily::Unspec)),
            DelLink(link(7, down, AddressFamily::Unspec)),
            NewLink(link(7, up, AddressFamily::Unspec)),
        ]);
        let name = || "m0".to_owned();
        assert_eq!(events.next().await.unwrap(), InterfaceEvent::Down { name: name() });
        assert_eq!(events.next().await.unwrap(), InterfaceEvent::Up { name: name() });
        assert_eq!(events.next().await.unwrap(), InterfaceEvent::Gone { name: name() });
        assert_eq!(events.next().await, None);
    }
}
