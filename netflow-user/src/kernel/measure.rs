//! What is measured of a packet, as the operator decided it: the same words for the kernel program, for capture
//! files and for tests.

use std::num::NonZeroU32;

use netflow_common::{FlowKey, Group, SamplingMode, Tunnel, WideKey};
use netflow_ebpf::packet::Wanted;

use super::Width;

/// What is measured of a packet, and of which packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measure {
    /// Later fragments take the ports of their first fragment.
    pub join_fragments: bool,
    /// Groups of values beyond the default, by [`netflow_common::Group::bit`].
    pub groups: u32,
    /// Tunnels that are looked into, by [`netflow_common::Tunnel::bit`].
    pub tunnels: u32,
    /// A SYN without ACK leaves a mark ([`netflow_common::INITIAL_SYN`]): flows are paired to biflows.
    pub mark_initial_syn: bool,
    /// What tells flows apart, as a mask over the key: of IPv4, of IPv6; `None` is the default key.
    pub key_masks: Option<[WideKey; 2]>,
    /// Which packets are metered.
    pub sampling: SamplingMode,
    /// One in so many of them.
    pub sampling_interval: NonZeroU32,
}

impl Measure {
    /// The default key and values of every packet, fragments by themselves.
    pub const DEFAULT: Self = Self {
        join_fragments: false,
        groups: 0,
        tunnels: 0,
        mark_initial_syn: false,
        key_masks: None,
        sampling: SamplingMode::Off,
        sampling_interval: NonZeroU32::MIN,
    };

    /// How wide entries must be for it.
    pub fn width(&self) -> Width {
        let wider = |mask: &WideKey| WideKey { flow: FlowKey::default(), ..*mask } != WideKey::default();
        let wide_key = self.key_masks.is_some_and(|masks| masks.iter().any(wider));
        if self.groups != 0 || self.tunnels != 0 || wide_key { Width::Wide } else { Width::Default }
    }

    /// What the programs are told of the key. Wide entries always have a mask: what stands in the wide part of a
    /// key beyond the tunnel tells flows apart only where it was asked for.
    pub fn masks(&self) -> Option<[[u64; 9]; 2]> {
        let default = || {
            let flow: FlowKey = bytemuck::cast([u64::MAX; 6]);
            [WideKey { flow, tunnel_id: u32::MAX, tunnel: u8::MAX, ..WideKey::default() }; 2]
        };
        let masks = match (self.key_masks, self.width()) {
            (None, Width::Default) => return None,
            (given, _) => given.unwrap_or_else(default),
        };
        Some(masks.map(bytemuck::cast))
    }
}

impl Wanted for Measure {
    fn group(&self, group: Group) -> bool {
        self.groups & group.bit() != 0
    }

    fn tunnel(&self, tunnel: Tunnel) -> bool {
        self.tunnels & tunnel.bit() != 0
    }
}
