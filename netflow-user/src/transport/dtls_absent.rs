//! A build without DTLS: nobody gets a connection.

use std::{net::SocketAddr, time::Duration};

use super::{destination::Destination, error::TransportError, tcp::Event, udp::UdpCounters};
use crate::time::MonotonicNanos;

/// There is none.
#[derive(Debug)]
pub enum DtlsTransport {}

#[expect(clippy::unused_async, reason = "as where there is DTLS")]
impl DtlsTransport {
    /// # Errors
    /// Always.
    pub fn new(destination: &Destination, _message_size: Option<usize>) -> Result<Self, TransportError> {
        Err(TransportError::WithoutDtls { destination: destination.to_string() })
    }

    /// Never asked.
    pub fn message_limit(&self) -> usize {
        match *self {}
    }

    /// Never asked.
    pub fn is_connected(&self) -> bool {
        match *self {}
    }

    /// Never asked.
    pub fn peer(&self) -> String {
        match *self {}
    }

    /// Never asked.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match *self {}
    }

    /// Never asked.
    pub fn counters(&self) -> UdpCounters {
        match *self {}
    }

    /// # Errors
    /// Never asked.
    pub async fn send(&mut self, _message: &[u8]) -> Result<(), TransportError> {
        match *self {}
    }

    /// Never asked.
    pub fn give_up(&mut self, _now: MonotonicNanos) -> Duration {
        match *self {}
    }

    /// Never asked.
    pub async fn event(&mut self, _clock: impl Fn() -> MonotonicNanos) -> Event {
        match *self {}
    }

    /// Never asked.
    pub async fn close(&mut self) {
        match *self {}
    }
}
