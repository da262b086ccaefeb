//! The kernel's readers: an XDP packet, or a socket buffer at TC, as a [`Frame`].
//!
//! In: the context of a packet. Out: the frame's linear part, read in place; or, where the packet
//! goes on in further buffers or had a tag taken off, a copy of its first octets. Nothing here knows
//! what a header is.
//!
//! Unsafe: packet memory is reached through raw pointers, each behind the comparison with `data_end`
//! that the verifier demands, and helpers take raw pointers.
#![allow(unsafe_code, reason = "packet memory is only reachable through raw pointers")]

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use bytemuck::AnyBitPattern;
use netflow_common::{NetworkU16, Scratch};
use netflow_ebpf::packet::{Frame, HEADER_LIMIT, Merged};

use crate::map;

/// Offsets stay below this power of two, which the verifier learns from a mask.
const OFFSET_MASK: usize = 2 * HEADER_LIMIT - 1;
/// An Ethernet header.
const SHORTEST_FRAME: usize = 14;
/// Where a VLAN tag stands in an Ethernet frame: behind both addresses. It has as many octets as its length.
const TAG_OFFSET: usize = 12;
pub(crate) const TAG_LENGTH: usize = size_of::<Tag>();

/// A VLAN tag as it stood in the frame: EtherType (TPID) and control information.
pub(crate) type Tag = [NetworkU16; 2];

/// A packet as one of the kernel's hooks shows it.
pub(crate) trait PacketContext: EbpfContext {
    /// What passes the packet on unchanged.
    const PASS: i32;
    /// What drops it.
    const DROP: i32;
    /// Whether the kernel may have taken tags off, or merged packets: both show in a copy only.
    const CHANGED: bool;
    /// Whether packets that this host sends come here.
    const SEES_OWN: bool;

    /// Where the linear part begins and ends.
    fn linear(&self) -> (usize, usize);

    /// Octets of the packet in all its buffers.
    fn whole_length(&self) -> usize;

    /// Copies octets from all its buffers; whether that went well.
    ///
    /// # Safety
    /// `to` has room for `length` octets.
    unsafe fn load(&self, offset: usize, to: *mut u8, length: usize) -> bool;

    /// ifIndex of the device that receives or sends it.
    fn interface(&self) -> u32;

    /// The outermost tag, where it was taken off the frame.
    fn tag(&self) -> Option<Tag>;

    /// How many packets on the wire this one stands for.
    fn merged(&self) -> Merged;
}

impl PacketContext for XdpContext {
    const PASS: i32 = xdp_action::XDP_PASS as i32;
    const DROP: i32 = xdp_action::XDP_DROP as i32;
    const CHANGED: bool = false;
    const SEES_OWN: bool = false;

    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    /// Kernel 5.18 and newer.
    #[inline(always)]
    fn whole_length(&self) -> usize {
        // SAFETY: the context is the one the kernel gave to this program.
        unsafe { bpf_xdp_get_buff_len(self.as_ptr().cast()) as usize }
    }

    #[inline(always)]
    unsafe fn load(&self, offset: usize, to: *mut u8, length: usize) -> bool {
        // SAFETY: as the caller promises.
        unsafe { bpf_xdp_load_bytes(self.as_ptr().cast(), offset as u32, to.cast(), length as u32) == 0 }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn tag(&self) -> Option<Tag> {
        None
    }

    #[inline(always)]
    fn merged(&self) -> Merged {
        Merged::ONE
    }
}

macro_rules! skb {
    ($context:ident.$field:ident) => {
        // SAFETY: the context is the one the kernel gave to this program. Volatile, so that a field is
        // read as the word it is.
        unsafe { ptr::read_volatile(&raw const (*$context.as_ptr().cast::<__sk_buff>()).$field) }
    };
}

impl PacketContext for TcContext {
    /// The next program or filter decides.
    const PASS: i32 = TC_ACT_UNSPEC;
    const DROP: i32 = TC_ACT_SHOT as i32;
    const CHANGED: bool = true;
    const SEES_OWN: bool = true;

