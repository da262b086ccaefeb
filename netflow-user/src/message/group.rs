//! Groups: further fields that are switched on by name.
//!
//! In: names. Out: sets of groups. This module refuses to know which fields a group has.

/// A group of fields beyond those of every record (conformance: templates, optional field groups).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Group {
    /// The frame: its octets, MAC addresses, EtherType, VLAN tags.
    L2,
    /// Fragment identification, offset and flags of the first packet.
    Frag,
    /// Packets that were fragments.
    Fragments,
    /// Shortest and longest IP packet.
    Size,
    /// TCP: retransmitted and out-of-order packets, round-trip time of the handshake.
    Tcp,
    /// ipClassOfService of the first packet, also where it is not in the Flow Key, and the OR over the packets.
    Tos,
    /// DSCP of the first packet.
    Dscp,
    /// TTL of the first packet.
    Ttl,
    /// Options and extension headers seen.
    Opts,
    /// Observation Point.
    Obspoint,
    /// VRFs.
    Vrf,
    /// MPLS label stack of the first packet.
    Mpls,
    /// SPI of ESP and AH.
    Spi,
    /// IGMP type of the first packet.
    Igmp,
    /// Tunnel id, where the registry has an element for it.
    Tunnel,
    /// Kind and id of any tunnel.
    Encapsulation,
    /// Prefix lengths of the routes.
    Route,
}

impl Group {
    /// All of them, in the order of their fields.
    pub const ALL: [Self; 17] = [
        Self::L2,
        Self::Frag,
        Self::Fragments,
        Self::Size,
        Self::Tcp,
        Self::Tos,
        Self::Dscp,
        Self::Ttl,
        Self::Opts,
        Self::Obspoint,
        Self::Vrf,
        Self::Mpls,
        Self::Spi,
        Self::Igmp,
        Self::Tunnel,
        Self::Encapsulation,
        Self::Route,
    ];

    /// What the operator calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Frag => "frag",
            Self::Fragments => "fragments",
            Self::Size => "size",
            Self::Mpls => "mpls",
            Self::Opts => "opts",
            Self::Spi => "spi",
            Self::Igmp => "igmp",
            Self::Tos => "tos",
            Self::Dscp => "dscp",
            Self::Ttl => "ttl",
            Self::Tunnel => "tunnel",
            Self::Encapsulation => "encapsulation",
            Self::Route => "route",
            Self::Vrf => "vrf",
            Self::Tcp => "tcp",
            Self::Obspoint => "obspoint",
        }
    }

    /// Whether its values are those of wide entries: the kernel program has to measure them.
    pub const fn is_measured(self) -> bool {
        !matches!(self, Self::Obspoint | Self::Vrf | Self::Route)
    }

    /// The group of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// A set of groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Groups(u32);

impl Groups {
    /// Whether the group is one of them.
    pub const fn contains(self, group: Group) -> bool {
        self.0 & 1 << group as u8 != 0
    }

    /// Those of them that are.
    pub fn iter(self) -> impl Iterator<Item = Group> {
        Group::ALL.into_iter().filter(move |&group| self.contains(group))
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Group> for Groups {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        Self(groups.into_iter().fold(0, |set, group| set | 1 << group as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_groups_that_were_put_in() {
        let groups: Groups = [Group::Size, Group::Obspoint].into_iter().collect();
        let named: Vec<&str> =
            Group::ALL.into_iter().filter(|&g| groups.contains(g)).map(Group::name).collect();
        assert_eq!(named, ["size", "obspoint"]);
        assert!(Groups::default().is_empty() && !groups.is_empty());
    }

    #[test]
    fn groups_are_found_by_their_names() {
        for group in Group::ALL {
            assert_eq!(Group::by_name(group.name()), Some(group));
        }
        assert_eq!(Group::by_name("L2"), None);
    }
}
