//! The frame of an IPFIX Message.

use super::octets::Octets;

/// Set ID of a Template Set, RFC 7011 section 3.3.2.
pub(super) const TEMPLATE_SET_ID: u16 = 2;
/// Set ID of an Options Template Set, RFC 7011 section 3.3.2.
pub(super) const OPTIONS_TEMPLATE_SET_ID: u16 = 3;

/// Message Header, RFC 7011 section 3.1.
pub(super) struct MessageHeader {
    /// Octets of the whole Message; known when it closes.
    pub length: u16,
    /// The second at which the Message leaves, modulo 2^32.
    pub export_time: u32,
    /// Data Records sent in this Transport Session before this Message, modulo 2^32.
    pub sequence_number: u32,
    pub observation_domain_id: u32,
}

impl MessageHeader {
    pub const LEN: usize = 16;
    const VERSION: u16 = 10;
    const LENGTH_OFFSET: usize = 2;

    fn encode(&self, octets: &mut Octets) {
        octets.put_u16(Self::VERSION);
        octets.put_u16(self.length);
        octets.put_u32(self.export_time);
        octets.put_u32(self.sequence_number);
        octets.put_u32(self.observation_domain_id);
    }
}

/// An open Message. When it goes out of scope its Length becomes known.
pub(super) struct OpenMessage<'a> {
    octets: &'a mut Octets,
}

impl<'a> OpenMessage<'a> {
    pub fn open(octets: &'a mut Octets, header: &MessageHeader) -> Self {
        octets.clear();
        header.encode(octets);
        Self { octets }
    }

    /// Where the next Set goes.
    pub fn sets(&mut self) -> &mut Octets {
        self.octets
    }
}

impl Drop for OpenMessage<'_> {
    fn drop(&mut self) {
        self.octets.patch_length(MessageHeader::LENGTH_OFFSET, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_states_its_whole_length() {
        // IPFIX-MSG-1, IPFIX-MSG-2, IPFIX-MSG-6
        let mut octets = Octets::with_capacity(0);
        let header = MessageHeader {
            length: 0,
            export_time: 0x6955_b900,
            sequence_number: 0x0102_0304,
            observation_domain_id: 7,
        };
        OpenMessage::open(&mut octets, &header).sets().put(&[0xaa, 0xbb]);
        assert_eq!(
            octets.as_slice(),
            [0, 10, 0, 18, 0x69, 0x55, 0xb9, 0, 1, 2, 3, 4, 0, 0, 0, 7, 0xaa, 0xbb]
        );
    }
}
