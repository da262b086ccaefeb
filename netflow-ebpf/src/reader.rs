//! The kernel's readers: an XDP packet as a [`Frame`].
//!
//! In: the context of a packet. Out: the frame's linear part, read in place; or, where the packet
//! goes on in further buffers, a copy of its first octets. Nothing here knows what a header is.
//!
//! Unsafe: packet memory is reached through raw pointers, each behind the comparison with `data_end`
//! that the verifier demands, and helpers take raw pointers.
#![allow(unsafe_code, reason = "packet memory is only reachable through raw pointers")]

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use bytemuck::AnyBitPattern;
use netflow_common::Scratch;
use netflow_ebpf::packet::{Frame, HEADER_LIMIT};

use crate::map;

/// Offsets stay below this power of two, which the verifier learns from a mask.
const OFFSET_MASK: usize = 2 * HEADER_LIMIT - 1;
/// An Ethernet header.
const SHORTEST_FRAME: usize = 14;

/// Octets of the packet's linear part: all of it but where `frags` packets go on in other buffers.
#[inline(always)]
pub(crate) fn linear_length(context: &XdpContext) -> usize {
    context.data_end() - context.data()
}

/// Octets of the whole packet (kernel 5.18 and newer).
#[inline(always)]
pub(crate) fn whole_length(context: &XdpContext) -> usize {
    // SAFETY: the context is the one the kernel gave to this program.
    unsafe { bpf_xdp_get_buff_len(context.as_ptr().cast()) as usize }
}

/// Sends an offset through memory of which the verifier knows nothing. Only packets with tags, labels
/// or extension headers come here: the others pay nothing for it.
#[inline(always)]
fn forget(offset: usize) -> usize {
    let offset = if offset > HEADER_LIMIT { HEADER_LIMIT } else { offset };
    let Some(scratch) = map::scratch() else { return HEADER_LIMIT };
    // SAFETY: this CPU's scratch value, which nobody else uses while this program runs.
    unsafe {
        ptr::write_volatile(&raw mut (*scratch).offset, offset as u64);
        ptr::read_volatile(&raw const (*scratch).offset) as usize & OFFSET_MASK
    }
}

/// The linear part of a packet.
pub(crate) struct LinearFrame<'a>(pub(crate) &'a XdpContext);

impl Frame for LinearFrame<'_> {
    #[inline(always)]
    fn read<T: AnyBitPattern>(&self, offset: usize) -> Option<T> {
        let start = self.0.data() + offset;
        if offset + size_of::<T>() > HEADER_LIMIT || start + size_of::<T>() > self.0.data_end() {
            return None;
        }
        // SAFETY: the octets start..start + size_of::<T>() lie before `data_end`, compared above, and
        // every pattern of them is a T. BPF has no alignment to keep: the verifier refuses the
        // program where the machine cannot read unaligned.
        Some(unsafe { *(start as *const T) })
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        forget(offset)
    }
}

/// The first octets of a packet in several buffers, copied together.
pub(crate) struct CopiedFrame {
    scratch: *mut Scratch,
    length: usize,
}

impl CopiedFrame {
    /// Copies as many octets as headers may need.
    #[inline(always)]
    pub(crate) fn copy(context: &XdpContext, length: usize) -> Option<Self> {
        let scratch = map::scratch()?;
        let length = if length > HEADER_LIMIT { HEADER_LIMIT } else { length };
        // No frame is shorter. Told that it is not zero, kernels before 6.8 still take it for zero, which the helper
        // does not allow: from `!=` their verifier learns no bounds.
        if length < SHORTEST_FRAME {
            return None;
        }
        // SAFETY: the helper writes at most HEADER_LIMIT octets, which the scratch value has.
        let failed = unsafe {
            bpf_xdp_load_bytes(context.as_ptr().cast(), 0, (&raw mut (*scratch).octets).cast(), length as u32)
        };
        (failed == 0).then_some(Self { scratch, length })
    }
}

impl Frame for CopiedFrame {
    #[inline(always)]
    fn read<T: AnyBitPattern>(&self, offset: usize) -> Option<T> {
        if offset + size_of::<T>() > HEADER_LIMIT || offset + size_of::<T>() > self.length {
            return None;
        }
        // SAFETY: offset + size_of::<T>() is at most `length`, compared above, and that at most
        // HEADER_LIMIT, within the array; every pattern of octets is a T. The array is larger than
        // the limit since the verifier does not follow that: it knows the offset's mask only.
        Some(unsafe { *((&raw const (*self.scratch).octets).cast::<u8>().add(offset) as *const T) })
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        forget(offset)
    }
}
