//! The flow table: slots in arrays that are mapped into the agent, in front of the flow maps.

use std::os::fd::AsFd as _;

use netflow_common::{FlowSlot, Ipv4Slot, Settings, Slot, WAYS, WideSlot, names};

use super::{Generation, Kernel, KernelError, Width, handed_over::Descriptors, mapping::Mapping};

/// Slots of IPv4 that a table has at least: of the others there are half as many, and a word of bits.
pub(super) const SMALLEST_TABLE: u32 = 2 * u64::BITS;
/// Octets of a slot of IPv4, with half a slot of the others, and their bits.
const OCTETS_PER_SLOT: u64 = 64 + 128 / 2;
/// The agent is told when so much of a table is taken: a bucket of four is full before the table is, and packets of
/// flows that find no slot cost more.
const WATERMARK: [u32; 2] = [3, 4];

/// How large the tables of one CPU and generation are: slots of IPv4, and of the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct TableSizes {
    slots: [u32; 2],
}

impl TableSizes {
    /// The table with so many slots of IPv4, rounded up to a power of two; 0 is none.
    pub fn new(slots: u32) -> Self {
        match slots {
            0 => Self::default(),
            _ => {
                let slots = slots.clamp(SMALLEST_TABLE, 1 << 30).next_power_of_two();
                Self { slots: [slots, slots / 2] }
            }
        }
    }

    /// The half of it; none where it would be too small.
    pub fn half(self) -> Self {
        let [ipv4, _] = self.slots;
        if ipv4 < 2 * SMALLEST_TABLE { Self::default() } else { Self::new(ipv4 / 2) }
    }

    /// Slots of IPv4.
    pub fn slots(self) -> u32 {
        self.slots[Settings::IPV4_SLOTS]
    }

    /// Octets of one CPU and generation.
    pub fn octets(self) -> u64 {
        u64::from(self.slots()) * OCTETS_PER_SLOT + u64::from(self.slots() + self.slots() / 2) / 8
    }

    /// As the program is told.
    pub fn buckets(self) -> [u32; 2] {
        self.slots.map(|slots| slots / WAYS as u32)
    }

    /// As the program is told.
    pub fn watermark(self) -> [u32; 2] {
        let [part, whole] = WATERMARK;
        self.slots.map(|slots| slots / whole * part)
    }

    /// Entries that the arrays have for so many CPUs, by name. What is not used for this width has one.
    pub fn entries(self, width: Width, cpus: u32) -> [(&'static str, u32); 5] {
        let parts = cpus * names::GENERATIONS;
        let of = |used: bool, number: u32| if used { parts.saturating_mul(number).max(1) } else { 1 };
        let [ipv4, other] = self.buckets();
        let words = self.slots.map(|slots| slots / u64::BITS);
        let wide = width == Width::Wide;
        [
            (names::MAP_IPV4_SLOTS, of(!wide, ipv4)),
            (names::MAP_FLOW_SLOTS, of(!wide, other)),
            (names::MAP_WIDE_SLOTS, of(wide, other)),
            (names::MAP_IPV4_USED, of(!wide, words[0])),
            (names::MAP_OTHER_USED, of(true, words[1])),
        ]
    }
}

/// A kind of slot: where it lies.
pub trait TableSlot: Slot {
    /// Its place in [`netflow_common::KernelStats::slots`].
    const KIND: usize;
    /// The width of the entries.
    const WIDTH: Width;
}

impl TableSlot for Ipv4Slot {
    const KIND: usize = Settings::IPV4_SLOTS;
    const WIDTH: Width = Width::Default;
}

impl TableSlot for FlowSlot {
    const KIND: usize = Settings::OTHER_SLOTS;
    const WIDTH: Width = Width::Default;
}

impl TableSlot for WideSlot {
    const KIND: usize = Settings::OTHER_SLOTS;
    const WIDTH: Width = Width::Wide;
}

/// The mapped arrays.
pub(super) struct FlowTable {
    sizes: TableSizes,
    /// By [`TableSlot::KIND`]: slots, and the bits of those that are used.
    mapped: [Option<[Mapping; 2]>; 2],
}

/// The arrays that a table of this width is in, with the octets of a slot: by [`TableSlot::KIND`], slots and the bits of
/// those that are used.
const fn arrays(width: Width) -> [Option<(&'static str, usize, &'static str)>; 2] {
    match width {
        Width::Default => [
            Some((names::MAP_IPV4_SLOTS, size_of::<Ipv4Slot>(), names::MAP_IPV4_USED)),
            Some((names::MAP_FLOW_SLOTS, size_of::<FlowSlot>(), names::MAP_OTHER_USED)),
        ],
        Width::Wide => [None, Some((names::MAP_WIDE_SLOTS, size_of::<WideSlot>(), names::MAP_OTHER_USED))],
    }
}

impl FlowTable {
    /// The arrays that there are for such a table, in the order in which they are mapped.
    pub fn names(sizes: TableSizes, width: Width) -> impl Iterator<Item = &'static str> {
        let arrays = arrays(width).into_iter().flatten().filter(move |_| sizes.slots() > 0);
        arrays.flat_map(|(slots, _, used)| [slots, used])
    }

