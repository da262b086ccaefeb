//! Bounds-checked reads: the one way to an octet of a frame.

use bytemuck::AnyBitPattern;

/// Headers are read within this many octets of a frame, in the kernel and on the host: what lies
/// behind them is as good as cut off. It bounds what a frame in several buffers costs.
pub const HEADER_LIMIT: usize = 512;

/// A frame as its owner can show it: a captured slice, or a packet in the kernel.
pub trait Frame {
    /// Reads a wire structure at `offset`; `None` if the frame (or [`HEADER_LIMIT`]) ends before its
    /// last octet.
    ///
    /// The structure stands at any alignment; its numbers are as in the packet (network order). It has
    /// two octets or more: of one octet the compiler makes a comparison that the verifier cannot use.
    fn read<T: AnyBitPattern>(&self, offset: usize) -> Option<T>;

    /// The same offset, at most [`HEADER_LIMIT`].
    ///
    /// The kernel's reader hides from the verifier how it came about. Else each of some sixty ways
    /// through tags and labels, and each chain of extension headers, is verified to its end by itself:
    /// more than the million instructions that are allowed.
    fn forget(&self, offset: usize) -> usize {
        offset.min(HEADER_LIMIT)
    }
}

impl Frame for [u8] {
    fn read<T: AnyBitPattern>(&self, offset: usize) -> Option<T> {
        if offset > HEADER_LIMIT {
            return None;
        }
        let octets = self.get(..HEADER_LIMIT.min(self.len()))?.get(offset..)?.get(..size_of::<T>())?;
        Some(bytemuck::pod_read_unaligned(octets))
    }
}

#[cfg(test)]
mod tests {
    use netflow_common::NetworkU16;

    use super::*;

    #[test]
    fn a_read_ends_where_the_frame_ends() {
        let frame: &[u8] = &[0, 1, 2];
        assert_eq!(frame.read::<NetworkU16>(1).map(NetworkU16::value), Some(0x0102));
        assert_eq!(frame.read::<NetworkU16>(2), None);
        assert_eq!(frame.read::<u8>(usize::MAX), None);
    }

    #[test]
    fn a_read_ends_at_the_header_limit() {
        let frame: &[u8] = &[1; HEADER_LIMIT + 100];
        assert_eq!(frame.read::<u8>(HEADER_LIMIT - 1), Some(1));
        assert_eq!(frame.read::<u8>(HEADER_LIMIT), None);
        assert_eq!(frame.read::<NetworkU16>(HEADER_LIMIT - 1), None);
    }
}
