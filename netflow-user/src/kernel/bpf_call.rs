//! `BPF_MAP_LOOKUP_AND_DELETE_BATCH` (kernel 5.6): the one operation that aya lacks.
//!
//! In: a hash map and room for a batch. Out: entries, which are then gone from the map.
//!
//! Unsafe: bpf(2) is called by number with pointers to buffers that this file owns.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper for batches")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use bytemuck::Pod;

const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;

/// The `batch` member of `union bpf_attr` (`linux/bpf.h`).
#[repr(C)]
#[derive(Default)]
struct BatchAttributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A reused buffer for batches of flow entries.
///
/// It is written from end to end when it is made: the kernel deletes what it could not copy out, so
/// a page that is not there would cost a bucket of flows (EFAULT).
pub struct Batch<K, C> {
    keys: Vec<K>,
    counters: Vec<C>,
    filled: usize,
    token: Option<u32>,
    done: bool,
}

impl<K: Pod, C: Pod> Batch<K, C> {
    /// Room for `capacity` entries (at least the largest bucket; it grows when that is not enough).
    pub fn new(capacity: usize) -> Self {
        let mut batch = Self { keys: Vec::new(), counters: Vec::new(), filled: 0, token: None, done: false };
        batch.grow(capacity);
        batch
    }

    /// Starts over, with another map.
    pub fn rewind(&mut self) {
        (self.filled, self.token, self.done) = (0, None, false);
    }

    /// The entries of the last call of [`Self::next`].
    pub fn entries(&self) -> impl Iterator<Item = (&K, &C)> {
        self.keys.iter().zip(&self.counters).take(self.filled)
    }

    /// Takes the next entries out of the map; `false` when it is empty.
    ///
    /// # Errors
    /// What bpf(2) says, other than the end of the map and a bucket that needs a larger buffer.
    pub fn next(&mut self, map: BorrowedFd<'_>) -> io::Result<bool> {
        self.filled = 0;
        while !self.done {
            let mut token = 0u32;
            let mut attributes = BatchAttributes {
                in_batch: self.token.as_ref().map_or(0, |token| &raw const *token as u64),
                out_batch: &raw mut token as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.counters.as_mut_ptr() as u64,
                count: self.keys.len() as u32,
                map_fd: map.as_raw_fd() as u32,
                elem_flags: 0,
                flags: 0,
            };
            // SAFETY: keys and counters have room for `count` elements of the map's key and value size (given
            // at map creation by the width that the caller drains, `drain::Drain`), both Pod; the token is four octets,
            // as for every hash map; all outlive the call.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_bpf,
                    BPF_MAP_LOOKUP_AND_DELETE_BATCH,
                    &raw mut attributes,
                    size_of::<BatchAttributes>(),
                )
            };
            if result == 0 {
                self.token = Some(token);
            } else {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    // The end; the entries that came with it count.
                    Some(libc::ENOENT) => self.done = true,
                    // The next bucket has more entries than the buffer: nothing of it was deleted.
                    Some(libc::ENOSPC) => {
                        self.token = Some(token);
                        self.grow(self.keys.len() * 2);
                    }
                    Some(libc::EINTR) => continue,
                    _ => return Err(error),
                }
            }
            self.filled = (attributes.count as usize).min(self.keys.len());
            if self.filled > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn grow(&mut self, capacity: usize) {
        self.keys.resize(capacity, K::zeroed());
        self.counters.resize(capacity, C::zeroed());
        // `resize` with zeroes may leave fresh pages untouched: touch every one.
        bytemuck::cast_slice_mut::<K, u8>(&mut self.keys).fill(1);
        bytemuck::cast_slice_mut::<C, u8>(&mut self.counters).fill(1);
    }
}
