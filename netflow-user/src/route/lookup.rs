//! The forwarding lookup of a flow.
//!
//! In: a Flow Key. Out: the record's [`Route`]: as the kernel would have decided on the packet as it was received.

use netflow_common::FlowKey;

use super::{
    fib::{Fate, Fib, Found, Query},
    prefix::{Family, next_hop},
};
use crate::record::Route;

/// flowDirection (IANA 61).
const EGRESS: u8 = 1;

impl Fib {
    /// Where the packets of a flow go.
    pub(super) fn route(&self, key: &FlowKey) -> Route {
        let family = if key.is_ipv4() { Family::V4 } else { Family::V6 };
        let (source, destination) = (family.bits(&key.source_address), family.bits(&key.destination_address));
        let interface = self.links.entering(key.interface, key.vlan_id);
        let vrf = self.links.vrf(interface);
        let egress = key.direction == EGRESS;
        // Where a packet that goes out came in is not known.
        let came_in_by = if egress { 0 } else { interface };
        let query = Query { family, source, destination, interface: came_in_by, vrf };
        let back = Query { source: destination, destination: source, interface: 0, ..query };

        let mut route = Route::default();
        let forth = self.of_unicast(&query);
        if let Some(found) = forth {
            route.destination_prefix_length = found.prefix_length;
        }
        if let Some(found) = self.of_unicast(&back) {
            route.source_prefix_length = found.prefix_length;
        }
        let own_table = vrf.map_or(0, |vrf| vrf.table);
        let table = |index| self.links.vrf(index).map_or(0, |vrf| vrf.table);
        match forth.map(|found| found.fate) {
            // The kernel forwards nothing that is for one link alone.
            Some(Fate::Forwarded { interface: out, gateway })
                if !egress && !is_link_local(family, destination) =>
            {
                route.egress_interface = out;
                route.next_hop = next_hop(gateway, family);
                route.egress_vrf = table(out);
            }
            // The way it would take is the way it took.
            Some(Fate::Forwarded { interface: out, gateway }) if egress && out == interface => {
                route.next_hop = next_hop(gateway, family);
            }
            _ => {}
        }
        if egress {
            route.egress_interface = key.interface;
            route.egress_vrf = own_table;
        } else {
            route.ingress_vrf = own_table;
        }
        route
    }

    /// The same for a flow inside of a tunnel: it goes the way of the tunnel's packets, whose addresses are not in the
    /// key.
    pub(super) fn route_of_inner(&self, key: &FlowKey) -> Route {
        let (source_address, destination_address) = Default::default();
        self.route(&FlowKey { source_address, destination_address, ..*key })
    }

    /// Looks up what routing tables are for: not groups, broadcasts to all and no address.
    fn of_unicast(&self, query: &Query) -> Option<Found> {
        let first = (query.destination >> 120) as u8;
        let other = match query.family {
            Family::V4 => (query.destination >> 96) as u32 == u32::MAX || first & 0xf0 == 0xe0,
            Family::V6 => first == 0xff,
        };
        if other || query.destination == 0 { None } else { self.look_up(query) }
    }
}

/// fe80::/10.
fn is_link_local(family: Family, address: u128) -> bool {
    family == Family::V6 && address >> 118 == 0x3fa
}
