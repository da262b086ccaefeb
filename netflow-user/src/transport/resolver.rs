//! What a collector's name means now, asked again and again beside the path of the records: at an interval, and soon after
//! trouble.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::destination::Destination;
use super::error::TransportError;
use crate::time::MonotonicNanos;

/// After trouble, between two looks.
const SOON: Duration = Duration::from_secs(5);
/// How often it is seen whether there was trouble.
const LOOK: Duration = Duration::from_secs(1);

type Lookup = JoinHandle<Result<Vec<SocketAddr>, TransportError>>;

/// Asks for one name.
#[derive(Debug)]
pub(super) struct Resolver {
    destination: Destination,
    /// Under way.
    lookup: Option<Lookup>,
    /// When the last one began, and how much trouble there had been.
    last: Option<(MonotonicNanos, u64)>,
    /// The last one failed, and that has been said.
    is_failing: bool,
}

impl Resolver {
    /// One for the destination; an address needs none.
    pub(super) fn new(destination: &Destination) -> Option<Self> {
        let is_name = destination.host.parse::<IpAddr>().is_err();
        is_name.then(|| Self {
            destination: destination.clone(),
            lookup: None,
            last: None,
            is_failing: false,
        })
    }

    /// The destination, for a new socket to it.
    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Completes with what the name means when `peer` is no longer among it. `trouble` counts what went wrong so far.
    /// Loses nothing when it is dropped.
    pub(super) async fn changed(
        &mut self,
        peer: SocketAddr,
        trouble: u64,
        clock: impl Fn() -> MonotonicNanos,
    ) -> Vec<SocketAddr> {
        loop {
            let Some(lookup) = &mut self.lookup else {
                let (last, known) = *self.last.get_or_insert((clock(), trouble));
                let wait = if trouble > known { SOON } else { self.destination.options.resolve_interval };
                let wait = last.plus(wait.min(self.destination.options.resolve_interval)).since(clock());
                if wait > Duration::ZERO {
                    tokio::time::sleep(wait.min(LOOK)).await;
                    continue;
                }
                self.last = Some((clock(), trouble));
                let destination = self.destination.clone();
                self.lookup = Some(tokio::spawn(async move { destination.resolve().await }));
                continue;
            };
            let found = lookup.await;
            self.lookup = None;
            match found {
                Ok(Ok(addresses)) => {
                    self.is_failing = false;
                    if !addresses.contains(&peer) {
                        return addresses;
                    }
                }
                Ok(Err(error)) if !self.is_failing => {
                    self.is_failing = true;
                    tracing::warn!("{error}: going on with {peer}");
                }
                _ => {}
            }
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        if let Some(lookup) = &self.lookup {
            lookup.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::ExportProtocol;
    use super::*;
    use crate::clock;

    fn resolver(host: &str) -> Option<Resolver> {
        let mut destination = Destination::udp(host, 4739, ExportProtocol::Ipfix);
        destination.options.resolve_interval = Duration::from_secs(1);
        Resolver::new(&destination)
    }

    #[tokio::test]
    async fn a_name_that_means_something_else_is_told_and_one_that_does_not_is_not() {
        assert!(resolver("192.0.2.1").is_none());
        let mut resolver = resolver("localhost").unwrap();
        let now = || clock::now().monotonic;
        let elsewhere = "192.0.2.1:4739".parse().unwrap();
        let found = tokio::time::timeout(Duration::from_secs(20), resolver.changed(elsewhere, 0, now)).await;
        let found = found.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        let same =
            tokio::time::timeout(Duration::from_millis(2500), resolver.changed(found[0], 0, now)).await;
        assert!(same.is_err(), "{same:?}");
    }
}
