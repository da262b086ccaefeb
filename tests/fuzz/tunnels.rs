//! Puts packets into tunnels, and into tunnels in tunnels: what stands in their headers is mostly right.

use tests::frames::UDP;
use tests::tunnels::{BRIDGED, GENEVE, GRE, GTP_U, IPV4_IN_IP, IPV6_IN_IP, VXLAN};

use crate::mutation::{insert, outer_ip, put};
use crate::random::Random;

/// One more tunnel around the frame's IP packet, or around the whole frame.
pub fn enclose(frame: &mut Vec<u8>, random: &mut Random) {
    let Some((ip, version)) = outer_ip(frame) else { return };
    let ether_type = if version == 4 { 0x0800 } else { 0x86dd };
    let whole = random.one_in(2);
    let inner = if whole { frame.clone() } else { frame[ip..].to_vec() };
    let (protocol, header) = match (random.below(6), whole) {
        (0 | 1, false) => (if version == 4 { IPV4_IN_IP } else { IPV6_IN_IP }, Vec::new()),
        (0 | 1, true) => (UDP, udp(VXLAN, &vxlan(random), inner.len())),
        (2 | 3, _) => (GRE, gre(if whole { BRIDGED } else { ether_type }, random)),
        (4, false) => (UDP, udp(GTP_U, &gtp_u(random, inner.len()), inner.len())),
        _ => (UDP, udp(GENEVE, &geneve(if whole { BRIDGED } else { ether_type }, random), inner.len())),
    };
    let version = if random.one_in(3) { 6 } else { 4 };
    let outer = ip_header(version, protocol, header.len() + inner.len(), random);
    frame.truncate(ip);
    // Behind labels the header says its version itself, in PPPoE another number does.
    let before = u16::from_be_bytes([frame[ip - 2], frame[ip - 1]]);
    if matches!(before, 0x0800 | 0x86dd) {
        put(frame, ip - 2, if version == 4 { 0x0800 } else { 0x86dd });
    }
    frame.extend([outer, header, inner].concat());
}

/// An IP header of few addresses, so that fragments and segments meet their like.
fn ip_header(version: u8, protocol: u8, payload: usize, random: &mut Random) -> Vec<u8> {
    let host = random.below(4) as u8;
    if version == 4 {
        let mut header = vec![0x45, random.octet()];
        header.extend((20 + payload as u16).to_be_bytes());
        let fragmentation =
            if random.one_in(8) { random.of(&[0x2000, 0x2001, 1, 0x8000]) } else { 0x4000_u16 };
        header.extend([0, random.below(4) as u8]);
        header.extend(fragmentation.to_be_bytes());
        header.extend([64, protocol, 0, 0, 172, 16, 0, host, 172, 16, 1, 1]);
        return header;
    }
    let mut header = vec![0x60, 0, 0, random.octet()];
    header.extend((payload as u16).to_be_bytes());
    header.extend([protocol, 64]);
    header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    header
}

fn udp(port: u16, header: &[u8], inner: usize) -> Vec<u8> {
    let mut datagram = [40_000_u16.to_be_bytes(), port.to_be_bytes()].concat();
    datagram.extend((8 + (header.len() + inner) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(header);
    datagram
}

/// RFC 2784 and RFC 2890; sometimes with bits that are not read.
fn gre(protocol: u16, random: &mut Random) -> Vec<u8> {
    let mut flags = random.next() as u16 & 0xb000;
    if random.one_in(10) {
        flags |= random.of(&[0x4000, 0x0001, 0x0007, 0x0800, 0x0080]);
    }
    let protocol = if random.one_in(10) { random.of(&[0x88be, 0x22eb, 0x880b, 0x8847]) } else { protocol };
    let mut header = [flags.to_be_bytes(), protocol.to_be_bytes()].concat();
    let words = [0x8000, 0x2000, 0x1000].iter().filter(|flag| flags & **flag != 0).count();
    header.resize_with(4 + 4 * words, || random.octet() & 3);
    header
}

/// RFC 7348.
fn vxlan(random: &mut Random) -> Vec<u8> {
    let flags = if random.one_in(10) { random.octet() } else { 8 };
    vec![flags, 0, 0, 0, 0, 0, random.octet() & 3, 0]
}

/// RFC 8926.
fn geneve(protocol: u16, random: &mut Random) -> Vec<u8> {
    let words = if random.one_in(4) { random.below(64) } else { random.below(6) };
    let control = if random.one_in(10) { random.octet() } else { 0 };
    let version = if random.one_in(20) { 0x40 } else { 0 };
    let mut header = vec![version | words as u8, control];
    header.extend(protocol.to_be_bytes());
    header.extend([0, 0, random.octet() & 3, 0]);
    header.resize_with(8 + 4 * words, || random.octet());
    header
}

/// 3GPP TS 29.281: with a chain of extension headers, as many as are read or more.
fn gtp_u(random: &mut Random, inner: usize) -> Vec<u8> {
    let flags = if random.one_in(2) { 0x30 } else { 0x30 | random.octet() & 7 };
    let message = if random.one_in(10) { random.octet() } else { 0xff };
    let mut header = vec![flags, message, 0, 0, 0, 0, 0, random.octet() & 3];
    if flags & 7 != 0 {
        let extensions = if random.one_in(2) { 0 } else { random.below(6) };
        header.extend([0, 1, 0, if extensions == 0 { 0 } else { 0x85 }]);
        for left in (0..extensions).rev() {
            let units = if random.one_in(8) { random.octet() } else { 1 + random.below(2) as u8 };
            let mut extension = vec![0; (usize::from(units) * 4).max(4)];
            extension[0] = units;
            *extension.last_mut().unwrap() = if left == 0 { 0 } else { random.of(&[0x85, 0xc0, 0x40]) };
            header.extend(extension);
        }
    }
    let length = (header.len() - 8 + inner) as u16;
    put(&mut header, 2, length);
    header
}

/// Ports of a UDP packet become those of a tunnel, whatever is inside.
pub fn pretend(frame: &mut Vec<u8>, random: &mut Random) {
    let Some((ip, 4)) = outer_ip(frame) else { return };
    let transport = ip + usize::from(frame[ip] & 0x0f) * 4;
    if frame.len() < transport + 4 {
        return;
    }
    frame[ip + 9] = UDP;
    put(frame, transport + 2, random.of(&[GTP_U, VXLAN, GENEVE]));
    if random.one_in(2) {
        let header = match random.below(3) {
            0 => vxlan(random),
            1 => geneve(random.of(&[0x0800, 0x86dd, BRIDGED]), random),
            _ => gtp_u(random, 0),
        };
        let place = (transport + 8).min(frame.len());
        insert(frame, place, &header);
    }
}
