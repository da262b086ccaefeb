//! What cannot be decided as it was typed.

use std::time::Duration;

use crate::{
    collect::CollectError,
    filter::FilterError,
    flow_cache::FlowCacheError,
    interface::SelectionError,
    measured::MeasuredError,
    message::{MessageError, Preset},
    privileges::PrivilegesError,
    record::anonymisation::{AnonymisationError, KeyError},
    transport::TransportError,
};

/// A command line that makes no sense: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A collector's URL.
    #[error(transparent)]
    Collector(#[from] TransportError),
    /// Where `netflow collect` is to listen.
    #[error(transparent)]
    Listen(#[from] CollectError),
    /// What is to be measured.
    #[error(transparent)]
    Measured(#[from] MeasuredError),
    /// A filter that libpcap refuses, or no libpcap.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A timeout.
    #[error(transparent)]
    Timeouts(#[from] FlowCacheError),
    /// Anonymisation rules that do not go together.
    #[error(transparent)]
    Anonymisation(#[from] AnonymisationError),
    /// A user that does not exist.
    #[error(transparent)]
    User(#[from] PrivilegesError),
    /// The key of anonymisation.
    #[error(transparent)]
    AnonymisationKey(#[from] KeyError),
    /// No address to serve metrics at.
    #[error("--metrics '{given}' is not possible: ADDRESS:PORT is (127.0.0.1:14739, [::1]:14739), or off")]
    Metrics {
        /// As given.
        given: String,
    },
    /// Longer than a datagram can be.
    #[error("--message-size {octets} is not possible: from 512 to 65507 is")]
    MessageSize {
        /// As given.
        octets: u64,
    },
    /// No way to share records.
    #[error(
        "--collector-mode '{given}' is not possible: [NAME=]replicate, balance, round-robin or failover is"
    )]
    CollectorMode {
        /// As given.
        given: String,
    },
    /// Which of them?
    #[error("--collector-mode of group '{name}' is given twice")]
    CollectorModeTwice {
        /// The group.
        name: String,
    },
    /// How its collectors share the records is not said.
    #[error("group '{name}' of collectors needs --collector-mode {name}=balance, round-robin or failover")]
    GroupWithoutMode {
        /// The group.
        name: String,
    },
    /// Nobody is in it.
    #[error(
        "--collector-mode for group '{name}', but no collector has group={name} in its URL (or none, for those in no group)"
    )]
    GroupWithoutCollectors {
        /// The group.
        name: String,
    },
    /// Nothing can be sent to it to see whether it is there.
    #[error(
        "collector '{url}': failover and round-robin need v9 or IPFIX: v5 has no message without records, to ask whether it is there"
    )]
    HealthOfV5 {
        /// As given.
        url: String,
    },
    /// Lines of two destinations would mix.
    #[error("json:- is standard output, which only one destination can have")]
    StandardOutputTwice,
    /// Zero or an age.
    #[error("--drain-interval {given:?} is not possible: from 10ms to 60s is")]
    DrainInterval {
        /// As given.
        given: Duration,
    },
    /// More than the maps can be asked for.
    #[error("--map-size {given} is not possible: up to 16777216 is")]
    MapSize {
        /// As given.
        given: u32,
    },
    /// More than the flow table can be asked for.
    #[error("--flow-table-size {given} is not possible: up to 16777216 is")]
    FlowTableSize {
        /// As given.
        given: u32,
    },
    /// A collector that there is no preset for.
    #[error("preset={given}: known are {}", Preset::ALL.map(Preset::name).join(", "))]
    Preset {
        /// As given.
        given: String,
    },
    /// What the protocol has no words for.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Interfaces that cannot be asked for.
    #[error(transparent)]
    Selection(#[from] SelectionError),
}