    /// Maps the arrays that the loader made.
    pub fn map(
        descriptors: &mut Descriptors,
        sizes: TableSizes,
        width: Width,
        cpus: u32,
    ) -> Result<Self, KernelError> {
        let mut mapped = [None, None];
        for (kind, arrays) in arrays(width).into_iter().enumerate() {
            let slots = (cpus * names::GENERATIONS) as usize * sizes.slots[kind] as usize;
            let Some((slots_name, octets, used_name)) = arrays.filter(|_| slots > 0) else { continue };
            let slots_map = mapping(descriptors, slots_name, slots * octets)?;
            mapped[kind] = Some([slots_map, mapping(descriptors, used_name, slots / 8)?]);
        }
        Ok(Self { sizes, mapped })
    }

    fn frozen<S: TableSlot>(&mut self, index: usize) -> Option<FrozenSlots<'_, S>> {
        let slots = self.sizes.slots[S::KIND] as usize;
        let [slots_map, used_map] = self.mapped[S::KIND].as_mut()?;
        let words = slots / u64::BITS as usize;
        Some(FrozenSlots {
            slots: slots_map.part(index * slots, slots),
            used: used_map.part(index * words, words),
        })
    }
}

fn mapping(descriptors: &mut Descriptors, name: &'static str, octets: usize) -> Result<Mapping, KernelError> {
    let map = descriptors.next(name)?;
    Mapping::new(map.as_fd(), octets).map_err(|source| KernelError::Mapping { name, source })
}

/// The slots of one CPU in a frozen generation.
pub struct FrozenSlots<'a, S> {
    slots: &'a mut [S],
    used: &'a mut [u64],
}

impl<S: TableSlot> FrozenSlots<'_, S> {
    /// Empties all used slots; hands over what was in them, in the order of their places.
    pub fn take(self, mut each: impl FnMut(S::Key, S::Counters)) {
        for (word, slots) in self.used.iter_mut().zip(self.slots.chunks_exact_mut(u64::BITS as usize)) {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                if let Some(slot) = slots.get_mut(bits.trailing_zeros() as usize) {
                    each(slot.key(), *slot.counters());
                    *slot = S::zeroed();
                }
                bits &= bits - 1;
            }
        }
    }
}

impl Kernel {
    /// A CPU's slots of this kind in a frozen generation; `None` where there is no such table.
    pub fn slots<S: TableSlot>(&mut self, generation: Generation, cpu: u32) -> Option<FrozenSlots<'_, S>> {
        if self.width() != S::WIDTH || cpu >= self.loaded.cpus {
            return None;
        }
        self.table.frozen((generation.0 * self.loaded.cpus + cpu) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_power_of_two_of_slots_and_whole_words_of_bits() {
        assert_eq!(TableSizes::new(0), TableSizes::default());
        assert_eq!(TableSizes::new(1).slots, [128, 64]);
        assert_eq!(TableSizes::new(200_000).slots, [262_144, 131_072]);
        assert_eq!(TableSizes::new(262_144).half().slots, [131_072, 65_536]);
        assert_eq!(TableSizes::new(128).half(), TableSizes::default());
        // 16 MiB for each kind of slot, and a bit for each.
        assert_eq!(TableSizes::new(262_144).octets(), (32 << 20) + 262_144 / 8 + 131_072 / 8);
    }
}
