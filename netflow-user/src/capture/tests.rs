#![allow(clippy::unwrap_used, reason = "tests")]

use std::error::Error;
use std::io::Cursor;

use super::source::ByteOrder;
use super::*;

/// Writes capture files, right ones and wrong ones.
struct Writer {
    order: ByteOrder,
    octets: Vec<u8>,
}

impl Writer {
    fn new(order: ByteOrder) -> Self {
        Self { order, octets: Vec::new() }
    }

    fn u16(mut self, value: u16) -> Self {
        self.octets.extend(match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        });
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.octets.extend(match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        });
        self
    }

    fn i64(mut self, value: i64) -> Self {
        self.octets.extend(match self.order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        });
        self
    }

    fn octets(mut self, octets: &[u8]) -> Self {
        self.octets.extend(octets);
        self
    }

    fn pad(mut self) -> Self {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
        self
    }

    fn pcap(order: ByteOrder, magic: u32, link_type: u32) -> Self {
        Self::new(order).u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65_535).u32(link_type)
    }

    fn record(self, seconds: u32, fraction: u32, octets: &[u8], original: u32) -> Self {
        let captured = u32::try_from(octets.len()).unwrap();
        self.u32(seconds).u32(fraction).u32(captured).u32(original).octets(octets)
    }

    fn block(self, block_type: u32, body: impl FnOnce(Self) -> Self) -> Self {
        let body = body(Self::new(self.order)).pad().octets;
        let length = u32::try_from(body.len()).unwrap() + 12;
        self.u32(block_type).u32(length).octets(&body).u32(length)
    }

    fn section(self) -> Self {
        self.block(0x0a0d_0d0a, |body| body.u32(0x1a2b_3c4d).u16(1).u16(0).i64(-1))
    }

    fn interface(self, link_type: u16, snap_length: u32, options: impl FnOnce(Self) -> Self) -> Self {
        self.block(1, |body| options(body.u16(link_type).u16(0).u32(snap_length)))
    }

    fn enhanced(self, interface: u32, time: u64, octets: &[u8], original: u32) -> Self {
        let captured = u32::try_from(octets.len()).unwrap();
        self.block(6, |body| {
            let body = body.u32(interface).u32((time >> 32) as u32).u32(time as u32);
            // A comment behind the packet, as an example of an option.
            body.u32(captured).u32(original).octets(octets).pad().u16(1).u16(3).octets(b"abc").pad().u32(0)
        })
    }
}

fn open(octets: &[u8]) -> Result<CaptureFile, CaptureError> {
    CaptureFile::new("test.pcap".into(), Box::new(Cursor::new(octets.to_vec())))
}

/// All packets as (link type, time, wire length, octets, interface), and what came after them.
type Packets = Vec<(LinkType, u64, u32, Vec<u8>, u32)>;
fn read(octets: &[u8]) -> (Packets, Option<CaptureFault>) {
    let mut packets = Vec::new();
    let mut file = match open(octets) {
        Ok(file) => file,
        Err(error) => return (packets, Some(error.fault)),
    };
    loop {
        match file.next_packet() {
            Ok(Some(packet)) => packets.push((
                packet.link_type,
                packet.time_unix_nanos,
                packet.wire_length,
                packet.octets.to_vec(),
                packet.interface,
            )),
            Ok(None) => return (packets, None),
            Err(error) => {
                assert!(file.next_packet().unwrap().is_none(), "an error is the end");
                return (packets, Some(error.fault));
            }
        }
    }
}

fn fault(octets: &[u8]) -> String {
    open(octets).and_then(|mut file| file.next_packet().map(|_| ())).unwrap_err().to_string()
}

