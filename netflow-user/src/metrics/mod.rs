//! Metrics for Prometheus: what the agent shows of itself at each flip, as text over HTTP.
//!
//! In: the agent's [`Status`](crate::agent::Status), the interfaces that are metered. Out: text at `/metrics`. No label
//! ever has an address of a flow: labels are reasons, collectors and interfaces. This room changes nothing and keeps
//! no numbers of its own, so that metrics and ledger file cannot disagree.

mod books;
mod pen;
mod picture;
mod server;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

pub use self::server::{Listener, MeteredNames, Server};

/// Where metrics are served unless the operator says otherwise: a port outside of those that Prometheus' list gives to
/// exporters (9100 to 9999, all of them taken, and from 10000 upwards), made of IPFIX's.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 14739));
