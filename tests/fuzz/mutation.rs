//! Damages frames as wires, attackers and unlucky software do: octet by octet, and by whole headers.

use netflow_ebpf::packet::{LinkType, Wide, parse, parse_inner};
use tests::wide::EVERYTHING;

use crate::random::Random;
use crate::tunnels;

/// Longer frames differ in nothing that is read, and slow the run down.
const LONGEST: usize = 1600;
/// What the kernel takes in a test run.
pub const SHORTEST: usize = 14;

/// Versions with header lengths, protocol and extension header numbers, limits.
const OCTETS: [u8; 34] = [
    0, 1, 2, 4, 5, 6, 7, 8, 0x0f, 0x10, 17, 0x1f, 0x20, 33, 43, 44, 0x40, 0x44, 0x45, 0x46, 0x4f, 50, 51, 58,
    59, 60, 0x60, 0x7f, 0x80, 132, 135, 140, 0xfe, 0xff,
];
/// EtherTypes and what is near them, lengths, fragment fields.
const PAIRS: [u16; 30] = [
    0, 1, 4, 5, 7, 8, 19, 20, 23, 24, 36, 40, 60, 0x05ff, 0x0600, 0x0800, 0x0806, 0x1fff, 0x2000, 0x2001,
    0x4000, 0x8100, 0x8847, 0x8848, 0x8863, 0x8864, 0x86dd, 0x88a8, 0x9100, 0xffff,
];
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const EXTENSIONS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

/// Turns a seed into a frame that nobody has seen, one to five steps away from it.
pub fn mutate(frame: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(5) {
        step(frame, seeds, random);
        frame.truncate(LONGEST);
        if frame.len() < SHORTEST {
            frame.resize(SHORTEST, random.octet());
        }
    }
}

fn step(frame: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    match random.below(26) {
        0 | 1 => {
            for _ in 0..=random.below(4) {
                let place = header_place(frame, random);
                frame[place] ^= 1 << random.below(8);
            }
        }
        2 | 3 => {
            let place = header_place(frame, random);
            frame[place] = random.of(&OCTETS);
        }
        4 => {
            let place = header_place(frame, random);
            frame[place] = random.octet();
        }
        5 | 6 => {
            let place = header_place(frame, random) & !1;
            put(frame, place, random.of(&PAIRS));
        }
        7 => frame.truncate(SHORTEST + random.below(frame.len())),
        8 => frame.truncate(SHORTEST + random.below(80)),
        9 => {
            let length = frame.len() + random.below(64);
            let filling = random.octet();
            frame.resize(length, filling);
        }
        10 => {
            for _ in 0..=random.below(4) {
                insert(
                    frame,
                    12,
                    &[random.of(&TAGS).to_be_bytes(), [random.octet(), random.octet()]].concat(),
                );
            }
        }
        11 if frame.len() >= 18 => drop(frame.drain(12..16)),
        12 => labels(frame, random),
        13 => wrap(frame, random),
        14 | 15 => extension(frame, random),
        16 => options(frame, random),
        17 => lengths(frame, random),
        18 => {
            let other = &seeds[random.below(seeds.len())];
            let (keep, from) = (header_place(frame, random), header_place(other, random));
            frame.truncate(keep);
            frame.extend(&other[from..]);
        }
        19 | 20 => {
            let levels = random.of(&[1, 1, 1, 1, 1, 2, 3, 6]);
            for _ in 0..levels {
                tunnels::enclose(frame, random);
            }
        }
        21 => tunnels::pretend(frame, random),
        22 => fragment(frame, random),
        23 | 24 => segment(frame, random),
        _ => {
            let start = header_place(frame, random);
            let end = (start + random.below(12)).min(frame.len());
            frame[start..end].fill_with(|| random.octet());
        }
    }
}

/// Mostly within the headers, for what lies behind them changes nothing.
fn header_place(frame: &[u8], random: &mut Random) -> usize {
    match random.below(8) {
        0 => random.below(frame.len()),
        1..4 => 12 + random.below(frame.len().min(24) - 12),
        _ => 12 + random.below(frame.len().min(100) - 12),
    }
}

