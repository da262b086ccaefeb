//! MAP: the maps, and how one packet is entered into them.
//!
//! In: a parsed packet or a refusal. Out: exactly one more packet in a flow entry or in a slot of
//! `kernel_stats`. This module refuses to know what a packet means.
//!
//! Every CPU writes to maps of its own, in softirq context, so plain additions are exact. The
//! generation is read once per packet: entry and totals of a packet stand in the same generation.
//!
//! Unsafe: map values are reached through the raw pointers that the helpers return.
#![allow(unsafe_code, reason = "map values are only reachable through raw pointers")]

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{Array, ArrayOfMaps, PerCpuArray, RingBuf},
    helpers::generated::{bpf_get_smp_processor_id, bpf_jiffies64, bpf_ktime_get_ns},
    macros::btf_map,
};
use netflow_common::{
    ClockReading, FlowCounters, FlowKey, INITIAL_SYN, IpVersion, KernelStats, Loss, Note, Refusal, Scratch,
    Settings, Skip, Watermark, names::GENERATIONS,
};
use netflow_ebpf::packet::{self, Notes, Packet};

use crate::{
    flow_map::FlowMap,
    flow_table::{self, Place},
};

/// Sizes below marked 1 are set by the agent at load.
const SET_AT_LOAD: usize = 1;

/// The flow maps: index `generation * cpus + cpu`, one writer each. What the flow table in front of them has no slot
/// for comes here.
#[btf_map]
static FLOWS: ArrayOfMaps<FlowMap<FlowKey, FlowCounters>, SET_AT_LOAD> = ArrayOfMaps::new();

/// Totals per CPU and generation.
#[btf_map]
static STATS: PerCpuArray<KernelStats, { GENERATIONS as usize }> = PerCpuArray::new();

/// The generation that packets go to.
#[btf_map]
static GENERATION: Array<u32, 1> = Array::new();

/// Both clocks, for the agent.
#[btf_map]
static CLOCK: Array<ClockReading, 1> = Array::new();

/// CPUs that are running out of room. One page: an event that finds it full is not needed.
#[btf_map]
static WATERMARK: RingBuf<u32, 4096> = RingBuf::new();

/// Working memory of the readers. (Nothing of it outlives a packet.)
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// Read-only, overridden by the agent before the load.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings {
    cpus: 1,
    watermark: u32::MAX,
    precise_clock: 0,
    tap: 0,
    join_fragments: 0,
    sampling: 0,
    masked: 0,
    own_export: 0,
    mark_initial_syn: 0,
    own_connections: 0,
    groups: 0,
    tunnels: 0,
    table_buckets: [0; 2],
    table_watermark: [u32::MAX; 2],
    table_seeds: [0; 18],
    seed: 0,
    key_masks: [[u64::MAX; 9]; 2],
};

macro_rules! setting {
    ($field:ident $([$place:expr])?) => {
        // SAFETY: a read of an initialised static; volatile, since the loader writes other values
        // into the object than the compiler sees. Places are constants once loops are unrolled.
        unsafe { core::ptr::read_volatile(&raw const crate::map::SETTINGS.$field $([$place])?) }
    };
}
pub(crate) use setting;

macro_rules! setting_word {
    ($version:expr, $place:expr) => {
        // SAFETY: as for `setting`; the place is below nine, where the loop over the key's words ends.
        unsafe {
            core::ptr::read_volatile(
                (&raw const crate::map::SETTINGS.key_masks[$version]).cast::<u64>().add($place),
            )
        }
    };
}
pub(crate) use setting_word;

/// The books of one CPU in the generation that this packet belongs to.
pub(crate) struct Books {
    generation: u32,
    stats: *mut KernelStats,
    /// What the packet weighs: 1, or as many as it stands for on the wire.
    weight: u64,
}

impl Books {
    /// Opens the books for one packet and counts it as seen.
    #[inline(always)]
    pub(crate) fn open() -> Option<Self> {
        // The agent writes this word at a flip; one read decides for the whole packet.
        // SAFETY: the pointer is that of the array's only value, checked for null by get_ptr.
        let generation = unsafe { core::ptr::read_volatile(GENERATION.get_ptr(0)?) };
        let stats = STATS.get_ptr_mut(generation)?;
        let books = Self { generation, stats, weight: 1 };
        books.stats().seen_packets += 1;
        Some(books)
    }

