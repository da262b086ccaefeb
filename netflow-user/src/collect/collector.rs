//! Messages in, flows out: who sent them, what is known of him, and a count for whatever could not be decoded.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::counters::CollectorCounters;
use super::flow::DecodedFlow;
use super::message::{Message, SessionKey};
use super::netflow_v5::V5Datagram;
use super::peer::Peer;
use super::session::{Decoded, Session};
use super::undecoded::{Reason, Undecoded};

/// Senders of datagrams and their domains remembered at once; the one not heard for longest makes room.
const MAX_SESSIONS: usize = 1024;
/// Domains of one connection.
const MAX_DOMAINS: usize = 64;
/// Template fields remembered of all: some 16 MiB.
const MAX_FIELDS: usize = 1 << 20;

/// A Collecting Process without its sockets.
#[derive(Debug, Default)]
pub struct Collector {
    sessions: HashMap<SessionKey, Session>,
    /// Those of them that are no connections'.
    by_datagrams: usize,
    counters: CollectorCounters,
    undecoded: Undecoded,
    /// Template fields of all sessions.
    fields: usize,
}

impl Collector {
    /// A collector that has heard of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was received so far.
    pub fn counters(&self) -> CollectorCounters {
        self.counters
    }

    /// How many Transport Sessions and domains are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Template fields remembered: what the memory depends on.
    pub fn template_fields(&self) -> usize {
        self.fields
    }

    /// What could not be decoded, by exporter, set and reason: a line each, the most frequent first.
    pub fn not_decoded(&self) -> Vec<String> {
        self.undecoded.lines()
    }

    /// Decodes one datagram, which holds one message, and returns its Flow Records.
    pub fn decode(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<DecodedFlow> {
        self.read(Peer::by_datagrams(from), datagram).flows
    }

    /// Decodes one message; options records come first.
    pub fn decode_all(&mut self, from: Peer, message: &[u8]) -> impl Iterator<Item = DecodedFlow> + use<> {
        let Decoded { flows, options } = self.read(from, message);
        options.into_iter().chain(flows)
    }

    fn read(&mut self, from: Peer, octets: &[u8]) -> Decoded {
        self.counters.datagrams += 1;
        let message = match octets {
            [0, 5, rest @ ..] => return self.read_v5(from, rest),
            [0, 9, rest @ ..] => Message::netflow_v9(from, rest),
            [0, 10, rest @ ..] => Message::ipfix(from, rest),
            [high, low, ..] => {
                self.counters.unsupported_version += 1;
                let version = u16::from_be_bytes([*high, *low]);
                self.undecoded.note_headless(from.address.ip(), Reason::Version { version });
                return Decoded::default();
            }
            _ => None,
        };
        let Some(message) = message else {
            self.count_malformed(from, Reason::Header);
            return Decoded::default();
        };
        self.make_room(&message.key);
        let session = self.sessions.entry(message.key).or_default();
        session.heard = self.counters.datagrams;
        let fields_before = session.fields;
        let decoded = session.read(&message, &mut self.counters, &mut self.undecoded);
        self.fields = self.fields - fields_before + session.fields;
        self.limit_fields();
        decoded
    }

    /// Something came that is no message.
    pub(super) fn count_malformed(&mut self, from: Peer, reason: Reason) {
        self.counters.malformed += 1;
        self.undecoded.note_headless(from.address.ip(), reason);
    }

    /// A connection has ended, and with it what was known of its sender (RFC 7011 section 8.1).
    pub(super) fn forget(&mut self, peer: Peer) {
        let gone: Vec<SessionKey> = self.sessions.keys().filter(|key| key.peer == peer).copied().collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    fn read_v5(&mut self, from: Peer, after_version: &[u8]) -> Decoded {
        let Some(datagram) = V5Datagram::read(from.address, after_version) else {
            self.count_malformed(from, Reason::Header);
            return Decoded::default();
        };
        let V5Datagram { engine, flow_sequence, flows, whole } = datagram;
        let key = SessionKey { peer: from, version: 5, domain: engine };
        self.counters.count(&flows, 0);
        if !whole {
            self.counters.malformed += 1;
            self.undecoded.note(&key, Reason::MessageLength);
        }
        self.make_room(&key);
        let session = self.sessions.entry(key).or_default();
        session.heard = self.counters.datagrams;
        let message =
            Message { key, sequence: flow_sequence, export_time: 0, uptime: None, sets: &[], whole };
        session.follow(&message, u32::try_from(flows.len()).ok(), &mut self.counters);
        Decoded { flows, options: Vec::new() }
    }

    /// Before a session that may be new: nobody takes the room of others by many names. Senders of datagrams can
    /// forge theirs, so they never take a connection's.
    fn make_room(&mut self, key: &SessionKey) {
        if self.sessions.contains_key(key) {
            return;
        }
        if key.peer.is_connection() {
            if self.sessions.keys().filter(|other| other.peer == key.peer).count() >= MAX_DOMAINS {
                self.forget_oldest(|other| other.peer == key.peer);
            }
            return;
        }
        if self.by_datagrams >= MAX_SESSIONS {
            self.forget_oldest(|other| !other.peer.is_connection());
        }
        self.by_datagrams += 1;
    }

    fn limit_fields(&mut self) {
        while self.fields > MAX_FIELDS && self.sessions.len() > 1 {
            if self.sessions.iter().any(|(key, session)| session.fields > 0 && !key.peer.is_connection()) {
                self.forget_oldest(|key| !key.peer.is_connection());
                continue;
            }
            // Among connections the one that takes most.
            let most = self.sessions.iter().max_by_key(|(_, session)| session.fields);
            let Some((&key, _)) = most else { return };
            self.remove(&key);
        }
    }

    fn forget_oldest(&mut self, among: impl Fn(&SessionKey) -> bool) {
        let candidates = self.sessions.iter().filter(|(key, _)| among(key));
        if let Some((&key, _)) = candidates.min_by_key(|(_, session)| session.heard) {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &SessionKey) {
        if let Some(session) = self.sessions.remove(key) {
            self.fields -= session.fields;
            self.by_datagrams -= usize::from(!key.peer.is_connection());
        }
    }
}
