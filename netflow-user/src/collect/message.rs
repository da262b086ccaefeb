//! Messages as far as they are the same for all versions: a header, and Sets.

use netflow_parser::variable_versions::{ipfix, v9};
use nom_derive::Parse;

use super::flow::{DecodedFlow, SysUpTime};
use super::peer::Peer;
use super::template::Fields;
use super::type_information::Told;

/// Whose message: sequence numbers and templates are known by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SessionKey {
    pub(super) peer: Peer,
    /// 5, 9 or 10.
    pub(super) version: u16,
    /// Observation Domain ID, Source ID, engine.
    pub(super) domain: u32,
}

/// A message's header, and what follows it.
pub(super) struct Message<'a> {
    pub(super) key: SessionKey,
    pub(super) sequence: u32,
    /// Export Time, seconds since 1970.
    pub(super) export_time: u32,
    /// sysUpTime, which only v9 has.
    pub(super) uptime: Option<u32>,
    pub(super) sets: &'a [u8],
    /// Whether the message is as long as the header says.
    pub(super) whole: bool,
}

impl<'a> Message<'a> {
    /// What follows the version of a NetFlow v9 Export Packet. It does not say its length: the datagram does.
    pub(super) fn netflow_v9(peer: Peer, after_version: &'a [u8]) -> Option<Self> {
        let (sets, header) = v9::Header::parse(after_version).ok()?;
        Some(Self {
            key: SessionKey { peer, version: 9, domain: header.source_id },
            sequence: header.sequence_number,
            export_time: header.unix_secs,
            uptime: Some(header.sys_up_time),
            sets,
            whole: true,
        })
    }

    /// What follows the version of an IPFIX Message.
    pub(super) fn ipfix(peer: Peer, after_version: &'a [u8]) -> Option<Self> {
        let (rest, header) = ipfix::Header::parse(after_version).ok()?;
        let stated = usize::from(header.length).checked_sub(16)?;
        Some(Self {
            key: SessionKey { peer, version: 10, domain: header.observation_domain_id },
            sequence: header.sequence_number,
            export_time: header.export_time,
            uptime: None,
            sets: &rest[..stated.min(rest.len())],
            whole: stated == rest.len(),
        })
    }

    /// A record of this message; `options` is the Template ID of an options record.
    pub(super) fn flow(
        &self,
        fields: Fields,
        options: Option<u16>,
        clock: Option<SysUpTime>,
        told: &Told,
    ) -> DecodedFlow {
        let SessionKey { peer, version, domain } = self.key;
        DecodedFlow::new(peer.address, version, domain, options, clock, fields, Told::clone(told))
    }

    /// The counter behind flowStartSysUpTime at the Export Time: v9 says it, an IPFIX Exporter says when
    /// the counter was 0.
    pub(super) fn clock(&self, started: Option<u64>) -> Option<SysUpTime> {
        let unix_millis = u64::from(self.export_time) * 1000;
        let since = |started| unix_millis.wrapping_sub(started) as u32;
        let uptime = self.uptime.or(started.map(since))?;
        Some(SysUpTime { uptime, unix_millis })
    }
}

/// What follows is not a Set.
pub(super) struct BadSet;

/// The next Set's id and content. Less than a Set header at the end is not a Set unless it is zero, as
/// some exporters pad the whole packet.
pub(super) fn next_set<'a>(sets: &mut &'a [u8]) -> Result<Option<(u16, &'a [u8])>, BadSet> {
    let Ok((rest, header)) = ipfix::FlowSetHeader::parse(sets) else {
        let padding = sets.iter().all(|&octet| octet == 0);
        return if padding { Ok(None) } else { Err(BadSet) };
    };
    let length = usize::from(header.length).checked_sub(4).ok_or(BadSet)?;
    let (content, rest) = rest.split_at_checked(length).ok_or(BadSet)?;
    *sets = rest;
    Ok(Some((header.header_id, content)))
}