/// One of each kind of block, in both byte orders, with packets of 5, 6, 7 and 3 octets.
fn pcapng() -> Vec<u8> {
    let second = Writer::new(ByteOrder::Big)
        .section()
        .interface(101, 6, |options| {
            // Binary fractions of a second, and ten seconds to add.
            options.u16(9).u16(1).octets(&[0x80 | 10]).pad().u16(14).u16(8).i64(10).u32(0)
        })
        .enhanced(0, 1024 + 512, b"second", 60)
        .block(3, |body| body.u32(7).octets(b"simple"))
        .block(2, |body| body.u16(0).u16(9).u32(0).u32(2048).u32(3).u32(3).octets(b"old"));
    Writer::new(ByteOrder::Little)
        .section()
        .interface(1, 0, |options| options)
        .interface(276, 0, |options| {
            options.u16(2).u16(2).octets(b"m0").pad().u16(9).u16(1).octets(&[9]).pad()
        })
        .block(4, |body| body.octets(b"names of hosts"))
        .enhanced(1, 1_700_000_000_123_456_789, b"first", 1500)
        .octets(&second.octets)
        .octets
}

const PCAPNG_PACKETS: usize = 4;

#[test]
fn pcap_files_of_both_byte_orders_and_resolutions_are_read() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        for (magic, nanos) in [(0xa1b2_c3d4, 123_456_000), (0xa1b2_3c4d, 123_456)] {
            let file = Writer::pcap(order, magic, 1).record(1_700_000_000, 123_456, b"first", 1500).record(
                u32::MAX,
                0,
                b"",
                0,
            );
            let (packets, fault) = read(&file.octets);
            assert!(fault.is_none(), "{fault:?}");
            let first = (LinkType::Ethernet, 1_700_000_000_000_000_000 + nanos, 1500, b"first".to_vec(), 0);
            let last = (LinkType::Ethernet, u64::from(u32::MAX) * 1_000_000_000, 0, Vec::new(), 0);
            assert_eq!(packets, [first, last]);
        }
    }
}

#[test]
fn records_of_the_patched_libpcap_have_longer_headers() {
    let file = Writer::pcap(ByteOrder::Little, 0xa1b2_cd34, 1);
    let file = file.u32(1).u32(2).u32(3).u32(3).octets(&[0; 8]).octets(b"abc");
    let (packets, fault) = read(&file.octets);
    assert!(fault.is_none(), "{fault:?}");
    assert_eq!(packets, [(LinkType::Ethernet, 1_000_002_000, 3, b"abc".to_vec(), 0)]);
}

#[test]
fn sections_interfaces_and_all_packet_blocks_of_pcapng_are_read() {
    let (packets, fault) = read(&pcapng());
    assert!(fault.is_none(), "{fault:?}");
    assert_eq!(
        packets,
        [
            (LinkType::CookedV2, 1_700_000_000_123_456_789, 1500, b"first".to_vec(), 1),
            (LinkType::RawIp, 11_500_000_000, 60, b"second".to_vec(), 0),
            // Seven octets, of which the interface keeps six; no time of its own.
            (LinkType::RawIp, 11_500_000_000, 7, b"simple".to_vec(), 0),
            (LinkType::RawIp, 12_000_000_000, 3, b"old".to_vec(), 0),
        ]
    );
}

#[test]
fn times_are_right_at_every_resolution() {
    let nanos = |resolution, offset, units| pcapng_clock(resolution, offset, units);
    assert_eq!(nanos(0, 0, 7), 7_000_000_000);
    assert_eq!(nanos(12, 0, 5_678_901), 5_678);
    assert_eq!(nanos(0x80 | 32, 0, 3 << 31), 1_500_000_000);
    assert_eq!(nanos(6, -1, 1_500_000), 500_000_000);
    assert_eq!(nanos(6, -2, 1_500_000), 0);
    assert_eq!(nanos(0, 0, u64::MAX), u64::MAX);
    for resolution in 0..=u8::MAX {
        for offset in [i64::MIN, 0, i64::MAX] {
            nanos(resolution, offset, u64::MAX);
        }
    }
}

