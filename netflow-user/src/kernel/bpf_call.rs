//! `BPF_MAP_LOOKUP_AND_DELETE_BATCH` (kernel 5.6), which aya lacks, and what it has only for programs and links that it
//! has made itself: `BPF_PROG_TEST_RUN`, `BPF_LINK_CREATE` and `BPF_LINK_UPDATE` (5.9), whose descriptors belong to another
//! process here.
//!
//! In: a hash map and room for a batch; a program's or a link's descriptor. Out: entries, which are then gone from the
//! map; links.
//!
//! Unsafe: bpf(2) is called by number with pointers to buffers that this file owns.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper for batches")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use bytemuck::Pod;

const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
/// Before all others, in an order of several (`linux/bpf.h`).
const BPF_F_BEFORE: u32 = 1 << 3;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Where a link attaches a program (`enum bpf_attach_type`), and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LinkPlace {
    /// XDP in the driver.
    NativeXdp,
    /// XDP in the stack.
    GenericXdp,
    /// TC, before all others (kernel 6.6).
    TcxIngress,
    /// The same for what is sent.
    TcxEgress,
}

impl LinkPlace {
    const fn numbers(self) -> (u32, u32) {
        match self {
            Self::NativeXdp => (37, XDP_FLAGS_DRV_MODE),
            Self::GenericXdp => (37, XDP_FLAGS_SKB_MODE),
            Self::TcxIngress => (46, BPF_F_BEFORE),
            Self::TcxEgress => (47, BPF_F_BEFORE),
        }
    }
}

/// The `link_create` member of `union bpf_attr`, as far as it is used; the rest is zero.
#[repr(C)]
#[derive(Default)]
struct LinkAttributes {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative: u64,
    expected_revision: u64,
}

/// The `link_update` member.
#[repr(C)]
#[derive(Default)]
struct UpdateAttributes {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// Attaches a program to an interface for as long as what is returned is open in any process.
///
/// # Errors
/// What bpf(2) says.
pub(super) fn link_create(program: BorrowedFd<'_>, index: u32, place: LinkPlace) -> io::Result<OwnedFd> {
    let (attach_type, flags) = place.numbers();
    let mut attributes = LinkAttributes {
        prog_fd: program.as_raw_fd() as u32,
        target_ifindex: index,
        attach_type,
        flags,
        ..LinkAttributes::default()
    };
    // SAFETY: the attributes are whole and outlive the call; there is no pointer in them.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw mut attributes, size_of::<LinkAttributes>())
    };
    match RawFd::try_from(result) {
        // SAFETY: a new descriptor, which is nobody else's.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts another program in the place of a link's, in one step.
///
/// # Errors
/// What bpf(2) says; the link is as it was.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = UpdateAttributes {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: program.as_raw_fd() as u32,
        ..UpdateAttributes::default()
    };
    // SAFETY: the attributes are whole and outlive the call; there is no pointer in them.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_UPDATE, &raw mut attributes, size_of::<UpdateAttributes>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The first words of the `test` member of `union bpf_attr` (`linux/bpf.h`); the kernel takes the rest as zero.
#[repr(C)]
#[derive(Default)]
struct TestRunAttributes {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// Runs a program once over these octets.
///
/// # Errors
/// What bpf(2) says.
pub(super) fn test_run(program: BorrowedFd<'_>, octets: &[u8]) -> io::Result<()> {
    let mut attributes = TestRunAttributes {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: octets.len() as u32,
        data_in: octets.as_ptr() as u64,
        ..TestRunAttributes::default()
    };
    // SAFETY: the octets outlive the call, which reads them and writes to the attributes alone: there is no room for
    // what comes out.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut attributes, size_of::<TestRunAttributes>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

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
