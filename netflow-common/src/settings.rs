//! What the agent tells the kernel program at load, and the clock reading that comes back.

use bytemuck::{Pod, Zeroable};

/// Read-only globals of the kernel program, 336 octets. They are frozen before the load, so the
/// verifier knows their values and removes the branches of features that are off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Settings {
    /// Maps in a generation: one above the highest CPU number that may run the program.
    pub cpus: u32,
    /// Entries of one map at which the agent is told to flip early.
    pub watermark: u32,
    /// 1: times are `bpf_ktime_get_ns` (nanoseconds); 0: `bpf_jiffies64` (ticks).
    pub precise_clock: u8,
    /// 1: drop every packet after counting it (tap mode); 0: pass it on.
    pub tap: u8,
    /// 1: later fragments take the ports of their first fragment.
    pub join_fragments: u8,
    /// Which packets are metered, by [`SamplingMode`].
    pub sampling: u8,
    /// 1: keys are masked by `key_masks`.
    pub masked: u8,
    /// 1: messages of the exporter itself are left out where they are sent; 2: also where TC sees them received.
    pub own_export: u8,
    /// 1: a SYN without ACK leaves [`crate::INITIAL_SYN`] beside the control bits of its flow.
    pub mark_initial_syn: u8,
    /// 1: of TCP and SCTP too, not of UDP alone.
    pub own_connections: u8,
    /// Groups of measured values, by [`crate::Group::bit`]: wide entries only.
    pub groups: u32,
    /// Tunnels that are looked into, by [`crate::Tunnel::bit`]: wide entries only.
    pub tunnels: u32,
    /// Buckets of one CPU and generation in the flow table, a power of two: of slots of IPv4, and of the others. 0: there
    /// is none.
    pub table_buckets: [u32; 2],
    /// Taken slots of them at which the agent is told to flip early.
    pub table_watermark: [u32; 2],
    /// Seeds of the flow table's hash, two for each word of a key.
    pub table_seeds: [u64; 18],
    /// Seed of the hash by which flows are sampled.
    pub seed: u64,
    /// What of the key's words (nine of [`crate::WideKey`], the first six of them those of [`crate::FlowKey`])
    /// tells flows apart: of IPv4, of IPv6.
    pub key_masks: [[u64; 9]; 2],
}

impl Settings {
    /// Place of IPv4 in `key_masks`.
    pub const IPV4: usize = 0;
    /// Place of IPv6 in `key_masks`.
    pub const IPV6: usize = 1;
    /// Place of [`crate::Ipv4Slot`] in `table_buckets`, `table_watermark` and [`crate::KernelStats::slots`].
    pub const IPV4_SLOTS: usize = 0;
    /// Place of [`crate::FlowSlot`] and [`crate::WideSlot`] there.
    pub const OTHER_SLOTS: usize = 1;
}

/// Values of [`Settings::sampling`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[repr(u8)]
pub enum SamplingMode {
    /// Every packet is metered.
    #[default]
    Off = 0,
    /// Every N-th packet of a CPU (RFC 5475 section 5.1, systematic count-based).
    Count = 1,
    /// Each packet with probability 1/N (RFC 5475 section 5.2.2.1, uniform probabilistic).
    Random = 2,
    /// All packets of one flow in N, chosen by a hash of its key.
    FlowHash = 3,
}

/// How many packets or flows are metered; the agent changes it while the program runs. 8 octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Sampling {
    /// One in so many, at least 1.
    pub interval: u32,
    /// Chosen are 32-bit random numbers and hashes up to this: 2^32 / interval - 1.
    pub threshold: u32,
}

impl Sampling {
    /// One in `interval`.
    pub fn one_in(interval: core::num::NonZeroU32) -> Self {
        let threshold = ((1u64 << 32) / u64::from(interval.get()) - 1) as u32;
        Self { interval: interval.get(), threshold }
    }
}

/// Both clocks of the kernel at one instant, written by the clock program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct ClockReading {
    /// `bpf_ktime_get_ns`: nanoseconds of the kernel's monotonic clock, outside any time namespace.
    pub monotonic_nanos: u64,
    /// `bpf_jiffies64`.
    pub jiffies: u64,
}

/// Working memory of the kernel's readers, per CPU.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Scratch {
    /// An offset on its way past the verifier.
    pub offset: u64,
    /// The first 512 octets of a frame that lies in several buffers. The rest is never used: it is
    /// what the verifier believes to be reachable: that of 6.1 believes more than later ones.
    pub octets: [[u8; 256]; 8],
}

/// Where a wide entry is put together, per CPU: more than the stack has room for. (What the parser empties at each IP
/// header stands apart: side by side, the compiler makes a loop over octets of it.)
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct WideScratch {
    /// The key of this packet.
    pub key: crate::WideKey,
    /// Where an SPI stands; 0 without one.
    pub spi: u64,
    /// What this packet adds.
    pub delta: crate::WideCounters,
    /// Where its IPv4 options begin, and their length.
    pub options: u64,
    /// The packet on its way past the verifier.
    pub packet: [u64; 9],
    /// Protocol, length and place of the upper layer.
    pub transport: u64,
    /// Where its payload begins, from the start of the frame.
    pub payload: u64,
    /// What its IP header says of fragmentation, in one word.
    pub fragment: u64,
    /// Sequence number and length of its TCP segment.
    pub segment: [u32; 2],
}
