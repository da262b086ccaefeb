//! The frame of a NetFlow v9 Export Packet.

use super::octets::Octets;

/// FlowSet ID of a Template FlowSet, RFC 3954 section 5.2.
pub(super) const TEMPLATE_FLOW_SET_ID: u16 = 0;
/// FlowSet ID of an Options Template FlowSet, RFC 3954 section 6.1.
pub(super) const OPTIONS_TEMPLATE_FLOW_SET_ID: u16 = 1;

/// Packet header, RFC 3954 section 5.1.
pub(super) struct PacketHeader {
    /// Records of all kinds, not FlowSets; known when the packet closes.
    pub count: u16,
    /// Milliseconds since the clock's origin, modulo 2^32.
    pub sys_up_time: u32,
    /// The same instant in whole seconds since 1970 UTC, modulo 2^32.
    pub unix_secs: u32,
    /// Export Packets sent in this session before this one, modulo 2^32.
    pub sequence_number: u32,
    pub source_id: u32,
}

impl PacketHeader {
    pub const LEN: usize = 20;
    const VERSION: u16 = 9;
    const COUNT_OFFSET: usize = 2;

    fn encode(&self, octets: &mut Octets) {
        octets.put_u16(Self::VERSION);
        octets.put_u16(self.count);
        octets.put_u32(self.sys_up_time);
        octets.put_u32(self.unix_secs);
        octets.put_u32(self.sequence_number);
        octets.put_u32(self.source_id);
    }
}

/// An open Export Packet. When it goes out of scope its Count becomes known.
pub(super) struct OpenPacket<'a> {
    octets: &'a mut Octets,
    count: usize,
}

impl<'a> OpenPacket<'a> {
    pub fn open(octets: &'a mut Octets, header: &PacketHeader) -> Self {
        octets.clear();
        header.encode(octets);
        Self { octets, count: 0 }
    }

    /// Where the next FlowSet goes.
    pub fn flow_sets(&mut self) -> &mut Octets {
        self.octets
    }

    /// Template Records or Data Records were written.
    pub fn count(&mut self, records: usize) {
        self.count += records;
    }
}

impl Drop for OpenPacket<'_> {
    fn drop(&mut self) {
        let count =
            u16::try_from(self.count).expect("each record of a 65535 octet packet is longer than one");
        self.octets.patch_u16(PacketHeader::COUNT_OFFSET, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_counts_its_records() {
        // V9-HDR-1, V9-HDR-2, V9-HDR-6
        let mut octets = Octets::with_capacity(0);
        let header = PacketHeader {
            count: 0,
            sys_up_time: 0x0036_ee80,
            unix_secs: 0x6955_b900,
            sequence_number: 0x0102_0304,
            source_id: 7,
        };
        let mut packet = OpenPacket::open(&mut octets, &header);
        packet.flow_sets().put(&[0xaa]);
        packet.count(2);
        packet.count(5);
        drop(packet);
        assert_eq!(
            octets.as_slice(),
            [0, 9, 0, 7, 0, 0x36, 0xee, 0x80, 0x69, 0x55, 0xb9, 0, 1, 2, 3, 4, 0, 0, 0, 7, 0xaa]
        );
    }
}