pub fn put(frame: &mut [u8], place: usize, value: u16) {
    if let Some(octets) = frame.get_mut(place..place + 2) {
        octets.copy_from_slice(&value.to_be_bytes());
    }
}

pub fn insert(frame: &mut Vec<u8>, place: usize, octets: &[u8]) {
    frame.splice(place..place, octets.iter().copied());
}

/// Puts what follows the Ethernet header under a label stack of some depth.
fn labels(frame: &mut Vec<u8>, random: &mut Random) {
    let depth = 1 + random.below(12);
    put(frame, 12, random.of(&[0x8847, 0x8848]));
    for level in 0..depth {
        // The one inserted first comes to stand last.
        let bottom = u8::from(level == 0 && !random.one_in(20));
        let label = [random.octet(), random.octet(), random.octet() & 0xfe | bottom, random.octet()];
        insert(frame, 14, &label);
    }
}

/// Puts what follows the Ethernet header into PPPoE or behind LLC and SNAP.
fn wrap(frame: &mut Vec<u8>, random: &mut Random) {
    let ether_type = [frame[12], frame[13]];
    if random.one_in(2) {
        let ipv6 = ether_type == [0x86, 0xdd];
        let protocol = if random.one_in(8) {
            0xc0
        } else if ipv6 {
            0x57
        } else {
            0x21
        };
        insert(frame, 14, &[0x11, 0, random.octet(), random.octet(), 0, random.octet(), 0, protocol]);
        put(frame, 12, 0x8864);
    } else {
        insert(frame, 14, &[0xaa, 0xaa, 3, 0, 0, 0, ether_type[0], ether_type[1]]);
        put(frame, 12, random.below(0x0610) as u16);
    }
}

/// Where the outermost IP header stands, and its version.
pub fn outer_ip(frame: &[u8]) -> Option<(usize, u8)> {
    let packet = parse(frame, LinkType::Ethernet).ok()?;
    Some((packet.offset as usize, packet.key.ip_version))
}

/// Where an IP header stands, the outermost or the innermost one, if it is one of this version.
fn ip_header(frame: &[u8], version: u8, random: &mut Random) -> Option<usize> {
    let (offset, found) = if random.one_in(2) { outer_ip(frame) } else { inner_ip(frame) }?;
    (found == version).then_some(offset)
}

fn inner_ip(frame: &[u8]) -> Option<(usize, u8)> {
    let mut told = bytemuck::Zeroable::zeroed();
    let packet = parse_inner(frame, LinkType::Ethernet, &mut Wide::over(EVERYTHING, &mut told)).ok()?;
    Some((packet.offset as usize, packet.key.ip_version))
}

/// Where the innermost packet's TCP header stands: all of it is there.
fn tcp_header(frame: &[u8]) -> Option<usize> {
    let (ip, version) = inner_ip(frame)?;
    let (protocol, header) =
        if version == 4 { (frame[ip + 9], usize::from(frame[ip] & 0x0f) * 4) } else { (frame[ip + 6], 40) };
    (protocol == 6 && ip + header + 20 <= frame.len()).then_some(ip + header)
}

