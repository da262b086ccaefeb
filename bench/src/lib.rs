//! Measures what metering and exporting cost on this machine, side by side in one run: `cargo xtask bench`.
//!
//! A part measures and tells what came out ([`Outcome`]): tables, plots, targets. `report` writes all of them as
//! Markdown, JSON and SVG. A target that is not met is said so and fails nothing; no time is asserted anywhere.

pub mod datagram;
pub mod drain;
pub mod export;
pub mod live;
pub mod machine;
pub mod measurement;
pub mod memory;
pub mod others;
pub mod outcome;
pub mod packet;
pub mod parts;
pub mod report;
pub mod sink;
pub mod usage;

pub use self::{
    measurement::{Measurement, Unit},
    outcome::{Cell, Context, Outcome, Part, Plot, Series, Table, Target},
};
