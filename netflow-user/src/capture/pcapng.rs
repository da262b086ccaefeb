//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each with its own interfaces and byte order.

use super::source::{ByteOrder, Source};
use netflow_ebpf::packet::LinkType;

use super::{CaptureFault, MAX_PACKET_LENGTH, PacketHeader};

/// Block types (section 11.1). That of the section header reads the same in both byte orders.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MARK: u32 = 0x1a2b_3c4d;

/// Type and length before a block's body, the length again behind it.
const FRAMING: u32 = 12;

/// More interfaces than this in one section are a damaged file's.
const MAX_INTERFACES: usize = 65_536;

/// Options of an Interface Description Block (section 4.2).
const END_OF_OPTIONS: u16 = 0;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// What a packet needs to know of its interface.
struct Interface {
    link_type: u16,
    snap_length: u32,
    clock: Clock,
}

/// How an interface counts time.
#[derive(Clone, Copy)]
struct Clock {
    /// `if_tsresol`: a negative power of ten, or of two where the upper bit is set. Microseconds by default.
    resolution: u8,
    /// `if_tsoffset`: seconds to add.
    offset: i64,
}

impl Clock {
    /// Nanoseconds since 1970; the nearest end of the scale for what lies outside.
    fn unix_nanos(self, units: u64) -> u64 {
        let units = i128::from(units);
        let exponent = u32::from(self.resolution & 0x7f);
        let nanos = if self.resolution & 0x80 != 0 {
            (units * 1_000_000_000) >> exponent
        } else if exponent <= 9 {
            units * 10_i128.pow(9 - exponent)
        } else {
            // 64 bits of units of less than 10^-28 s are less than a nanosecond.
            10_i128.checked_pow(exponent - 9).map_or(0, |divisor| units / divisor)
        };
        let nanos = nanos + i128::from(self.offset) * 1_000_000_000;
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

/// Reads the packets of a pcapng file.
pub(super) struct PcapngReader {
    source: Source,
    order: ByteOrder,
    interfaces: Vec<Interface>,
    last_time: u64,
}

impl PcapngReader {
    /// Reads the rest of the first section's header.
    pub(super) fn new(source: Source) -> Result<Self, CaptureFault> {
        let mut reader = Self { source, order: ByteOrder::Little, interfaces: Vec::new(), last_time: 0 };
        reader.section_header().map_err(|fault| match fault {
            CaptureFault::ByteOrder { .. } => CaptureFault::NotACapture,
            fault => fault,
        })?;
        Ok(reader)
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn next_packet(&mut self) -> Result<Option<PacketHeader>, CaptureFault> {
        loop {
            let Some(block_type) = self.source.header()? else {
                return Ok(None);
            };
            let block_type = self.order.u32(block_type);
            if block_type == SECTION_HEADER {
                self.section_header()?;
                continue;
            }
            let [length] = self.source.words(self.order)?;
            if length < FRAMING || !length.is_multiple_of(4) {
                return Err(self.block_length(length));
            }
            let body = length - FRAMING;
            match block_type {
                INTERFACE_DESCRIPTION => self.interface_description(body)?,
                ENHANCED_PACKET | OBSOLETE_PACKET => return self.packet(block_type, body).map(Some),
                SIMPLE_PACKET => return self.simple_packet(body).map(Some),
                _ => {
                    self.source.skip(body)?;
                    self.end_block(body)?;
                }
            }
        }
    }

    /// Section 4.1, from behind the block type: the byte order stands behind the length.
    fn section_header(&mut self) -> Result<(), CaptureFault> {
        let length = self.source.array()?;
        let mark = self.source.array()?;
        self.order = [ByteOrder::Little, ByteOrder::Big]
            .into_iter()
            .find(|order| order.u32(mark) == BYTE_ORDER_MARK)
            .ok_or(CaptureFault::ByteOrder { packets: self.source.packets() })?;
        let length = self.order.u32(length);
        if length < FRAMING + 16 || !length.is_multiple_of(4) {
            return Err(self.block_length(length));
        }
        let major = self.order.u16(self.source.array()?);
        let minor = self.order.u16(self.source.array()?);
        // 1.2 is what some writers put for 1.0 (section 4.1).
        if major != 1 || !matches!(minor, 0 | 2) {
            return Err(CaptureFault::Version { format: "pcapng", major, minor });
        }
        self.source.skip(length - FRAMING - 8)?;
        self.end_block(length - FRAMING)?;
        self.interfaces.clear();
        Ok(())
    }

    /// Section 4.2.
    fn interface_description(&mut self, body: u32) -> Result<(), CaptureFault> {
        if !(8..=MAX_PACKET_LENGTH).contains(&body) {
            return Err(self.block_length(body.saturating_add(FRAMING)));
        }
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(CaptureFault::Interfaces { limit: MAX_INTERFACES });
        }
        let link_type = self.order.u16(self.source.array()?);
        self.source.skip(2)?;
        let [snap_length] = self.source.words(self.order)?;
        self.source.read(body - 8)?;
        let clock = clock(self.order, self.source.octets());
        self.end_block(body)?;
        self.interfaces.push(Interface { link_type, snap_length, clock });
        Ok(())
    }

    /// Section 4.3, and appendix A for the obsolete block: that one has a drop counter in the interface's upper half.
    fn packet(&mut self, block_type: u32, body: u32) -> Result<PacketHeader, CaptureFault> {
        if body < 20 {
            return Err(self.block_length(body + FRAMING));
        }
        let interface: [u8; 4] = self.source.array()?;
        let interface = match (block_type, interface) {
            (OBSOLETE_PACKET, [first, second, _, _]) => u32::from(self.order.u16([first, second])),
            (_, interface) => self.order.u32(interface),
        };
        let [time_high, time_low, captured, original] = self.source.words(self.order)?;
        let (link_type, clock, _) = self.interface(interface)?;
        if u64::from(captured).next_multiple_of(4) > u64::from(body - 20) {
            return Err(self.source.packet_length(captured));
        }
        self.source.read_packet(captured)?;
        // Padding and options.
        self.source.skip(body - 20 - captured)?;
        self.end_block(body)?;
        self.source.count_packet();
        self.last_time = clock.unix_nanos(u64::from(time_high) << 32 | u64::from(time_low));
        Ok(PacketHeader {
            link_type,
            time_unix_nanos: self.last_time,
            wire_length: original.max(captured),
            interface,
        })
    }

    /// Section 4.4: of the first interface, without a time, cut to its snap length.
    fn simple_packet(&mut self, body: u32) -> Result<PacketHeader, CaptureFault> {
        if body < 4 {
            return Err(self.block_length(body + FRAMING));
        }
        let [original] = self.source.words(self.order)?;
        let (link_type, _, snap_length) = self.interface(0)?;
        let captured = if snap_length == 0 { original } else { original.min(snap_length) };
        if captured > body - 4 {
            return Err(self.source.packet_length(captured));
        }
        self.source.read_packet(captured)?;
        self.source.skip(body - 4 - captured)?;
        self.end_block(body)?;
        self.source.count_packet();
        Ok(PacketHeader { link_type, time_unix_nanos: self.last_time, wire_length: original, interface: 0 })
    }

    /// What the packet being read needs to know of its interface.
    fn interface(&self, number: u32) -> Result<(LinkType, Clock, u32), CaptureFault> {
        let interface = self
            .interfaces
            .get(number as usize)
            .ok_or(CaptureFault::Interface { packet: self.source.packet(), interface: number })?;
        let link_type = u32::from(interface.link_type);
        match super::link_type(link_type) {
            Some(link_type) => Ok((link_type, interface.clock, interface.snap_length)),
            None => Err(CaptureFault::LinkType { number: link_type, interface: number }),
        }
    }

    /// The length stands again at a block's end (section 3.1); where it differs, the next block is not where
    /// this one says.
    fn end_block(&mut self, body: u32) -> Result<(), CaptureFault> {
        let [length] = self.source.words(self.order)?;
        if length == body + FRAMING { Ok(()) } else { Err(self.block_length(length)) }
    }

    fn block_length(&self, length: u32) -> CaptureFault {
        CaptureFault::BlockLength { packets: self.source.packets(), length }
    }
}

/// Finds the clock among an interface's options (section 3.5); those behind a damaged one are not read.
fn clock(order: ByteOrder, mut options: &[u8]) -> Clock {
    let mut clock = Clock { resolution: 6, offset: 0 };
    while let [code_0, code_1, length_0, length_1, rest @ ..] = options {
        let code = order.u16([*code_0, *code_1]);
        let length = usize::from(order.u16([*length_0, *length_1]));
        let Some(value) = rest.get(..length) else { break };
        match (code, value) {
            (END_OF_OPTIONS, _) => break,
            (IF_TSRESOL, [resolution]) => clock.resolution = *resolution,
            (IF_TSOFFSET, value) => {
                if let Ok(value) = value.try_into() {
                    clock.offset = order.i64(value);
                }
            }
            _ => {}
        }
        options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    clock
}