fn pcapng_clock(resolution: u8, offset: i64, units: u64) -> u64 {
    let file = Writer::new(ByteOrder::Big)
        .section()
        .interface(1, 0, |options| {
            options.u16(9).u16(1).octets(&[resolution]).pad().u16(14).u16(8).i64(offset).u32(0)
        })
        .enhanced(0, units, b"x", 1);
    let (packets, fault) = read(&file.octets);
    assert!(fault.is_none(), "{fault:?}");
    packets[0].1
}

#[test]
fn link_types_are_those_of_the_parser_and_others_are_named() {
    for (number, link_type) in [
        (0, LinkType::Loopback),
        (1, LinkType::Ethernet),
        (12, LinkType::RawIp),
        (14, LinkType::RawIp),
        (101, LinkType::RawIp),
        (108, LinkType::Loopback),
        (113, LinkType::CookedV1),
        (228, LinkType::RawIp),
        (229, LinkType::RawIp),
        (276, LinkType::CookedV2),
    ] {
        let file = Writer::pcap(ByteOrder::Big, 0xa1b2_c3d4, number).record(0, 0, b"x", 1);
        assert_eq!(read(&file.octets).0[0].0, link_type);
    }
    let file = Writer::pcap(ByteOrder::Little, 0xa1b2_c3d4, 105);
    assert_eq!(fault(&file.octets), "test.pcap: has link type 105 on interface 0, which is not supported");
    // Of pcapng's interfaces only those with packets matter.
    let file = Writer::new(ByteOrder::Little).section().interface(147, 0, |options| options);
    assert!(read(&file.octets).1.is_none());
    assert_eq!(
        fault(&file.enhanced(0, 0, b"x", 1).octets),
        "test.pcap: has link type 147 on interface 0, which is not supported"
    );
}

#[test]
fn what_is_no_capture_file_is_told_apart() {
    assert_eq!(fault(b""), "test.pcap: is empty");
    for octets in [&b"\xd4\xc3\xb2"[..], b"hello, world", b"\x0a\x0d\x0d\x0a\x1c\0\0\0hello, world"] {
        assert_eq!(fault(octets), "test.pcap: is neither a pcap nor a pcapng file");
    }
    assert_eq!(fault(b"\x1f\x8b\x08\0\0\0"), "test.pcap: is gzip-compressed, unpack it first");
    assert_eq!(fault(b"\x28\xb5\x2f\xfd\0\0"), "test.pcap: is zstd-compressed, unpack it first");
    let mut old = Writer::pcap(ByteOrder::Little, 0xa1b2_c3d4, 1).octets;
    old[6] = 3;
    assert_eq!(fault(&old), "test.pcap: is a pcap file of version 2.3, which is not supported");
    let mut new = pcapng();
    new[12] = 2;
    assert_eq!(fault(&new), "test.pcap: is a pcapng file of version 2.0, which is not supported");
}

#[test]
fn a_missing_file_and_a_directory_are_told_apart() {
    let directory = env!("CARGO_MANIFEST_DIR");
    let error = CaptureFile::open(directory).err().unwrap();
    assert_eq!(error.to_string(), format!("{directory}: is a directory, not a capture file"));
    let error = CaptureFile::open("/nonexistent/file.pcap").err().unwrap();
    assert_eq!(error.to_string(), "/nonexistent/file.pcap: cannot open the capture file");
    assert!(error.source().unwrap().to_string().starts_with("No such file"));
}

#[test]
fn impossible_lengths_are_errors_before_memory_is_spent() {
    for length in [MAX_PACKET_LENGTH + 1, u32::MAX] {
        let file = Writer::pcap(ByteOrder::Little, 0xa1b2_c3d4, 1).record(0, 0, b"first", 5);
        let file = file.u32(0).u32(0).u32(length).u32(60).octets(&[0; 60]);
        let (packets, fault) = read(&file.octets);
        assert_eq!(packets.len(), 1);
        assert_eq!(
            fault.unwrap().to_string(),
            format!("is damaged: packet 2 claims {length} captured octets")
        );

        let file = Writer::new(ByteOrder::Big).section().interface(1, 0, |options| options);
        let file = file.block(6, |body| body.u32(0).u32(0).u32(0).u32(length).u32(60).octets(&[0; 60]));
        let (packets, fault) = read(&file.octets);
        assert_eq!(packets.len(), 0);
        assert_eq!(
            fault.unwrap().to_string(),
            format!("is damaged: packet 1 claims {length} captured octets")
        );
    }
}

