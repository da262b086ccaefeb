//! Slots of the flow table: a key and its counters side by side, in whole cache lines.
//!
//! The table stands in front of the BPF hash maps. A slot's key is kept in words with a mark in them: an empty slot is
//! zero, a used one never is. What the slots of a table may be is a power of two, [`WAYS`] of them side by side are a
//! bucket, and a flow is looked for in the bucket that its hash says and nowhere else.

use bytemuck::{Pod, Zeroable};

use crate::{Address, FlowCounters, FlowKey, WideCounters, WideKey};

/// Slots of a bucket.
pub const WAYS: usize = 4;

/// In the word that holds [`FlowKey::reserved`]: the slot is used.
const USED: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]);

/// A slot of a flow table.
pub trait Slot: Pod {
    /// What is asked for.
    type Key: Pod;
    /// What stands beside it.
    type Counters: Pod;
    /// The key as it stands in the slot.
    type Words: Copy + AsRef<[u64]>;

    /// The words of a key in a used slot.
    fn words(key: &Self::Key) -> Self::Words;
    /// Whether nothing is in the slot.
    fn is_empty(&self) -> bool;
    /// Whether this key is in the slot.
    fn holds(&self, words: &Self::Words) -> bool;
    /// Puts a key into an empty slot; its counters are the caller's to write.
    fn claim(&mut self, words: &Self::Words);
    /// The key that is in the slot.
    fn key(&self) -> Self::Key;
    /// What was counted.
    fn counters(&self) -> &Self::Counters;
    /// What was counted, to go on.
    fn counters_mut(&mut self) -> &mut Self::Counters;
}

/// IPv4 with the default values, 64 octets: one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Ipv4Slot {
    /// Source and destination address, then the last two words of [`FlowKey`].
    words: [u64; 3],
    counters: FlowCounters,
}

/// Any [`FlowKey`] with the default values, 128 octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FlowSlot {
    words: [u64; 6],
    counters: FlowCounters,
    reserved: [u64; 5],
}

/// A wide entry, 256 octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct WideSlot {
    words: [u64; 9],
    counters: WideCounters,
    reserved: [u64; 3],
}

macro_rules! slot {
    ($slot:ty, $key:ty, $counters:ty, $count:literal: $($word:literal)*, used in $used:literal) => {
        impl Slot for $slot {
            type Key = $key;
            type Counters = $counters;
            type Words = [u64; $count];

            #[inline(always)]
            fn words(key: &$key) -> [u64; $count] {
                let mut words = Self::pack(key);
                words[$used] |= USED;
                words
            }

            #[inline(always)]
            fn is_empty(&self) -> bool {
                self.words[$used] == 0
            }

            // Word by word: compared as arrays, they are compared octet by octet.
            #[inline(always)]
            fn holds(&self, words: &[u64; $count]) -> bool {
                $(self.words[$word] == words[$word])&&*
            }

            #[inline(always)]
            fn claim(&mut self, words: &[u64; $count]) {
                $(self.words[$word] = words[$word];)*
            }

            fn key(&self) -> $key {
                let mut words = self.words;
                words[$used] &= !USED;
                Self::unpack(words)
            }

            #[inline(always)]
            fn counters(&self) -> &$counters {
                &self.counters
            }

            #[inline(always)]
            fn counters_mut(&mut self) -> &mut $counters {
                &mut self.counters
            }
        }
    };
}
slot!(Ipv4Slot, FlowKey, FlowCounters, 3: 0 1 2, used in 2);
slot!(FlowSlot, FlowKey, FlowCounters, 6: 0 1 2 3 4 5, used in 5);
slot!(WideSlot, WideKey, WideCounters, 9: 0 1 2 3 4 5 6 7 8, used in 5);

impl Ipv4Slot {
    #[inline(always)]
    fn pack(key: &FlowKey) -> [u64; 3] {
        let [.., ports, protocol]: [u64; 6] = bytemuck::cast(*key);
        let [source, destination] =
            [key.source_address, key.destination_address].map(|address| address.ipv4_word());
        [u64::from(source) | u64::from(destination) << 32, ports, protocol]
    }

    fn unpack([addresses, ports, protocol]: [u64; 3]) -> FlowKey {
        let mut key: FlowKey = bytemuck::cast([0, 0, 0, 0, ports, protocol]);
        key.source_address = Address::from_ipv4((addresses as u32).to_ne_bytes());
        key.destination_address = Address::from_ipv4(((addresses >> 32) as u32).to_ne_bytes());
        key
    }
}

impl FlowSlot {
    #[inline(always)]
    fn pack(key: &FlowKey) -> [u64; 6] {
        bytemuck::cast(*key)
    }

    fn unpack(words: [u64; 6]) -> FlowKey {
        bytemuck::cast(words)
    }
}

impl WideSlot {
    #[inline(always)]
    fn pack(key: &WideKey) -> [u64; 9] {
        bytemuck::cast(*key)
    }

    fn unpack(words: [u64; 9]) -> WideKey {
        bytemuck::cast(words)
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    #[test]
    fn a_key_comes_out_of_a_slot_as_it_went_in() {
        let ends = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 255]));
        let key = FlowKey {
            interface: 7,
            vlan_id: 4095,
            class_of_service: 0xb8,
            direction: 1,
            ..FlowKey::of_session(FlowKey::UDP, (ends.0, 65_535), (ends.1, 1))
        };
        let mut narrow = Ipv4Slot::default();
        assert!(narrow.is_empty());
        narrow.claim(&Ipv4Slot::words(&key));
        assert!(!narrow.is_empty() && narrow.holds(&Ipv4Slot::words(&key)));
        assert_eq!(narrow.key(), key);
        let mut slot = FlowSlot::default();
        slot.claim(&FlowSlot::words(&key));
        assert_eq!(slot.key(), key);
        let wide = WideKey { flow: key, tunnel_id: 9, customer_vlan_id: 3, ..WideKey::default() };
        let mut slot = WideSlot::default();
        slot.claim(&WideSlot::words(&wide));
        assert_eq!(slot.key(), wide);
    }

    #[test]
    fn a_key_of_which_nothing_tells_flows_apart_fills_a_slot_too() {
        let mut slot = FlowSlot::default();
        assert!(!slot.holds(&FlowSlot::words(&FlowKey::default())));
        slot.claim(&FlowSlot::words(&FlowKey::default()));
        assert!(!slot.is_empty());
        assert_eq!(slot.key(), FlowKey::default());
    }
}
