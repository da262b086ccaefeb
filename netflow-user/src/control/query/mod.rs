//! Questions about flows: which of them, added up by what, the most of what.
//!
//! In: words of elements, then flows piece by piece. Out: rows. Memory is bounded whatever comes: so many rows as were
//! asked for, or so many sums as a table holds; what found no place there is counted. Knows nothing of where flows come from.

mod filter;
mod gather;
mod word;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::{
    filter::{Filter, Prefix},
    gather::{Gathered, Gathering, Sums, WINDOW, row},
};
use crate::{ledger::ByReason, time::UnixMillis};

/// The most rows of an answer.
pub const ROWS_MAX: u32 = 10_000;

/// Which flows, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowQuery {
    /// Conditions, all of which hold: `protocolIdentifier=tcp`, `octetDeltaCount>=1000000`.
    pub filter: Vec<String>,
    /// What rows are sorted by, the most first.
    pub sort: String,
    /// So many rows at most.
    pub top: u32,
    /// Flows that are alike in these elements are one row; none: each is its own.
    pub aggregate: Vec<String>,
}

impl Default for FlowQuery {
    fn default() -> Self {
        Self { filter: Vec::new(), sort: "octetDeltaCount".to_owned(), top: 20, aggregate: Vec::new() }
    }
}

/// The value of an element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// The flow has none.
    Absent,
    /// A number.
    Number(u64),
    /// An address.
    Address(IpAddr),
}

/// A row: one flow, or several that are alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlowRow {
    /// The elements that tell it from others.
    pub key: ByReason<Cell>,
    /// How many flows.
    pub flows: u64,
    /// packetDeltaCount, since their last record.
    pub packets: u64,
    /// octetDeltaCount, since their last record.
    pub octets: u64,
    /// Of the last ten seconds, each flow's octets being spread evenly over its time.
    pub bits_per_second: u64,
    /// The first packet.
    pub start: UnixMillis,
    /// The last packet.
    pub end: UnixMillis,
}

/// What cannot be asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// Not an element that a flow in the cache has.
    #[error("'{given}' is not known of flows in the cache: {names} are", names = word::names())]
    Word {
        /// The word.
        given: String,
    },
    /// No condition.
    #[error("'{given}' is no condition: write for example protocolIdentifier=tcp or octetDeltaCount>=1000")]
    Condition {
        /// The text.
        given: String,
    },
    /// Not a value of that element.
    #[error("'{given}' is no value of {word}")]
    Value {
        /// The element.
        word: &'static str,
        /// The text.
        given: String,
    },
    /// Only addresses have prefixes.
    #[error("'{given}': only addresses have a prefix length, up to 32 or 128")]
    PrefixLength {
        /// The text.
        given: String,
    },
    /// Cannot be sorted by.
    #[error(
        "--sort {given}: octetDeltaCount, packetDeltaCount, flows, rate, duration, start and end are possible"
    )]
    Sort {
        /// The text.
        given: String,
    },
    /// More rows than an answer has room for.
    #[error("--top {given}: 1 to {ROWS_MAX} rows are possible")]
    Top {
        /// The number.
        given: u32,
    },
}
