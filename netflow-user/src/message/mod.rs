//! MESSAGE: Flow Records -> finished datagrams.
//!
//! In: [`FlowRecord`](crate::record::FlowRecord)s and an instant on both clocks. Out: IPFIX Messages
//! (RFC 7011) and NetFlow v9 Export Packets (RFC 3954), one Transport Session per [`Packer`], and NetFlow v5
//! datagrams ([`V5Packer`]). This
//! room refuses to know sockets, clocks and how a flow came to its end.

mod choice;
mod choice_table;
mod data_record;
mod field_table;
mod fill;
mod group;
mod group_table;
mod group_value;
mod information_element;
mod ipfix;
mod netflow_v5;
mod netflow_v9;
mod octets;
mod options;
mod own_element;
mod packer;
mod preset;
mod registry;
mod schedule;
mod set;
mod split;
mod sys_up_time;
pub mod template;
mod template_set;
mod v5_packer;

use std::{num::NonZeroU32, time::Duration};

pub use choice::{ChoiceError, TemplateChoice};
pub use group::{Group, Groups};
pub use information_element::{DataType, InformationElement, NumberSpace};
pub use options::{
    Anonymised, InterfaceName, OptionsData, OptionsField, OptionsKinds, OptionsTemplate, Reported,
    SamplingMethod, Statistics,
};
pub use packer::{Mark, Message, Packer, PackerConfig};
pub use preset::Preset;
pub use schedule::ONCE;
pub use template_set::{DEFAULT_KEY, KeyElement, TemplateOptions, TemplateSet};
pub use v5_packer::{LARGEST_INTERVAL, V5Mark, V5Packer, V5PackerConfig};

/// What a Transport Session speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Protocol {
    /// IPFIX, version 10 (RFC 7011).
    Ipfix,
    /// NetFlow version 9 (RFC 3954).
    NetflowV9,
}

impl Protocol {
    /// What operators call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipfix => "IPFIX",
            Self::NetflowV9 => "NetFlow v9",
        }
    }
}

/// Why a [`Packer`] cannot do what its configuration asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// A record that does not fit a message would be cut or fragmented (conformance UDP-MTU-5).
    #[error("message size {octets} is out of range: {protocol:?} needs {least} to {most} octets")]
    MessageSize {
        /// What is spoken.
        protocol: Protocol,
        /// The size asked for.
        octets: usize,
        /// The smallest message that holds any one Template Record or Data Record.
        least: usize,
        /// The largest message.
        most: usize,
    },
    /// The same for v5.
    #[error("message size {octets} is out of range: NetFlow v5 needs {least} octets")]
    MessageSizeOfV5 {
        /// The size asked for.
        octets: usize,
        /// Header and one record.
        least: usize,
    },
    /// Engine type and engine id have 8 bits each.
    #[error("--observation-domain {given}: NetFlow v5 has room for 0 to 65535")]
    EngineOfV5 {
        /// The domain asked for.
        given: u32,
    },
    /// The header has 14 bits for it (V5-HDR-5).
    #[error("sampling one in {given} cannot be told by NetFlow v5: 1 to {LARGEST_INTERVAL}")]
    SamplingIntervalOfV5 {
        /// One in how many.
        given: NonZeroU32,
    },
    /// v5 records are what they are.
    #[error("NetFlow v5 has a fixed record and cannot say {what}: leave it out, or export v9 or IPFIX")]
    NotInNetflowV5 {
        /// What was asked for.
        what: &'static str,
    },
    /// A period so short would send nothing but templates, or nothing but options data.
    #[error("a refresh of {period:?} is below {least:?}")]
    Refresh {
        /// The period asked for.
        period: Duration,
        /// The shortest period.
        least: Duration,
    },
    /// v9 field types end at 127 and have no enterprise numbers (RFC 3954 section 8).
    #[error("group {group} has {element}, which NetFlow v9 cannot say: leave it out, or export IPFIX")]
    NotInNetflowV9 {
        /// The group asked for.
        group: &'static str,
        /// Its element.
        element: &'static str,
    },
    /// Reverse elements have an enterprise number, which v9 has not.
    #[error("NetFlow v9 cannot say what biflows have: leave --biflow out, or export IPFIX")]
    BiflowInNetflowV9,
    /// v9 field types end at 127; its times are those of sysUpTime, which IPFIX has no place for.
    #[error("--template: {element} cannot be said in {protocol}")]
    ChosenNotInProtocol {
        /// The element.
        element: &'static str,
        /// The protocol.
        protocol: &'static str,
    },
    /// Its value would say nothing.
    #[error("--template: {element} is not in the Flow Key: add it to --key, or leave it out")]
    ChosenNotInKey {
        /// The element.
        element: &'static str,
    },
    /// Padding would look like one more record (RFC 7011 section 3.3.1).
    #[error(
        "--template: a record of {family:?} has {octets} octets, too few: 4 at least, such as octetDeltaCount"
    )]
    ChosenTooShort {
        /// The address family.
        family: template::AddressFamily,
        /// Octets of a record.
        octets: usize,
    },
    /// No record has packets of the other way.
    #[error("--template: {element} needs --biflow")]
    ChosenReverse {
        /// The element.
        element: &'static str,
    },
    /// Packets would be in no record.
    #[error(
        "--biflow pairs both directions: a --template needs reversePacketDeltaCount or reverseOctetDeltaCount"
    )]
    ChosenWithoutReverse,
    /// Half of the traffic would be missing at that collector.
    #[error("preset={preset}: it drops what biflows have of the other direction: leave --biflow out")]
    BiflowForPreset {
        /// The collector.
        preset: &'static str,
    },
    /// Both directions of a flow are told apart by its addresses (RFC 5103 section 4).
    #[error("biflows need source and destination addresses in the key")]
    BiflowWithoutEndpoints,
    /// The registry has no element for it (RFC 7011 section 3.2).
    #[error("group {group} has {element}, which is no element of the registry: give --enterprise-number")]
    EnterpriseNumber {
        /// The group asked for.
        group: &'static str,
        /// Its element.
        element: &'static str,
    },
}