    #[expect(clippy::mut_from_ref, reason = "one writer: this CPU, in softirq context, for one packet")]
    #[inline(always)]
    fn stats(&self) -> &mut KernelStats {
        // SAFETY: this CPU's value in a preallocated array; it stays while the program runs.
        unsafe { &mut *self.stats }
    }

    /// The generation that the packet belongs to.
    #[inline(always)]
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The packet stands for this many on the wire (at least one), and is counted as them from here on.
    #[inline(always)]
    pub(crate) fn weigh(&mut self, segments: u32) {
        self.stats().seen_packets += u64::from(segments) - self.weight;
        self.weight = u64::from(segments);
    }

    /// What the packet weighs.
    #[inline(always)]
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Counts a packet that is not a flow packet.
    #[inline(always)]
    pub(crate) fn refuse(&self, refusal: Refusal, frame_octets: usize) {
        let stats = self.stats();
        if refusal.is_not_ip() {
            stats.not_ip_frame_octets += frame_octets as u64;
        }
        if let Some(slot) = stats.refused.get_mut(refusal as usize) {
            *slot += self.weight;
        }
    }

    /// Counts a flow packet that is not to be metered, as the operator asked for it.
    #[inline(always)]
    pub(crate) fn skip(&self, skip: Skip, packet: &Packet) {
        self.stats().skip(skip, self.weight, packet.octets.into());
    }

    /// Enters a flow packet into its flow, or counts it as lost.
    #[inline(always)]
    pub(crate) fn account(&self, packet: &Packet, frame_octets: usize) {
        self.enter_seen(packet, frame_octets);
        let now = now();
        let Some((index, cpu)) = flow_map(self) else { return self.lose(Loss::CpuWithoutMap, packet) };
        if setting!(table_buckets[Settings::IPV4_SLOTS]) != 0 {
            // A key from which a mask has taken the version is no IPv4 key: it is kept whole.
            let slot = if packet.key.is_ipv4() {
                flow_table::ipv4(self, index, cpu, &packet.key)
            } else {
                flow_table::flow(self, index, cpu, &packet.key)
            };
            match slot {
                Some(Place::Counters(counters)) => return add(counters, packet, self.weight, now),
                Some(Place::New(counters)) => {
                    *counters = packet.counters(self.weight, now);
                    mark_initial_syn(counters, packet);
                    return;
                }
                None => {}
            }
        }
        let Some(flows) = FLOWS.get(index) else { return self.lose(Loss::CpuWithoutMap, packet) };
        // A copy: of a key whose address nobody asks for the compiler keeps the words in registers.
        let key = packet.key;
        if let Some(counters) = flows.get_ptr_mut(&key) {
            // SAFETY: an entry of this CPU's own map: no other writer, and nobody deletes from the
            // generation that packets go to.
            add(unsafe { &mut *counters }, packet, self.weight, now);
            return;
        }
        let mut counters = packet.counters(self.weight, now);
        mark_initial_syn(&mut counters, packet);
        if flows.insert(&key, &counters, u64::from(BPF_NOEXIST)).is_err() {
            return self.lose(Loss::MapFull, packet);
        }
        self.inserted(cpu);
    }

    /// What is counted of every packet that is to be metered.
    #[inline(always)]
    pub(crate) fn enter_seen(&self, packet: &Packet, frame_octets: usize) {
        let stats = self.stats();
        stats.seen_octets += u64::from(packet.octets);
        let notes = packet.notes.and(Notes::when(packet.end() > frame_octets, Note::ShortFrame));
        if !notes.is_empty() {
            // By iterator: an index would leave a bounds check, and with it a call to the panic handler.
            for (slot, note) in stats.noted.iter_mut().zip(Note::ALL) {
                *slot += u64::from(notes.has(note)) * self.weight;
            }
        }
    }

    /// Counts a new entry of this CPU; wakes the agent at the watermark.
    #[inline(always)]
    pub(crate) fn inserted(&self, cpu: u32) {
        let stats = self.stats();
        stats.inserted += 1;
        if stats.inserted == u64::from(setting!(watermark)) {
            // Full or not, one event is enough to wake the agent.
            let _ = WATERMARK.output(&Watermark::map(cpu), 0);
        }
    }

