//! Words that the kernel program and the agent share.
//!
//! In: nothing. Out: the layouts of everything that crosses a BPF map. This crate refuses to know how
//! a packet is read, how a map is drained or how a flow ends.
//!
//! All types are `Pod`: no padding, no `bool`, no `enum`; sizes are asserted below, since both sides
//! are compiled apart from each other.
#![no_std]

mod address;
mod flow_counters;
mod flow_key;
mod kernel_stats;
pub mod names;
mod settings;
mod slot;
mod wide;

pub use address::{Address, NetworkU16};
pub use flow_counters::{FlowCounters, INITIAL_SYN};
pub use flow_key::{FlowKey, IpVersion, Ports};
pub use kernel_stats::{KernelStats, Loss, Note, Refusal, Skip, Watermark};
pub use settings::{ClockReading, Sampling, SamplingMode, Scratch, Settings, WideScratch};
pub use slot::{FlowSlot, Ipv4Slot, Slot, WAYS, WideSlot};
pub use wide::{FirstPacket, Group, Tunnel, WideCounters, WideKey};

const _: () = {
    assert!(size_of::<FlowKey>() == 48 && align_of::<FlowKey>() == 8);
    assert!(size_of::<FlowCounters>() == 40 && align_of::<FlowCounters>() == 8);
    assert!(size_of::<KernelStats>() == 256 && align_of::<KernelStats>() == 8);
    assert!(size_of::<WideKey>() == 72 && align_of::<WideKey>() == 8);
    assert!(size_of::<FirstPacket>() == 64 && align_of::<FirstPacket>() == 4);
    assert!(size_of::<WideCounters>() == 160 && align_of::<WideCounters>() == 8);
    assert!(size_of::<Ipv4Slot>() == 64 && size_of::<FlowSlot>() == 128 && size_of::<WideSlot>() == 256);
    assert!(size_of::<ClockReading>() == 16);
    assert!(size_of::<Settings>() == 336);
    assert!(size_of::<Sampling>() == 8);
};
