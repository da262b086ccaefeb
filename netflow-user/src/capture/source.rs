//! The octets of a capture file, in pieces of known length, and the byte order of the machine that wrote them.

use std::io::{self, Read};

use super::{CaptureFault, MAX_PACKET_LENGTH};

/// Byte order of a file or section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub(super) fn u16(self, octets: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        }
    }

    pub(super) fn u32(self, octets: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        }
    }

    pub(super) fn i64(self, octets: [u8; 8]) -> i64 {
        match self {
            Self::Little => i64::from_le_bytes(octets),
            Self::Big => i64::from_be_bytes(octets),
        }
    }
}

/// Where octets come from, the one buffer they are kept in, and the count of packets that were whole.
pub(super) struct Source {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    packets: u64,
}

impl Source {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self { input, buffer: Vec::new(), packets: 0 }
    }

    /// The file's first four octets; a shorter file is none of ours.
    pub(super) fn magic(&mut self) -> Result<[u8; 4], CaptureFault> {
        let mut magic = [0; 4];
        match self.fill(&mut magic)? {
            0 => Err(CaptureFault::Empty),
            4 => Ok(magic),
            _ => Err(CaptureFault::NotACapture),
        }
    }

    /// `N` octets, or `None` where the file ends just here.
    pub(super) fn header<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CaptureFault> {
        let mut octets = [0; N];
        match self.fill(&mut octets)? {
            0 => Ok(None),
            filled if filled == N => Ok(Some(octets)),
            _ => Err(self.truncated()),
        }
    }

    /// `N` octets that have to be there.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CaptureFault> {
        self.header()?.ok_or_else(|| self.truncated())
    }

    /// `N` words of four octets that have to be there.
    pub(super) fn words<const N: usize>(&mut self, order: ByteOrder) -> Result<[u32; N], CaptureFault> {
        let mut words = [0; N];
        for word in &mut words {
            *word = order.u32(self.array()?);
        }
        Ok(words)
    }

    /// Fills the buffer with the next `length` octets. The caller has checked the length: this is where memory
    /// could be spent on a false one.
    pub(super) fn read(&mut self, length: u32) -> Result<(), CaptureFault> {
        debug_assert!(length <= MAX_PACKET_LENGTH);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(length as usize, 0);
        let filled = self.fill(&mut buffer);
        self.buffer = buffer;
        if filled? < length as usize { Err(self.truncated()) } else { Ok(()) }
    }

    /// Fills the buffer with the octets of a packet, which is then a whole one unless its block says otherwise.
    pub(super) fn read_packet(&mut self, length: u32) -> Result<(), CaptureFault> {
        if length > MAX_PACKET_LENGTH {
            return Err(self.packet_length(length));
        }
        self.read(length)
    }

    /// Passes over octets that nobody needs, however many.
    pub(super) fn skip(&mut self, length: u32) -> Result<(), CaptureFault> {
        let mut left = (&mut self.input).take(u64::from(length));
        match io::copy(&mut left, &mut io::sink()) {
            Ok(skipped) if skipped == u64::from(length) => Ok(()),
            Ok(_) => Err(self.truncated()),
            Err(source) => Err(CaptureFault::Read { packets: self.packets, source }),
        }
    }

    /// What [`Self::read`] left.
    pub(super) fn octets(&self) -> &[u8] {
        &self.buffer
    }

    /// The packet in the buffer is whole.
    pub(super) fn count_packet(&mut self) {
        self.packets += 1;
    }

    /// How many packets were whole so far.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// The number of the packet being read.
    pub(super) fn packet(&self) -> u64 {
        self.packets + 1
    }

    pub(super) fn packet_length(&self, length: u32) -> CaptureFault {
        CaptureFault::PacketLength { packet: self.packet(), length }
    }

    fn truncated(&self) -> CaptureFault {
        CaptureFault::Truncated { packets: self.packets }
    }

    /// How many octets could be filled: fewer than asked only at the end of the file.
    fn fill(&mut self, octets: &mut [u8]) -> Result<usize, CaptureFault> {
        let mut filled = 0;
        while filled < octets.len() {
            match self.input.read(&mut octets[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(CaptureFault::Read { packets: self.packets, source }),
            }
        }
        Ok(filled)
    }
}
