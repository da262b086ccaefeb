//! TRANSPORT: delivers finished datagrams to a Collector.
//!
//! In: what the operator typed as a collector, and octets to send. Out: datagrams on the wire, or an
//! error and counters that say why not. This room refuses to know records, templates and sequence
//! numbers; of ours it uses nothing but the words for time.

mod destination;
mod error;
mod pace;
mod udp;
mod url;

pub use destination::Destination;
pub use error::TransportError;
pub use pace::Pace;
pub use udp::{DEFAULT_LIMIT_IPV4, DEFAULT_LIMIT_IPV6, UdpCounters, UdpTransport};
pub use url::{CollectorUrl, ExportProtocol};
