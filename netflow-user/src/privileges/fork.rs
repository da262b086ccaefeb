//! A second process of the same program, with the same memory at first.
//!
//! Unsafe: fork(2). A copy of a process with several threads has one thread and the locks of all.
#![allow(unsafe_code, reason = "no crate here has a safe fork")]

use std::{fs, io};

use rustix::process::Pid;

/// Which of the two this is.
pub(super) enum Forked {
    /// The one that was there.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Makes the process two.
pub(super) fn fork() -> io::Result<Forked> {
    // Without /proc nobody knows; there is none besides this one by then, see `part`.
    if fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(io::Error::other("there are threads already"));
    }
    // SAFETY: this thread is the only one, so that no lock is held by another one, and everything may be called in both.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        child => Pid::from_raw(child)
            .filter(|_| child > 0)
            .map(Forked::Parent)
            .ok_or_else(io::Error::last_os_error),
    }
}
