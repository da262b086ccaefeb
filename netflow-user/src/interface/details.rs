//! What the doctor asks of an interface beyond what metering needs.

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{LinkAttribute, LinkInfo};

use super::{Interface, InterfaceError, Interfaces};

/// An interface, looked at closely.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceDetails {
    /// What is known of it for metering.
    pub interface: Interface,
    /// What kind of virtual device it is (veth, vxlan ...); none of a physical one.
    pub kind: Option<String>,
    /// How many have asked for frames that are addressed to others.
    pub promiscuous: u32,
    /// Receive queues.
    pub receive_queues: u32,
    /// Transmit queues.
    pub transmit_queues: u32,
    /// Ids of the XDP programs on it.
    pub programs: Vec<u32>,
}

impl Interfaces {
    /// Asks for one; `None` where there is none of this index.
    ///
    /// # Errors
    /// Netlink failed.
    pub async fn details(&self, index: u32) -> Result<Option<InterfaceDetails>, InterfaceError> {
        let request = self.handle.link().get().match_index(index);
        let message = match request.execute().try_next().await {
            Ok(message) => message,
            // It is gone.
            Err(rtnetlink::Error::NetlinkError(_)) => None,
            Err(source) => {
                return Err(InterfaceError::Request { what: "links", source: Box::new(source) });
            }
        };
        let Some(message) = message else { return Ok(None) };
        let Some(interface) = Interface::new(&message) else { return Ok(None) };
        let programs = interface.programs.clone();
        let mut details = InterfaceDetails {
            interface,
            kind: None,
            promiscuous: 0,
            receive_queues: 1,
            transmit_queues: 1,
            programs,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Promiscuity(times) => details.promiscuous = *times,
                LinkAttribute::NumRxQueues(number) => details.receive_queues = *number,
                LinkAttribute::NumTxQueues(number) => details.transmit_queues = *number,
                LinkAttribute::LinkInfo(infos) => {
                    details.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        Ok(Some(details))
    }
}
