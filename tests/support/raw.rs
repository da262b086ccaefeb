//! Frames of any content, one at a time, through a packet socket.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, send, socket};

use crate::lab::Namespace;

/// Sends frames from an interface.
pub struct RawSender {
    socket: OwnedFd,
}

impl RawSender {
    /// Opens an interface for sending.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.enter(|| {
            // The list holds each interface's link-layer address, with protocol 0: this socket receives nothing.
            let address = getifaddrs()?
                .filter(|entry| entry.interface_name == interface)
                .find_map(|entry| entry.address?.as_link_addr().copied())
                .with_context(|| format!("no interface {interface}"))?;
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            bind(socket.as_raw_fd(), &address)?;
            Ok(Self { socket })
        })?
    }

    /// Sends one frame, Ethernet header included.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty())
            .with_context(|| format!("cannot send a frame of {} octets", frame.len()))?;
        ensure!(sent == frame.len(), "sent {sent} of {} octets", frame.len());
        Ok(())
    }

    /// Sends frames in their order.
    pub fn send_all<'a>(&self, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        frames.into_iter().try_for_each(|frame| self.send(frame))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use crate::frames::*;
    use crate::judges::Tshark;
    use crate::lab::{FOREIGN_MAC, GENERATOR_INTERFACE, GENERATOR_MAC, Lab, LabOptions, MONITOR_INTERFACE};

    use super::*;

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn frames_arrive_as_they_were_made_with_right_checksums() {
        let lab = Lab::new(LabOptions::default()).unwrap();
        let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
        let (from, to) = ("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:2000".parse().unwrap());
        let (from6, to6) = ("[fd00::1]:1000".parse().unwrap(), "[fd00::2]:2000".parse().unwrap());
        let frames = [
            frame(&tcp(from, to, FIN | ACK, 7, b"odd")),
            frame(&udp(from6, to6, b"even")),
            frame(&tcp(from6, to6, RST, 7, b"")),
            ethernet(
                FOREIGN_MAC,
                GENERATOR_MAC,
                ETHERTYPE_VLAN,
                &vlan(123, ETHERTYPE_IPV4, &udp(from, to, &[0; 1472])),
            ),
            frame(&icmp(from.ip(), to.ip(), 8, 0, b"abcdef")),
        ];
        let tshark = Tshark::start(&lab.monitor, MONITOR_INTERFACE, "").unwrap();
        sender.send_all(frames.iter().map(Vec::as_slice)).unwrap();
        let capture = tshark.stop().unwrap();
        let fields = ["frame.len", "ip.proto", "ipv6.nxt", "tcp.flags", "vlan.id", "icmp.type"];
        let rows: Vec<String> = capture
            .fields(&fields)
            .unwrap()
            .iter()
            .map(|row| row.iter().map(|values| values.concat()).collect::<Vec<_>>().join(","))
            .collect();
        assert_eq!(rows, ["57,6,,0x0011,,", "66,,17,,,", "74,,6,0x0004,,", "1518,17,,,123,", "44,1,,,,8"]);
        let statuses =
            ["ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status"];
        for status in capture.fields(&statuses).unwrap().concat().concat() {
            assert_eq!(status, "1", "a checksum is wrong");
        }
    }
}
