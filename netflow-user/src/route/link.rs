//! Interfaces as routing sees them: which VRF a packet's interface belongs to.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Link {
    pub(super) name: String,
    /// The bridge, bond or VRF that its packets go to; 0 without.
    pub(super) controller: u32,
    /// The routing table of a VRF device.
    pub(super) vrf_table: Option<u32>,
    /// The interface below a VLAN interface, and its VLAN id.
    pub(super) vlan: Option<(u32, u16)>,
    /// Up, and with a carrier: where that changes, the kernel changes routes without a word.
    pub(super) works: bool,
}

/// The VRF device of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Vrf {
    /// Its own ifIndex.
    pub(super) interface: u32,
    /// Its routing table.
    pub(super) table: u32,
}

/// Devices that stand upon one another, at most.
const STACKED: u32 = 8;

/// All interfaces by ifIndex.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    links: HashMap<u32, Link, RandomState>,
    /// By the interface below and the VLAN id.
    vlans: HashMap<(u32, u16), u32, RandomState>,
}

impl Links {
    /// Enters an interface; returns what was known of it.
    pub(super) fn set(&mut self, index: u32, link: Link) -> Option<Link> {
        let old = self.remove(index);
        if let Some(vlan) = link.vlan {
            self.vlans.insert(vlan, index);
        }
        self.links.insert(index, link);
        old
    }

    /// Forgets an interface.
    pub(super) fn remove(&mut self, index: u32) -> Option<Link> {
        let old = self.links.remove(&index)?;
        if let Some(vlan) = old.vlan.filter(|vlan| self.vlans.get(vlan) == Some(&index)) {
            self.vlans.remove(&vlan);
        }
        Some(old)
    }

    /// The ifIndex of a name.
    pub(super) fn index(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, _)| *index)
    }

    /// Where packets of an interface and VLAN enter IP: the VLAN interface, bond or bridge above it, or itself.
    pub(super) fn entering(&self, interface: u32, mut vlan_id: u16) -> u32 {
        let mut index = interface;
        for _ in 0..STACKED {
            let controller = self.links.get(&index).map_or(0, |link| link.controller);
            let is_vrf = self.links.get(&controller).is_some_and(|link| link.vrf_table.is_some());
            if controller != 0 && !is_vrf {
                index = controller;
            } else if let Some(vlan) = (vlan_id != 0).then(|| self.vlans.get(&(index, vlan_id))).flatten() {
                (index, vlan_id) = (*vlan, 0);
            } else {
                break;
            }
        }
        index
    }

    /// The VRF of an interface: the one it is in, or that it is.
    pub(super) fn vrf(&self, index: u32) -> Option<Vrf> {
        let link = self.links.get(&index)?;
        if let Some(table) = link.vrf_table {
            return Some(Vrf { interface: index, table });
        }
        let table = self.links.get(&link.controller)?.vrf_table?;
        Some(Vrf { interface: link.controller, table })
    }
}