#[test]
fn a_block_of_any_length_that_holds_no_packet_is_passed_over() {
    let file = Writer::new(ByteOrder::Little)
        .section()
        .interface(1, 0, |options| options)
        .block(10, |body| body.octets(&vec![0; 3 * MAX_PACKET_LENGTH as usize]))
        .enhanced(0, 0, b"x", 1);
    let (packets, fault) = read(&file.octets);
    assert!(fault.is_none(), "{fault:?}");
    assert_eq!(packets.len(), 1);
}

#[test]
fn damaged_blocks_are_named() {
    let start = || Writer::new(ByteOrder::Little).section().interface(1, 0, |options| options);
    let text = |file: Writer| fault(&file.octets);
    let length =
        |length| format!("test.pcap: is damaged: a block after packet 0 has the impossible length {length}");
    assert_eq!(text(start().u32(6).u32(8).u32(8)), length(8));
    assert_eq!(text(start().u32(5).u32(15).octets(&[0; 7])), length(15));
    assert_eq!(text(start().u32(5).u32(12).u32(16)), length(16));
    assert_eq!(text(start().block(6, |body| body.u32(0))), length(16));
    assert_eq!(
        text(start().enhanced(1, 0, b"x", 1)),
        "test.pcap: is damaged: packet 1 is from interface 1, which is not described"
    );
    assert_eq!(
        text(start().block(0x0a0d_0d0a, |body| body.octets(&[0; 16]))),
        "test.pcap: is damaged: the section after packet 0 has no byte-order mark"
    );
    let mut many = start();
    for _ in 0..65_536 {
        many = many.interface(1, 0, |options| options);
    }
    assert_eq!(text(many), "test.pcap: is damaged: a section describes more than 65536 interfaces");
}

#[test]
fn every_prefix_delivers_its_whole_packets_and_says_how_many_they_are() {
    let pcap = Writer::pcap(ByteOrder::Big, 0xa1b2_c3d4, 1)
        .record(1, 0, b"first", 1500)
        .record(2, 0, b"second", 6)
        .record(3, 0, b"third", 5);
    for file in [pcap.octets, pcapng()] {
        let (all, fault) = read(&file);
        assert!(fault.is_none(), "{fault:?}");
        let mut boundaries = 0;
        for length in 4..file.len() {
            let (packets, fault) = read(&file[..length]);
            assert!(all.starts_with(&packets), "prefix of {length} octets");
            match fault {
                Some(CaptureFault::Truncated { packets: whole }) => assert_eq!(whole, packets.len() as u64),
                None => boundaries += 1,
                fault => panic!("prefix of {length} octets: {fault:?}"),
            }
        }
        // Behind the pcap header and each record but the last; behind each pcapng block but the last.
        assert_eq!(boundaries, if all.len() == PCAPNG_PACKETS { 9 } else { 3 });
    }
}

#[test]
fn flipped_bits_neither_panic_nor_multiply_packets() {
    let pcap = Writer::pcap(ByteOrder::Little, 0xa1b2_3c4d, 1)
        .record(1, 0, b"a packet of some length", 1500)
        .record(2, 0, b"and another one", 15);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % limit as u64) as usize
    };
    for file in [pcap.octets, pcapng()] {
        for _ in 0..20_000 {
            let mut damaged = file.clone();
            for _ in 0..=random(4) {
                damaged[random(file.len())] ^= 1 << random(8);
            }
            let (packets, _) = read(&damaged);
            // Each packet takes at least its 16 octets of header.
            assert!(packets.len() <= file.len() / 16);
            for (_, _, wire_length, octets, _) in packets {
                assert!(octets.len() <= file.len() && octets.len() <= wire_length as usize);
            }
        }
    }
}