    #[inline(always)]
    fn linear(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn whole_length(&self) -> usize {
        skb!(self.len) as usize
    }

    #[inline(always)]
    unsafe fn load(&self, offset: usize, to: *mut u8, length: usize) -> bool {
        // SAFETY: as the caller promises.
        unsafe { bpf_skb_load_bytes(self.as_ptr().cast(), offset as u32, to.cast(), length as u32) == 0 }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        skb!(self.ifindex)
    }

    #[inline(always)]
    fn tag(&self) -> Option<Tag> {
        if skb!(self.vlan_present) == 0 {
            return None;
        }
        // The protocol is in network order there, the control information in host order.
        let [first, second, ..] = skb!(self.vlan_proto).to_ne_bytes();
        Some([NetworkU16::from_octets([first, second]), NetworkU16::new(skb!(self.vlan_tci) as u16)])
    }

    /// Kernel 5.7 and newer tell both.
    #[inline(always)]
    fn merged(&self) -> Merged {
        Merged {
            segments: skb!(self.gso_segs),
            size: skb!(self.gso_size),
            more_octets: skb!(self.wire_len).saturating_sub(skb!(self.len)),
        }
    }
}

/// Octets of the packet's linear part: all of it but where a packet goes on in other buffers.
#[inline(always)]
pub(crate) fn linear_length<C: PacketContext>(context: &C) -> usize {
    let (start, end) = context.linear();
    end - start
}

/// Sends an offset through memory of which the verifier knows nothing. Only packets with tags, labels
/// or extension headers come here: the others pay nothing for it.
#[inline(always)]
pub(crate) fn forget(offset: usize) -> usize {
    let offset = if offset > HEADER_LIMIT { HEADER_LIMIT } else { offset };
    let Some(scratch) = map::scratch() else { return HEADER_LIMIT };
    hidden(scratch, offset)
}

/// An offset by way of memory of which the verifier knows nothing.
#[inline(always)]
fn hidden(scratch: *mut Scratch, offset: usize) -> usize {
    // SAFETY: this CPU's scratch value, which nobody else uses while this program runs.
    unsafe {
        ptr::write_volatile(&raw mut (*scratch).offset, offset as u64);
        ptr::read_volatile(&raw const (*scratch).offset) as usize & OFFSET_MASK
    }
}

/// A length, if it is not below `least`, as the verifier believes it: by way of memory right before it is used, so that
/// what is compared is the very number that a helper is given. The compiler else compares one and hands over another.
/// And where `least` is a power of two, or one, it asks for bits that are not zero, from which the verifier of kernels
/// before 6.8 learns nothing: for it the length may be zero then, which no helper allows.
#[inline(always)]
fn known(scratch: *mut Scratch, length: usize, least: usize) -> Option<usize> {
    let length = hidden(scratch, length);
    (length >= least).then_some(length)
}

/// The linear part of a packet.
pub(crate) struct LinearFrame<'a, C>(pub(crate) &'a C);

impl<C: PacketContext> Frame for LinearFrame<'_, C> {
    #[inline(always)]
    fn read<T: AnyBitPattern>(&self, offset: usize) -> Option<T> {
        let (start, end) = self.0.linear();
        let start = start + offset;
        if offset + size_of::<T>() > HEADER_LIMIT || start + size_of::<T>() > end {
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

/// The first octets of a packet in several buffers, or of one that had a tag taken off, copied together.
pub(crate) struct CopiedFrame {
    scratch: *mut Scratch,
    length: usize,
}

/// Where the copy lies.
#[inline(always)]
fn octets_of(scratch: *mut Scratch) -> *mut u8 {
    // SAFETY: this CPU's scratch value, not null; only its address is computed.
    unsafe { (&raw mut (*scratch).octets).cast() }
}

impl CopiedFrame {
    /// Copies as many octets as headers may need of a frame of `length` octets, the tag included: it goes
    /// back to where it was taken from.
    #[inline(always)]
    pub(crate) fn copy<C: PacketContext>(
        context: &C,
        length: usize,
        tag: impl FnOnce() -> Option<Tag>,
    ) -> Option<Self> {
        let scratch = map::scratch()?;
        let length = if length > HEADER_LIMIT { HEADER_LIMIT } else { length };
        let octets = octets_of(scratch);
        // Asked for here: carried along, it would be undefined where there is none, and 5.10 takes no such program.
        let copied = match tag() {
            None => {
                // No frame is shorter, and an IP packet of less has no header.
                let length = known(scratch, length, SHORTEST_FRAME)?;
                // SAFETY: `load` writes at most HEADER_LIMIT octets, which the scratch value has.
                unsafe { context.load(0, octets, length) }
            }
            Some(tag) => {
                // With the octet before it, on which the tag is laid then: see `known`. An EtherType stands behind.
                let (start, behind) = (TAG_OFFSET - 1, TAG_OFFSET - 1 + TAG_LENGTH);
                let rest = known(scratch, length.checked_sub(behind)?, 1 + size_of::<NetworkU16>())?;
                // SAFETY: all of it lies within the HEADER_LIMIT octets of the scratch value.
                unsafe {
                    let copied =
                        context.load(start, octets.add(behind), rest) && context.load(0, octets, TAG_OFFSET);
                    ptr::write_unaligned(octets.add(TAG_OFFSET).cast(), tag);
                    copied
                }
            }
        };
        copied.then(|| Self { scratch, length: hidden(scratch, length) })
    }

    /// Overwrites a number in the copy. (The packet stays as it is.)
    #[inline(always)]
    pub(crate) fn overwrite(&mut self, offset: usize, number: NetworkU16) {
        let offset = offset & OFFSET_MASK;
        // SAFETY: the array has twice HEADER_LIMIT octets and more, and the mask keeps below that.
        unsafe { ptr::write_unaligned(octets_of(self.scratch).add(offset).cast(), number) };
    }
}

impl Frame for CopiedFrame {
    #[inline(always)]
    fn read<T: AnyBitPattern>(&self, offset: usize) -> Option<T> {
        if offset + size_of::<T>() > HEADER_LIMIT || offset + size_of::<T>() > self.length {
            return None;
        }
        // What the verifier learned of an offset on the way here it need not compare, when another way comes here.
        let offset = hidden(self.scratch, offset);
        // SAFETY: offset + size_of::<T>() is at most `length`, compared above, and that at most
        // HEADER_LIMIT, within the array; every pattern of octets is a T. The array is larger than
        // the limit since the verifier does not follow that: it knows the offset's mask only.
        Some(unsafe { *(octets_of(self.scratch).add(offset) as *const T) })
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        forget(offset)
    }
}

/// A packet whose octets are fetched by the kernel, each read by itself: for the few that need it.
pub(crate) struct LoadedFrame<'a, C> {
    pub(crate) context: &'a C,
    /// Octets of a tag that was taken off the frame, by which what stands behind it is nearer.
    pub(crate) tag_octets: usize,
}

impl<C: PacketContext> Frame for LoadedFrame<'_, C> {
    #[inline(always)]
    fn read<T: AnyBitPattern>(&self, offset: usize) -> Option<T> {
        if offset + size_of::<T>() > HEADER_LIMIT {
            return None;
        }
        let octets = octets_of(map::scratch()?);
        // SAFETY: the scratch value has room for more than any T that is read; the kernel refuses to read
        // beyond the packet's end. What was written is a T, as every pattern is.
        unsafe {
            let loaded = self.context.load(offset - self.tag_octets, octets, size_of::<T>());
            loaded.then(|| ptr::read_unaligned(octets as *const T))
        }
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        forget(offset)
    }
}
