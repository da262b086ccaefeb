//! The built-in collector: what an exporter sends, as a table or as JSON.
//!
//! In: messages of NetFlow v5, v9 and IPFIX by UDP, of IPFIX by TCP, TLS and DTLS, or IPFIX Files; of this exporter or of others.
//! Out: decoded flows, and counters for everything that was lost or not understood. A decoder crate reads headers, templates and values,
//! so that this project's encoders are not judged by their own author. This room refuses to know how
//! flows are metered.

mod collector;
mod counters;
#[cfg(feature = "dtls")]
mod dtls;
mod element;
mod error;
mod file;
mod flow;
mod inbox;
mod line;
mod listen_url;
mod listener;
mod message;
mod netflow_v5;
mod peer;
mod printer;
mod screen;
mod session;
mod stream;
mod summary;
mod tcp;
mod template;
mod tls;
mod type_information;
mod udp;
mod undecoded;
mod value;

#[cfg(test)]
mod tests;

pub use collector::Collector;
pub use counters::CollectorCounters;
pub use element::Element;
pub use error::CollectError;
pub use file::read;
pub use flow::DecodedFlow;
pub use inbox::ConnectionCounters;
pub use listen_url::{Identity, ListenUrl, Transport};
pub use listener::{Listener, run};
pub use peer::{Peer, Way};
pub use printer::Format;
pub use summary::Summary;
pub use value::{Timestamp, Value};
