//! Why a capture file could not be read, or not to its end.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A file, and what is wrong with it.
#[derive(Debug)]
pub struct CaptureError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: CaptureFault,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.fault)
    }
}

impl Error for CaptureError {
    // The fault's own text is already said above: only its cause is left.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// What is wrong with a capture file. Packets are counted from 1; those before a fault have all been delivered.
#[derive(Debug, thiserror::Error)]
pub enum CaptureFault {
    /// It cannot be opened.
    #[error("cannot open the capture file")]
    Open(#[source] io::Error),
    /// It is a directory.
    #[error("is a directory, not a capture file")]
    Directory,
    /// It holds nothing.
    #[error("is empty")]
    Empty,
    /// It begins as no capture file does.
    #[error("is neither a pcap nor a pcapng file")]
    NotACapture,
    /// It is compressed.
    #[error("is {format}-compressed, unpack it first")]
    Compressed {
        /// By which program.
        format: &'static str,
    },
    /// A version of the format that this reader does not know.
    #[error("is a {format} file of version {major}.{minor}, which is not supported")]
    Version {
        /// pcap or pcapng.
        format: &'static str,
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// Packets of an interface begin with a header that the parser does not know.
    #[error("has link type {number} on interface {interface}, which is not supported")]
    LinkType {
        /// The LINKTYPE number.
        number: u32,
        /// The interface.
        interface: u32,
    },
    /// The file ends inside a packet or block.
    #[error("is cut off after {packets} whole packets")]
    Truncated {
        /// How many packets were whole, and delivered.
        packets: u64,
    },
    /// The operating system could not read on.
    #[error("cannot be read on after {packets} packets")]
    Read {
        /// How many packets were delivered.
        packets: u64,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A packet claims to be longer than any packet, or than the block that holds it.
    #[error("is damaged: packet {packet} claims {length} captured octets")]
    PacketLength {
        /// The packet.
        packet: u64,
        /// What it claims.
        length: u32,
    },
    /// A block is too short for its kind, no multiple of four, or ends with another length than it began with.
    #[error("is damaged: a block after packet {packets} has the impossible length {length}")]
    BlockLength {
        /// How many packets were delivered before.
        packets: u64,
        /// The block's length.
        length: u32,
    },
    /// A section does not say which byte order it is written in.
    #[error("is damaged: the section after packet {packets} has no byte-order mark")]
    ByteOrder {
        /// How many packets were delivered before.
        packets: u64,
    },
    /// A packet names an interface without a description.
    #[error("is damaged: packet {packet} is from interface {interface}, which is not described")]
    Interface {
        /// The packet.
        packet: u64,
        /// The interface.
        interface: u32,
    },
    /// A section describes more interfaces than any capture has.
    #[error("is damaged: a section describes more than {limit} interfaces")]
    Interfaces {
        /// How many are read.
        limit: usize,
    },
}