/// One more IPv6 extension header, the first of the chain; the payload length learns of it or does not.
fn extension(frame: &mut Vec<u8>, random: &mut Random) {
    let Some(ip) = ip_header(frame, 6, random) else { return };
    for _ in 0..=random.below(4) {
        let number = random.of(&EXTENSIONS);
        let units = if random.one_in(4) { random.below(16) } else { random.below(3) };
        let length = match number {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        let mut header = vec![0; length];
        header[0] = frame[ip + 6];
        header[1] = if random.one_in(8) { random.octet() } else { units as u8 };
        if number == 44 {
            header[1] = random.octet();
            put(&mut header, 2, random.of(&[0, 1, 6, 8, 9, 0x0100, 0xfff8, 0xffff]));
        }
        frame[ip + 6] = number;
        insert(frame, ip + 40, &header);
        if !random.one_in(4) {
            let stated = u16::from_be_bytes([frame[ip + 4], frame[ip + 5]]);
            put(frame, ip + 4, stated.wrapping_add(length as u16));
        }
    }
}

/// IPv4 options, which the header length knows of or does not.
fn options(frame: &mut Vec<u8>, random: &mut Random) {
    let Some(ip) = ip_header(frame, 4, random) else { return };
    let words = 1 + random.below(10);
    let filling = random.octet();
    insert(frame, ip + 20, &vec![filling; words * 4]);
    if !random.one_in(4) {
        frame[ip] = frame[ip] & 0xf0 | (5 + words as u8);
    }
    if !random.one_in(4) {
        let stated = u16::from_be_bytes([frame[ip + 2], frame[ip + 3]]);
        put(frame, ip + 2, stated.wrapping_add(words as u16 * 4));
    }
}

/// The IP length, near what it should be or far from it; or the fragment field.
fn lengths(frame: &mut [u8], random: &mut Random) {
    for (version, place, fixed) in [(4, 2, 0), (6, 4, 40)] {
        let Some(ip) = ip_header(frame, version, random) else { continue };
        let rest = (frame.len() - ip - fixed) as u16;
        let near = rest.wrapping_add(random.below(32) as u16).wrapping_sub(16);
        let value = if random.one_in(2) { near } else { random.below(80) as u16 };
        put(frame, ip + place, value);
        if version == 4 && random.one_in(3) {
            put(frame, ip + 6, random.of(&[0, 1, 0x1fff, 0x2000, 0x2001, 0x4000, 0x8000, 0xe000]));
        }
    }
}

/// The packet becomes a fragment, one of few packets': others are the rest of it.
fn fragment(frame: &mut Vec<u8>, random: &mut Random) {
    let offset = if random.one_in(2) { 0 } else { random.of(&[1, 2, 3, 5, 185, 0x1fff]) };
    let (more, identification) = (u16::from(!random.one_in(3)), random.below(4) as u8);
    if let Some(ip) = ip_header(frame, 4, random) {
        put(frame, ip + 4, identification.into());
        put(frame, ip + 6, more << 13 | offset);
    } else if let Some(ip) = ip_header(frame, 6, random) {
        let [high, low] = (offset << 3 | more).to_be_bytes();
        let header = [frame[ip + 6], 0, high, low, 0, 0, 0, identification];
        frame[ip + 6] = 44;
        insert(frame, ip + 40, &header);
        let stated = u16::from_be_bytes([frame[ip + 4], frame[ip + 5]]);
        put(frame, ip + 4, stated.wrapping_add(8));
    }
}

/// A TCP segment near others of its connection, of another kind, with other options.
fn segment(frame: &mut Vec<u8>, random: &mut Random) {
    let Some(tcp) = tcp_header(frame) else { return };
    if random.one_in(2) {
        let sequence = u32::from_be_bytes([frame[tcp + 4], frame[tcp + 5], frame[tcp + 6], frame[tcp + 7]]);
        let step = random.of(&[0, 1, 2, 20, 100, 1460, 0x8000_0000, u32::MAX, u32::MAX - 99]);
        frame[tcp + 4..tcp + 8].copy_from_slice(&sequence.wrapping_add(step).to_be_bytes());
    }
    if random.one_in(2) {
        frame[tcp + 13] = random.of(&[0x02, 0x12, 0x10, 0x11, 0x18, 0x04, 0xff, 0]);
    }
    if random.one_in(3) {
        let words = 1 + random.below(10);
        let mut options = Vec::new();
        while options.len() < words * 4 {
            let kinds = random.of(&[36, 36, 36, 256]);
            let (kind, length) = (random.below(kinds) as u8, random.below(12));
            options.push(kind);
            if kind > 1 {
                options.push(length as u8);
                options.resize(options.len() + length.saturating_sub(2), 0);
            }
        }
        options.truncate(words * 4);
        insert(frame, tcp + 20, &options);
        if !random.one_in(8) {
            frame[tcp + 12] = (5 + words as u8) << 4;
        }
        if let Some((ip, 4)) = inner_ip(frame) {
            let stated = u16::from_be_bytes([frame[ip + 2], frame[ip + 3]]);
            put(frame, ip + 2, stated.wrapping_add(words as u16 * 4));
        }
    } else if random.one_in(4) {
        frame[tcp + 12] = random.octet();
    }
}
