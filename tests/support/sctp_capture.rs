//! What an SCTP association sends, chunk by chunk (RFC 9260 section 3), as a packet socket of its namespace sees it.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::lab::Namespace;

/// Chunk types.
pub const DATA: u8 = 0;
/// Opens an association.
pub const INIT: u8 = 1;
/// Ends an association that is broken.
pub const ABORT: u8 = 6;
/// Ends an association in order.
pub const SHUTDOWN: u8 = 7;
/// The last word of an association that ends in order.
pub const SHUTDOWN_COMPLETE: u8 = 14;
/// Skips messages that are given up (RFC 3758).
pub const FORWARD_TSN: u8 = 192;
/// Of a DATA chunk that may overtake others.
pub const UNORDERED: u8 = 4;
/// The parameter of an INIT that offers partial reliability (RFC 3758 section 3.1).
pub const FORWARD_TSN_SUPPORTED: u16 = 0xc000;

const IPPROTO_SCTP: u8 = 132;
/// Common header of a packet.
const HEADER: usize = 12;
/// Fixed part of an INIT chunk.
const INIT_FIXED: usize = 20;

/// A chunk as it stands in a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The port that it went to.
    pub to: u16,
    /// DiffServ code point of its packet.
    pub dscp: u8,
    /// Time To Live of its packet.
    pub ttl: u8,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// All of it.
    pub octets: Vec<u8>,
}

impl Chunk {
    /// The types of the parameters of an INIT.
    pub fn parameters(&self) -> Vec<u16> {
        let mut rest = self.octets.get(INIT_FIXED..).unwrap_or_default();
        let mut types = Vec::new();
        while let [a, b, c, d, ..] = *rest {
            types.push(u16::from_be_bytes([a, b]));
            let length = usize::from(u16::from_be_bytes([c, d])).max(4).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        types
    }
}

/// A capture that runs.
pub struct SctpCapture {
    ends: Arc<AtomicBool>,
    task: JoinHandle<Result<Vec<Chunk>>>,
}

impl SctpCapture {
    /// Begins to capture in a namespace.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let socket = namespace.enter(|| {
            let flags = SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll)
        })??;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(50))?;
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        let task = thread::spawn(move || {
            let (mut chunks, mut buffer) = (Vec::new(), vec![0; 1 << 17]);
            loop {
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) => chunks.extend(chunks_of(&buffer[..length])),
                    Err(Errno::EAGAIN) if is_over.load(Ordering::Relaxed) => return Ok(chunks),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        });
        Ok(Self { ends, task })
    }

    /// What was sent; each twice where an interface shows what it sends and receives, as loopback does.
    pub fn stop(self) -> Result<Vec<Chunk>> {
        self.ends.store(true, Ordering::Relaxed);
        self.task.join().map_err(|_| anyhow!("the capture panicked"))?
    }
}

/// The chunks of an IPv4 packet; none where it is none of SCTP.
fn chunks_of(packet: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    if packet.first().is_none_or(|first| first >> 4 != 4) || packet.get(9) != Some(&IPPROTO_SCTP) {
        return chunks;
    }
    let Some(&[.., c, d]) = packet.get(header..header + 4) else { return chunks };
    let to = u16::from_be_bytes([c, d]);
    let (dscp, ttl) = (packet[1] >> 2, packet[8]);
    let mut rest = packet.get(header + HEADER..).unwrap_or_default();
    while let [kind, flags, a, b, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([a, b]));
        let Some(octets) = rest.get(..length).filter(|octets| octets.len() >= 4) else { break };
        chunks.push(Chunk { to, dscp, ttl, kind, flags, octets: octets.to_vec() });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_parameters_are_told_apart() {
        let init = [&[INIT, 0, 0, 28][..], &[9; 16], &[0xc0, 0, 0, 4, 0x80, 8, 0, 4]].concat();
        let data = [&[DATA, 3, 0, 18][..], &[9; 14], &[0, 0]].concat();
        let mut packet =
            [&[0x45; 1][..], &[46 << 2 | 1, 0, 0, 0, 0, 0, 0, 7], &[IPPROTO_SCTP], &[0; 10]].concat();
        packet.extend([0, 1, 0x12, 0x83, 0, 0, 0, 0, 0, 0, 0, 0]);
        let packet = [packet, data, init].concat();
        let chunks = chunks_of(&packet);
        assert_eq!(
            chunks.iter().map(|chunk| (chunk.to, chunk.kind)).collect::<Vec<_>>(),
            [(4739, DATA), (4739, INIT)]
        );
        assert_eq!((chunks[0].flags, chunks[0].octets.len()), (3, 18));
        assert_eq!((chunks[1].dscp, chunks[1].ttl), (46, 7));
        assert_eq!(chunks[1].parameters(), [FORWARD_TSN_SUPPORTED, 0x8008]);
        assert_eq!(chunks_of(&packet[..20]), []);
    }
}
