//! TRANSPORT: delivers finished messages to a Collector, or to files.
//!
//! In: what the operator typed as a collector, and octets to send. Out: datagrams on the wire, files, or an
//! error and counters that say why not. This room refuses to know records, templates and sequence
//! numbers; of ours it uses nothing but the words for time and the clock.

mod burst;
mod certificates;
mod counting;
mod destination;
#[cfg(feature = "dtls")]
mod dtls;
#[cfg(not(feature = "dtls"))]
#[path = "dtls_absent.rs"]
mod dtls;
#[cfg(feature = "dtls")]
mod dtls_engine;
mod error;
mod file;
mod file_url;
mod json_lines;
mod link;
mod pace;
mod resolver;
mod sctp;
mod socket_options;
mod spool_options;
mod tcp;
mod tls;
mod tls_options;
mod tls_reason;
mod tls_verifier;
mod udp;
mod unacknowledged;
mod url;
mod url_key;

pub use burst::Burst;
pub use destination::{Destination, DestinationOptions, TransportKind};
pub use dtls::DtlsTransport;
pub use error::TransportError;
pub use file::{Content, FileTarget, FileTransport, Sync};
pub use json_lines::{JsonTarget, JsonTransport, Translator};
pub use link::{Link, Target};
pub use pace::Pace;
pub use socket_options::SocketOptions;
pub use spool_options::SpoolOptions;
pub use tcp::{Event, TcpTransport};
pub use tls::TlsClient;
pub use tls_options::{Fingerprint, TlsOptions};
pub use udp::{DEFAULT_LIMIT_IPV4, DEFAULT_LIMIT_IPV6, UdpCounters, UdpTransport};
pub use url::{CollectorUrl, ExportProtocol};

#[cfg(test)]
#[path = "../../../tests/support/certificates.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod test_certificates;
