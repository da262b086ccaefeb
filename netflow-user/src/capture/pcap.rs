//! The pcap format (draft-ietf-opsawg-pcap): one header, then records of one link type.

use super::source::{ByteOrder, Source};
use netflow_ebpf::packet::LinkType;

use super::{CaptureFault, PacketHeader};

/// What the first four octets tell about a pcap file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Variant {
    order: ByteOrder,
    /// Nanoseconds in one unit of a record's fraction of a second.
    unit: u64,
    /// Octets between a record's header and its packet: 8 in the files of a patched libpcap of 1998.
    extra: u32,
}

impl Variant {
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        let variant = |order: ByteOrder| match order.u32(magic) {
            0xa1b2_c3d4 => Some(Self { order, unit: 1000, extra: 0 }),
            0xa1b2_3c4d => Some(Self { order, unit: 1, extra: 0 }),
            0xa1b2_cd34 => Some(Self { order, unit: 1000, extra: 8 }),
            _ => None,
        };
        variant(ByteOrder::Little).or_else(|| variant(ByteOrder::Big))
    }
}

/// Reads the records of a pcap file.
pub(super) struct PcapReader {
    source: Source,
    variant: Variant,
    link_type: LinkType,
}

impl PcapReader {
    /// Reads the rest of the file header.
    pub(super) fn new(mut source: Source, variant: Variant) -> Result<Self, CaptureFault> {
        let Variant { order, .. } = variant;
        let major = order.u16(source.array()?);
        let minor = order.u16(source.array()?);
        // Files before 2.4 order a record's lengths otherwise; none has been written for decades.
        if (major, minor) != (2, 4) {
            return Err(CaptureFault::Version { format: "pcap", major, minor });
        }
        // Time zone, accuracy and snap length: the first two are 0 by custom, the last is often wrong.
        let [_, _, _, network] = source.words(order)?;
        // The upper half tells of frame check sequences.
        let number = network & 0xffff;
        let link_type = super::link_type(number).ok_or(CaptureFault::LinkType { number, interface: 0 })?;
        Ok(Self { source, variant, link_type })
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn next_packet(&mut self) -> Result<Option<PacketHeader>, CaptureFault> {
        let Variant { order, unit, extra } = self.variant;
        let Some(seconds) = self.source.header()? else {
            return Ok(None);
        };
        let seconds = order.u32(seconds);
        let [fraction, captured, original] = self.source.words(order)?;
        self.source.skip(extra)?;
        self.source.read_packet(captured)?;
        self.source.count_packet();
        Ok(Some(PacketHeader {
            link_type: self.link_type,
            time_unix_nanos: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit,
            wire_length: original.max(captured),
            interface: 0,
        }))
    }
}
