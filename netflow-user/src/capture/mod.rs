//! PACKET of `netflow read`: a pcap or pcapng file comes in, captured packets go out, in the file's order.
//!
//! A reader of its own, since the crates looked at (pcap-parser 0.17, pcap-file 2.0) fall short where this
//! project may not: byte order of `if_tsoffset`, time resolutions in powers of two, obsolete Packet Blocks,
//! original lengths above the snap length, the cause of a failed read. It holds one packet at a time, of at most
//! [`MAX_PACKET_LENGTH`] octets, whatever the file claims. It does not look into packets.

mod error;
mod pcap;
mod pcapng;
mod source;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use netflow_ebpf::packet::LinkType;

pub use self::error::{CaptureError, CaptureFault};
use self::pcap::PcapReader;
use self::pcapng::PcapngReader;
use self::source::Source;

/// The longest packet read: the largest snap length that libpcap accepts (MAXIMUM_SNAPLEN).
pub const MAX_PACKET_LENGTH: u32 = 262_144;

/// The link type of a LINKTYPE number; `None` where the parser knows none.
pub fn link_type(number: u32) -> Option<LinkType> {
    match number {
        // BSD loopback: of the capturing host's byte order, and of network byte order.
        0 | 108 => Some(LinkType::Loopback),
        1 => Some(LinkType::Ethernet),
        // Raw IP, and the values that some systems use for it.
        12 | 14 | 101 | 228 | 229 => Some(LinkType::RawIp),
        113 => Some(LinkType::CookedV1),
        276 => Some(LinkType::CookedV2),
        _ => None,
    }
}

/// One packet of a capture file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CapturedPacket<'a> {
    /// What its octets begin with.
    pub link_type: LinkType,
    /// When it was captured, in nanoseconds since 1970 UTC. Simple Packet Blocks carry no time: they take that of
    /// the packet before them.
    pub time_unix_nanos: u64,
    /// Its length on the wire, at least that of `octets`.
    pub wire_length: u32,
    /// What was captured of it.
    pub octets: &'a [u8],
    /// The interface that saw it: its number within its pcapng section, 0 in pcap files.
    pub interface: u32,
}

/// A capture file being read.
pub struct CaptureFile {
    path: PathBuf,
    format: Format,
    /// The end was reached or something went wrong: there is nothing more to give.
    finished: bool,
}

enum Format {
    Pcap(PcapReader),
    Pcapng(PcapngReader),
}

/// A packet whose octets wait in the source's buffer.
struct PacketHeader {
    link_type: LinkType,
    time_unix_nanos: u64,
    wire_length: u32,
    interface: u32,
}

impl CaptureFile {
    /// Opens a file and tells its format by its first octets.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref();
        let open = || {
            let file = File::open(path).map_err(CaptureFault::Open)?;
            if file.metadata().map_err(CaptureFault::Open)?.is_dir() {
                return Err(CaptureFault::Directory);
            }
            Ok(file)
        };
        let file = open().map_err(|fault| CaptureError { path: path.to_owned(), fault })?;
        Self::new(path.to_owned(), Box::new(BufReader::with_capacity(1 << 16, file)))
    }

    fn new(path: PathBuf, input: Box<dyn Read + Send>) -> Result<Self, CaptureError> {
        match Format::detect(Source::new(input)) {
            Ok(format) => Ok(Self { path, format, finished: false }),
            Err(fault) => Err(CaptureError { path, fault }),
        }
    }

    /// The next packet; `None` at the end of the file, and after an error.
    pub fn next_packet(&mut self) -> Result<Option<CapturedPacket<'_>>, CaptureError> {
        if self.finished {
            return Ok(None);
        }
        let header = match &mut self.format {
            Format::Pcap(reader) => reader.next_packet(),
            Format::Pcapng(reader) => reader.next_packet(),
        };
        self.finished = !matches!(header, Ok(Some(_)));
        let header = header.map_err(|fault| CaptureError { path: self.path.clone(), fault })?;
        let source = match &self.format {
            Format::Pcap(reader) => reader.source(),
            Format::Pcapng(reader) => reader.source(),
        };
        Ok(header.map(|header| CapturedPacket {
            link_type: header.link_type,
            time_unix_nanos: header.time_unix_nanos,
            wire_length: header.wire_length,
            octets: source.octets(),
            interface: header.interface,
        }))
    }
}

impl Format {
    fn detect(mut source: Source) -> Result<Self, CaptureFault> {
        let magic = source.magic()?;
        if magic == pcapng::SECTION_HEADER.to_be_bytes() {
            return Ok(Self::Pcapng(PcapngReader::new(source)?));
        }
        match pcap::Variant::of(magic) {
            Some(variant) => Ok(Self::Pcap(PcapReader::new(source, variant)?)),
            None => Err(match magic {
                [0x1f, 0x8b, ..] => CaptureFault::Compressed { format: "gzip" },
                [0x28, 0xb5, 0x2f, 0xfd] => CaptureFault::Compressed { format: "zstd" },
                [0xfd, b'7', b'z', b'X'] => CaptureFault::Compressed { format: "xz" },
                [b'B', b'Z', b'h', _] => CaptureFault::Compressed { format: "bzip2" },
                [0x04, 0x22, 0x4d, 0x18] => CaptureFault::Compressed { format: "lz4" },
                _ => CaptureFault::NotACapture,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