    /// Counts a slot of the flow table that this CPU has taken; wakes the agent at the watermark.
    #[inline(always)]
    pub(crate) fn took_slot(&self, kind: usize, cpu: u32) {
        if let Some(slots) = self.stats().slots.get_mut(kind) {
            *slots += 1;
            if *slots == u64::from(setting!(table_watermark[kind])) {
                let _ = WATERMARK.output(&Watermark::table(cpu), 0);
            }
        }
    }

    /// Counts a flow packet that found no place.
    #[inline(always)]
    pub(crate) fn lose(&self, loss: Loss, packet: &Packet) {
        let stats = self.stats();
        let (packets, octets) =
            (stats.lost_packets.get_mut(loss as usize), stats.lost_octets.get_mut(loss as usize));
        if let (Some(packets), Some(octets)) = (packets, octets) {
            *packets += self.weight;
            *octets += u64::from(packet.octets);
        }
    }
}

/// The same key. The compiler forgets that its version tells where it was read: else it leaves words of the one undefined
/// on the way of the other, and the verifier refuses to carry them along.
#[inline(always)]
pub(crate) fn with_version_unknown(key: &FlowKey) -> FlowKey {
    let [a, b, c, d, e, f]: [u64; 6] = bytemuck::cast(*key);
    // SAFETY: a local word.
    let f = unsafe { core::ptr::read_volatile(&raw const f) };
    bytemuck::cast([a, b, c, d, e, f])
}

/// The time of a packet, in ticks of the clock that was chosen.
#[inline(always)]
pub(crate) fn now() -> u64 {
    let precise = setting!(precise_clock) != 0;
    // SAFETY: helpers without arguments.
    unsafe { if precise { bpf_ktime_get_ns() } else { bpf_jiffies64() } }
}

/// The place of this CPU's flow map in the packet's generation, and the CPU; `None` where it has none.
#[inline(always)]
pub(crate) fn flow_map(books: &Books) -> Option<(u32, u32)> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    let cpus = setting!(cpus);
    // A CPU beyond the maps must not reach into the other generation.
    (cpu < cpus).then(|| (books.generation * cpus + cpu, cpu))
}

/// Adds a packet to its flow's entry.
#[inline(always)]
pub(crate) fn add(counters: &mut FlowCounters, packet: &Packet, weight: u64, now: u64) {
    counters.packets += weight;
    counters.octets += u64::from(packet.octets);
    counters.last = now;
    counters.tcp_control_bits |= packet.tcp_control_bits;
    mark_initial_syn(counters, packet);
    if packet.ttl < counters.minimum_ttl {
        counters.minimum_ttl = packet.ttl;
    }
    if packet.ttl > counters.maximum_ttl {
        counters.maximum_ttl = packet.ttl;
    }
}

/// Leaves a mark where flows are paired and the packet is a SYN without ACK. (Where its entry is written, and no
/// earlier: before it is clear that there is a packet, the compiler would compute with bits that are not there.)
#[inline(always)]
pub(crate) fn mark_initial_syn(counters: &mut FlowCounters, packet: &Packet) {
    if setting!(mark_initial_syn) != 0 && packet.is_initial_syn() {
        counters.tcp_control_bits |= INITIAL_SYN;
    }
}

/// Leaves of the default key what tells flows apart.
#[inline(always)]
pub(crate) fn mask(key: &mut FlowKey) {
    let is_v4 = key.ip_version == IpVersion::V4;
    let words: &mut [u64; 6] = bytemuck::cast_mut(key);
    if is_v4 {
        packet::mask(words, |place| setting_word!(Settings::IPV4, place));
    } else {
        packet::mask(words, |place| setting_word!(Settings::IPV6, place));
    }
}

/// This CPU's working memory.
#[inline(always)]
pub(crate) fn scratch() -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(0)
}

/// Leaves both clocks where the agent finds them.
#[inline(always)]
pub(crate) fn read_clocks() {
    if let Some(reading) = CLOCK.get_ptr_mut(0) {
        // SAFETY: the array's only value, checked for null; the agent test-runs this program alone.
        unsafe {
            (*reading).monotonic_nanos = bpf_ktime_get_ns();
            (*reading).jiffies = bpf_jiffies64();
        }
    }
}
