//! The packet parser on the host and the kernel program on its own kernel: the same frames, the same counts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod captures;
mod filter;
mod flow_table;
mod limits;
mod measures;
mod merged;
mod own_export;
mod program;
#[path = "../fuzz/random.rs"]
#[allow(dead_code, reason = "shared with the fuzz tests, which use all of it")]
mod random;
mod split;
mod table;
mod wide;
