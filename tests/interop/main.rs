//! Captures of others, metered and exported as NetFlow v9 and as IPFIX, judged by programs that were not written here:
//! packets, octets, times and flows are those of the reference count, row by row.
#![allow(clippy::unwrap_used, reason = "tests")]

mod anonymised;
mod biflow;
mod chosen;
mod decapsulated;
#[path = "../pipeline/layers/facts.rs"]
#[expect(dead_code, reason = "what this project reads is compared elsewhere")]
mod facts;
mod file;
mod files;
mod interfaces;
mod judge;
mod matrix;
mod presets;
mod rfc5471;
mod rows;
mod sampled;
mod secured;
mod statistics;
mod v5;
mod wire;
