//! What the agent tells the kernel program at load, and the clock reading that comes back.

use bytemuck::{Pod, Zeroable};

/// Read-only globals of the kernel program, 16 octets. They are frozen before the load, so the
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
    /// Zero.
    pub reserved: [u8; 6],
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
    /// what the verifier believes to be reachable.
    pub octets: [[u8; 256]; 5],
}
