//! ROUTE: where the packets of a flow go, from a copy of the kernel's routing tables.
//!
//! In: what the kernel lists and tells by netlink; Flow Keys. Out: the [`Route`](crate::record::Route) of a record. It is
//! the way of the packet as it was received: before address translation and marks. Of several ways of equal cost it
//! is always the first, whichever of them the kernel takes for a flow. This room refuses to know the flow cache and
//! messages.

mod attribute;
mod blocks;
mod fib;
mod follower;
mod link;
mod lookup;
mod netlink;
mod prefix;
mod rule;
mod socket;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod trie;

use std::io;

pub use self::follower::{Follower, Routes};

/// Why routes are not known.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// No netlink socket, or no thread.
    #[error("cannot follow the kernel's routing tables")]
    Open {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel does not tell.
    #[error("cannot ask the kernel for its {what}")]
    List {
        /// interfaces, rules, nexthop objects or routes.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}
