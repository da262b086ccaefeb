//! Options data: what describes flows instead of being one (RFC 7011 section 3.4.2.2, RFC 3954 section 6).
//!
//! In: what changes while the exporter runs, and the templates. Out: finished Data Records of Options Templates.
//! This module refuses to know when they are sent, and in which message.

mod record;
mod statistics;
mod table;
mod template;

use std::num::NonZeroU32;

pub(super) use self::{
    record::{OptionsRecord, Scope, longest, records, set_len},
    statistics::statistics_records,
    template::templates,
};
pub use self::{
    statistics::{Reported, Statistics},
    template::{OptionsField, OptionsTemplate},
};

/// How packets are sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SamplingMethod {
    /// Every N-th packet (PSAMP 1, systematic count-based).
    Count,
    /// Each packet with probability 1/N (PSAMP 4, uniform probabilistic).
    Random,
    /// All packets of one flow in N.
    FlowHash,
}

/// An interface that is metered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceName {
    /// ifIndex.
    pub index: u32,
    /// interfaceName.
    pub name: String,
    /// interfaceDescription: its alias; empty stands for the name.
    pub description: String,
}

/// What one anonymisation record says (RFC 6235 section 6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anonymised {
    /// informationElementId.
    pub element_id: u16,
    /// anonymizationFlags.
    pub flags: u16,
    /// anonymizationTechnique.
    pub technique: u16,
}

/// Which options data a session has. What it does not have costs no octet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OptionsKinds {
    /// Packets are or may be sampled, this way.
    pub sampling: Option<SamplingMethod>,
    /// The table of interfaces.
    pub interfaces: bool,
    /// What the exporter is called (IPFIX only).
    pub exporter_name: Option<String>,
    /// Which fields are the Flow Key (IPFIX only).
    pub flow_keys: bool,
    /// What the processes have done so far, with the timeouts that are told with it.
    pub statistics: Option<Reported>,
    /// Of sampling the rate alone, without a selector report.
    pub rate_only: bool,
    /// The rate is told where nothing is sampled, too: one in one.
    pub rate_of_one: bool,
    /// Nothing is said of the types of own elements.
    pub without_types: bool,
    /// Elements whose values are anonymised (IPFIX only).
    pub anonymised: Vec<Anonymised>,
}

impl OptionsKinds {
    /// Whether statistics say how many packets were selected, where the protocol has words for it.
    fn tells_selection(&self) -> bool {
        self.statistics.is_some() && self.sampling.is_some() && !self.rate_only
    }
}

/// The part of options data that changes while the exporter runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OptionsData {
    /// Of so many packets or flows one is metered; `None` says nothing of it.
    pub sampled_one_in: Option<NonZeroU32>,
    /// The interfaces that are metered.
    pub interfaces: Vec<InterfaceName>,
}
