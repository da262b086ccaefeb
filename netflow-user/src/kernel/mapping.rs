//! Maps of the kernel that are read and emptied in memory, without a system call.
//!
//! In: a map made with `BPF_F_MMAPABLE` (kernel 5.5). Out: parts of its values.
//!
//! Unsafe: mmap(2), and slices over what the kernel's programs write to.
#![allow(unsafe_code, reason = "memory shared with the kernel is reached through pointers")]

use std::{io, os::fd::BorrowedFd, ptr::NonNull, slice};

use bytemuck::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The values of an array map, in this process's memory; unmapped when it is dropped.
pub(super) struct Mapping {
    start: NonNull<u8>,
    octets: usize,
}

// SAFETY: the memory belongs to the map, not to a thread; parts are handed out by `&mut self` only.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps so many octets of an array map's values. All pages are there from then on: reading never faults.
    pub fn new(map: BorrowedFd<'_>, octets: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping where the kernel finds room.
        let start = unsafe { mmap(std::ptr::null_mut(), octets, access, MapFlags::SHARED, map, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, octets })
    }

    /// `count` values from number `first` on; empty where there are not so many.
    ///
    /// To be called for a generation that is frozen, so that no program writes to what is borrowed. (The flips of
    /// [`super::Flip`] that do not freeze it are there to show what is lost then.)
    pub fn part<T: Pod>(&mut self, first: usize, count: usize) -> &mut [T] {
        let whole = self.octets / size_of::<T>();
        if first.checked_add(count).is_none_or(|end| end > whole) {
            return &mut [];
        }
        // SAFETY: within the mapping, which begins on a page and outlives the borrow; all patterns are values of T.
        unsafe { slice::from_raw_parts_mut(self.start.cast::<T>().add(first).as_ptr(), count) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made above, of which nothing is borrowed any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.octets) };
    }
}
