//! Whether the host itself lives on an interface, which tap mode would cut off.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::{
    AddressFamily,
    address::AddressAttribute,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};

use super::{Interface, InterfaceError, Interfaces, output};

impl Interfaces {
    /// Refuses an interface on which the host itself lives: one with an address or a route, or one whose
    /// packets go on to another device of the host.
    ///
    /// # Errors
    /// It is in use, or netlink failed.
    pub async fn refuse_in_use(&self, interface: &Interface) -> Result<(), InterfaceError> {
        match self.use_of(interface).await? {
            Some(what) => Err(InterfaceError::TapInUse { name: interface.name.clone(), what }),
            None => Ok(()),
        }
    }

    async fn use_of(&self, interface: &Interface) -> Result<Option<String>, InterfaceError> {
        if let Some(address) = self.addresses(interface).await?.into_iter().min() {
            return Ok(Some(format!("the address {address}")));
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let routes = self.routes(family).await?;
            if routes.iter().any(|route| output(route) == Some(interface.index) && is_of_the_host(route)) {
                return Ok(Some("a route".to_owned()));
            }
        }
        let all = self.all().await?;
        if let Some(upper) = all.iter().find(|other| other.lower == Some(interface.index)) {
            return Ok(Some(format!("{} on top of it", upper.name)));
        }
        let controller = all.iter().find(|other| Some(other.index) == interface.controller);
        Ok(controller.map(|controller| format!("a place in {}", controller.name)))
    }

    /// Its addresses, but those that come by themselves.
    async fn addresses(&self, interface: &Interface) -> Result<Vec<IpAddr>, InterfaceError> {
        let request = self.handle.address().get().set_link_index_filter(interface.index);
        let messages: Vec<_> = request
            .execute()
            .try_collect()
            .await
            .map_err(|source| InterfaceError::Request { what: "addresses", source: Box::new(source) })?;
        // Of a point-to-point device `Address` is the other end's: `Local`, where there is one, is its own.
        let addresses = messages.iter().filter_map(|message| {
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            local.or_else(|| {
                message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                })
            })
        });
        Ok(addresses.filter(|address| !is_link_local(*address)).collect())
    }
}

fn is_of_the_host(route: &RouteMessage) -> bool {
    let link_local = route.attributes.iter().any(|attribute| {
        matches!(attribute, RouteAttribute::Destination(RouteAddress::Inet6(address))
            if address.is_unicast_link_local())
    });
    route.header.kind == RouteType::Unicast && !link_local
}

/// A link-local IPv6 address comes by itself; it is no sign that the host lives there.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
