//! The packet parser on the host and the kernel program on its own kernel: the same frames, the same counts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod captures;
mod limits;
mod measures;
mod program;
mod split;
mod table;
mod wide;
