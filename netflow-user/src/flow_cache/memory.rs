//! Large pages for the slots: with pages of 4 KiB every 32nd new flow stops for the kernel to find one, and each look at a
//! flow among many waits for the processor to find its page.
//!
//! Unsafe: madvise(2) takes an address.
#![allow(unsafe_code, reason = "madvise takes an address")]

use rustix::mm::{Advice, madvise};

/// The largest page that kernels are built with: whole ones of these are whole ones everywhere.
const PAGE: usize = 64 << 10;

/// Asks for large pages where a vector's elements are and will be. Only speed depends on the answer, so nobody hears it.
/// (Memory comes in steps of 2 MiB then, as it is first written to.)
pub(super) fn in_large_pages<T>(elements: &mut Vec<T>) {
    let start = elements.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(PAGE);
    let octets = elements.capacity().saturating_mul(size_of::<T>()).saturating_sub(before) / PAGE * PAGE;
    if octets > 0 {
        // SAFETY: whole pages within the vector's own memory, whose contents this advice leaves alone.
        let _ = unsafe { madvise(start.add(before).cast(), octets, Advice::LinuxHugepage) };
    }
}
