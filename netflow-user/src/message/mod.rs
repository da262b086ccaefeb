//! MESSAGE: Flow Records -> finished datagrams.
//!
//! In: [`FlowRecord`](crate::record::FlowRecord)s and an instant on both clocks. Out: IPFIX Messages
//! (RFC 7011) and NetFlow v9 Export Packets (RFC 3954), one Transport Session per [`Packer`]. This
//! room refuses to know sockets, clocks and how a flow came to its end.

mod data_record;
mod fill;
mod information_element;
mod ipfix;
mod netflow_v9;
mod octets;
mod packer;
mod set;
mod sys_up_time;
pub mod template;
mod template_schedule;

use std::time::Duration;

pub use information_element::{DataType, InformationElement};
pub use packer::{Message, Packer, PackerConfig};

/// What a Transport Session speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Protocol {
    /// IPFIX, version 10 (RFC 7011).
    Ipfix,
    /// NetFlow version 9 (RFC 3954).
    NetflowV9,
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
    /// A period so short would send nothing but templates.
    #[error("template refresh {period:?} is below {least:?}")]
    TemplateRefresh {
        /// The period asked for.
        period: Duration,
        /// The shortest period.
        least: Duration,
    },
}
