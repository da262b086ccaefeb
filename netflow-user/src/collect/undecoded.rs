//! What could not be decoded, by reason and place: so that an operator can tell which exporter to ask for what.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use super::message::SessionKey;

/// Places told apart; further ones are counted together.
const MAX_PLACES: usize = 256;

/// Why something was not decoded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Reason {
    /// A Data Set whose Template has not come, or was withdrawn.
    NoTemplate {
        /// Set ID, which is the Template ID.
        set_id: u16,
    },
    /// A Data Set that does not fit its Template.
    DataRecord {
        /// Set ID, which is the Template ID.
        set_id: u16,
    },
    /// A Template Set or Options Template Set with a record that cannot be read, or is too much to keep.
    TemplateRecord {
        /// Set ID: 2 and 3 of IPFIX, 0 and 1 of v9.
        set_id: u16,
    },
    /// A Set that is longer than the message, or shorter than its own header.
    SetLength,
    /// A message that is not as long as its header says.
    MessageLength,
    /// A message that ends in its header.
    Header,
    /// A message of a version that is none of ours.
    Version {
        /// Its first two octets.
        version: u16,
    },
}

/// Who sent it, and why it was not decoded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Place {
    exporter: IpAddr,
    /// Version and domain, if the header could be read.
    session: Option<(u16, u32)>,
    reason: Reason,
}

/// How often, by place.
#[derive(Clone, Debug, Default)]
pub(super) struct Undecoded {
    places: HashMap<Place, u64>,
    elsewhere: u64,
}

impl Undecoded {
    /// In a message of this session.
    pub(super) fn note(&mut self, key: &SessionKey, reason: Reason) {
        self.enter(Place {
            exporter: key.peer.address.ip(),
            session: Some((key.version, key.domain)),
            reason,
        });
    }

    /// In a message whose header does not tell.
    pub(super) fn note_headless(&mut self, exporter: IpAddr, reason: Reason) {
        self.enter(Place { exporter, session: None, reason });
    }

    fn enter(&mut self, place: Place) {
        let is_room = self.places.len() < MAX_PLACES;
        match self.places.get_mut(&place) {
            Some(count) => *count += 1,
            None if is_room => drop(self.places.insert(place, 1)),
            None => self.elsewhere += 1,
        }
    }

    /// One line for each place, the most frequent first.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut places: Vec<_> = self.places.iter().map(|(place, &count)| (count, *place)).collect();
        places.sort_by_key(|&(count, place)| (std::cmp::Reverse(count), place));
        let mut lines: Vec<String> = places.iter().map(|(count, place)| format!("{count} {place}")).collect();
        if self.elsewhere > 0 {
            lines.push(format!("{} of further exporters or sets", self.elsewhere));
        }
        lines
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::NoTemplate { set_id } => {
                write!(f, "sets with id {set_id}: no template {set_id} has come")?
            }
            Reason::DataRecord { set_id } => {
                write!(f, "sets with id {set_id}: a record does not fit template {set_id}")?;
            }
            Reason::TemplateRecord { set_id } => {
                write!(f, "sets with id {set_id}: a template record that cannot be read")?;
            }
            Reason::SetLength => f.write_str("messages: a set whose length cannot be")?,
            Reason::MessageLength => f.write_str("messages: not as long as the header says")?,
            Reason::Header => f.write_str("messages: end in the header")?,
            Reason::Version { version } => write!(f, "messages: version {version}")?,
        }
        write!(f, " (from {}", self.exporter.to_canonical())?;
        match self.session {
            Some((5, engine)) => write!(f, ", v5, engine {engine})"),
            Some((9, domain)) => write!(f, ", v9, source {domain})"),
            Some((_, domain)) => write!(f, ", IPFIX, domain {domain})"),
            None => f.write_str(")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn places_are_counted_apart_and_bounded() {
        let mut undecoded = Undecoded::default();
        let exporter = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        for version in (0..300).chain([7, 7]) {
            undecoded.note_headless(exporter, Reason::Version { version });
        }
        let lines = undecoded.lines();
        assert_eq!(lines.len(), MAX_PLACES + 1);
        assert_eq!(lines[0], "3 messages: version 7 (from 192.0.2.1)");
        assert_eq!(lines[MAX_PLACES], "44 of further exporters or sets");
    }
}
