//! Filters: what libpcap compiles, run on the host and translated for the kernel. tcpdump judges the host, the host
//! the kernel.

use std::process::Command;
use std::sync::Arc;

use netflow_common::{KernelStats, Skip};
use netflow_ebpf::packet::LinkType;
use netflow_user::capture::CaptureFile;
use netflow_user::filter::classic::{ClassicProgram, RawInstruction};
use netflow_user::filter::interpreter::{PacketContext, matches};
use netflow_user::filter::{DataLink, Filter};
use netflow_user::kernel::{EntryPoint, Flip, Link, LoadOptions, Measure, SocketBuffer};
use tests::captures::{Capture, find};
use tests::expressions::EXPRESSIONS;
use tests::frame_table::frame_table;
use tests::frames::{frame, tcp, udp};
use tests::meter::{
    Counted, HostMeter, KernelMeter, LOAD_OPTIONS, TEST_RUN_INTERFACE, direction, link_type, pass,
};
use tests::wide::EVERYTHING;

use crate::random::Random;

fn frames(capture: &Capture) -> Vec<(Vec<u8>, u32)> {
    let mut file = CaptureFile::open(&capture.path).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = file.next_packet().unwrap() {
        frames.push((packet.octets.to_vec(), packet.wire_length));
    }
    frames
}

fn captures() -> Vec<Capture> {
    find().unwrap().unwrap_or_default()
}

/// What a test run gives: the whole packet, on the loopback interface.
fn context(entry: EntryPoint, frame: &[u8]) -> PacketContext {
    let outgoing = direction(entry) == 1;
    PacketContext { length: frame.len() as u32, outgoing, interface: TEST_RUN_INTERFACE }
}

fn load(filter: &Filter, entry: EntryPoint) -> KernelMeter {
    let options = LoadOptions { filter: Some(Arc::new(filter.clone())), ..LOAD_OPTIONS };
    KernelMeter::load_at(&options, entry).unwrap()
}

fn data_link(entry: EntryPoint) -> DataLink {
    if link_type(entry) == LinkType::Ethernet { DataLink::Ethernet } else { DataLink::RawIp }
}

/// Both meters of an entry point, which take the same packets.
struct Pair<'a> {
    entry: EntryPoint,
    program: &'a ClassicProgram,
    kernel: KernelMeter,
    host: HostMeter,
}

impl<'a> Pair<'a> {
    fn load(filter: &'a Filter, entry: EntryPoint) -> Self {
        let program = filter.program(data_link(entry)).unwrap();
        Self { entry, program, kernel: load(filter, entry), host: HostMeter::default() }
    }

    /// Whether a test run can show this packet to the entry point as an interface would.
    fn takes(&self, frame: &[u8]) -> bool {
        let shortest = if self.entry.is_xdp() { 14 } else { 15 };
        let longest = if self.entry == EntryPoint::XdpFragments { usize::MAX } else { 3000 };
        (shortest..longest).contains(&frame.len())
    }

    fn enter(&mut self, frame: &[u8], name: &str) {
        match self.kernel.enter(frame) {
            // Kernels differ in how much of a header a test run must have.
            Err(_) if !self.entry.is_xdp() && frame.len() < SHORTEST_BUFFER => {}
            returned => {
                assert_eq!(returned.unwrap(), pass(self.entry), "{name}");
                self.enter_host(frame);
            }
        }
    }

    /// The kernel sees 20 octets in the linear part: what lies behind is loaded by the helper.
    fn enter_split(&mut self, frame: &[u8]) {
        self.kernel.enter_split(frame, frame.len().min(20)).unwrap();
        self.enter_host(frame);
    }

    fn enter_host(&mut self, frame: &[u8]) {
        if matches(self.program, frame, &context(self.entry, frame)) {
            self.host.enter_at(self.entry, frame);
        } else {
            self.host.filter_at(self.entry, frame);
        }
    }

    /// What was counted, the same by both.
    fn take(&mut self, name: &str) -> Counted {
        let found = self.kernel.take().unwrap();
        assert_eq!(found.difference(&self.host.take()), None, "{:?}: {name}", self.entry);
        assert!(found.balanced(), "{name}");
        found
    }
}

#[test]
fn the_host_matches_as_many_packets_of_every_capture_as_tcpdump() {
    let (mut compared, mut found) = (0, 0);
    for expression in EXPRESSIONS {
        let filter = Filter::compile(expression).unwrap();
        let mut anywhere = 0;
        for capture in captures() {
            let matched = frames(&capture)
                .iter()
                .filter(|(frame, length)| filter.matches(LinkType::Ethernet, frame, *length).unwrap())
                .count();
            let mut tcpdump = Command::new("tcpdump");
            let output =
                tcpdump.args(["-n", "--count", "-r"]).arg(&capture.path).arg(expression).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let judged: usize = said.split_whitespace().next().unwrap().parse().unwrap();
            assert_eq!(matched, judged, "{}: {expression}", capture.name);
            anywhere += matched;
            compared += 1;
        }
        found += usize::from(anywhere > 0);
    }
    eprintln!("{compared} counts as tcpdump's; {found} of {} expressions match something", EXPRESSIONS.len());
}

/// Ethernet and IPv6 header: test runs of socket buffers may be refused below that.
const SHORTEST_BUFFER: usize = 54;

/// What only the kernel can be asked.
const DIRECTED: [&str; 4] =
    ["inbound", "outbound", "inbound and tcp or outbound and udp", "not outbound and ifindex 1"];

/// What is shown the captures as well as the table, like XDP, for some expressions.
const READING_SOME: [EntryPoint; 2] =
    [EntryPoint::TcIngress(Link::Ethernet), EntryPoint::TcEgress(Link::RawIp)];

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_match_the_same_packets_at_every_entry_point() {
    let table = frame_table();
    let captures: Vec<(String, Vec<Vec<u8>>)> = captures()
        .iter()
        .map(|capture| (capture.name.clone(), frames(capture).into_iter().map(|(frame, _)| frame).collect()))
        .collect();
    let (mut packets, mut filtered, mut refused) = (0, 0, 0);
    for (number, expression) in EXPRESSIONS.iter().chain(&DIRECTED).enumerate() {
        let filter = Filter::compile(expression).unwrap();
        for entry in EntryPoint::ALL {
            if let Err(error) = filter.program(data_link(entry)) {
                // libpcap cannot ask it of packets without an Ethernet header, and says so.
                assert!(error.to_string().contains("without an Ethernet header"), "{error}");
                refused += 1;
                continue;
            }
            let mut pair = Pair::load(&filter, entry);
            let splits = entry != EntryPoint::Xdp && pair.kernel.splits();
            for case in table.iter().filter(|case| case.link == link_type(entry)) {
                if pair.takes(&case.frame) {
                    pair.enter(&case.frame, expression);
                    if splits && (SHORTEST_BUFFER..3000).contains(&case.frame.len()) {
                        pair.enter_split(&case.frame);
                    }
                    pair.take(&format!("{expression}: {}", case.name));
                }
            }
            // Every kind of program and link, at TC with some of the expressions: they take their time.
            let read = entry == EntryPoint::XdpFragments || READING_SOME.contains(&entry) && number % 6 == 0;
            let captures = if read { captures.as_slice() } else { &[] };
            for (name, frames) in captures {
                for frame in frames {
                    let packet = match (data_link(entry), frame.get(12..14)) {
                        (DataLink::RawIp, Some([8, 0] | [0x86, 0xdd])) => &frame[14..],
                        (DataLink::RawIp, _) => continue,
                        _ => frame.as_slice(),
                    };
                    if pair.takes(packet) {
                        pair.enter(packet, name);
                        packets += 1;
                    }
                }
                filtered += pair.take(expression).stats.skipped_packets[Skip::Filtered as usize];
            }
        }
    }
    eprintln!(
        "{packets} packets of captures: the same match, the same {filtered} are counted as filtered; {refused} times \
         an expression is refused without an Ethernet header"
    );
    assert!(packets == 0 || filtered > 0);
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn what_does_not_match_is_counted_with_its_octets_and_what_does_is_entered_with_either_width() {
    let packet = udp("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:2000".parse().unwrap(), &[7; 100]);
    let octets = packet.len() as u64;
    for (expression, filtered) in [("tcp port 1", 1), ("udp port 2000", 0)] {
        let filter = Some(Arc::new(Filter::compile(expression).unwrap()));
        for measure in [Measure::DEFAULT, EVERYTHING] {
            for entry in EntryPoint::ALL {
                let options = LoadOptions { filter: filter.clone(), measure, flow_table: 0, ..LOAD_OPTIONS };
                let mut meter = KernelMeter::load_at(&options, entry).unwrap();
                let shown =
                    if link_type(entry) == LinkType::Ethernet { frame(&packet) } else { packet.clone() };
                assert_eq!(meter.enter(&shown).unwrap(), pass(entry));
                let mut expected = KernelStats {
                    seen_packets: 1,
                    seen_octets: octets,
                    inserted: 1 - filtered,
                    ..KernelStats::default()
                };
                expected.skipped_packets[Skip::Filtered as usize] = filtered;
                expected.skipped_octets[Skip::Filtered as usize] = filtered * octets;
                let frozen = meter.kernel.flip(Flip::NoWait).unwrap();
                let mut found = KernelStats::default();
                for stats in meter.kernel.take_stats(frozen).unwrap() {
                    found.add(&stats);
                }
                assert_eq!(found, expected, "{expression} {entry:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_merged_packet_that_does_not_match_is_filtered_as_its_segments() {
    let (from, to) = ("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:2000".parse().unwrap());
    let packet = frame(&tcp(from, to, 0x10, 1, &[7; 1100]));
    let buffer = SocketBuffer { segments: 3, segment_size: 500, ..SocketBuffer::default() };
    for (expression, filtered) in [("udp", 3), ("tcp", 0)] {
        let filter = Filter::compile(expression).unwrap();
        for entry in [EntryPoint::TcIngress(Link::Ethernet), EntryPoint::TcEgress(Link::Ethernet)] {
            let mut kernel = load(&filter, entry);
            kernel.enter_buffer(&packet, &buffer).unwrap();
            let found = kernel.take().unwrap();
            assert!(found.balanced(), "{found:?}");
            let octets = 1100 + 3 * 40;
            assert_eq!((found.stats.seen_packets, found.stats.seen_octets), (3, octets));
            let skipped = (found.stats.skipped_packets[0], found.stats.skipped_octets[0]);
            assert_eq!(skipped, (filtered, octets * filtered / 3), "{expression}, {entry:?}");
        }
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn programs_that_no_compiler_writes_run_as_on_the_host() {
    let mut random = Random(0x0f11_7e44);
    let table = frame_table();
    for number in 0..180 {
        let raw = random_program(&mut random);
        let program = ClassicProgram::new(&raw).unwrap();
        let filter = Filter::of_program(&program);
        let entry = random.of(&EntryPoint::ALL);
        let mut pair = Pair::load(&filter, entry);
        for case in table.iter().filter(|case| case.link == link_type(entry)) {
            if pair.takes(&case.frame) {
                pair.enter(&case.frame, "a program");
                pair.take(&format!("program {number}: {:?}", program.operations()));
            }
        }
    }
}

/// A valid program: every operation there is, jumps forward, a return at the end.
fn random_program(random: &mut Random) -> Vec<RawInstruction> {
    let length = 2 + random.below(30);
    let mut program: Vec<RawInstruction> = (0..length - 1)
        .map(|index| {
            let left = length - index - 2;
            let offset = if random.one_in(8) {
                random.next() as u32 >> random.below(32)
            } else {
                random.below(80) as u32
            };
            let value = random.next() as u32 >> random.below(32);
            let slot = random.below(16) as u32;
            let jump = |random: &mut Random| random.below(left.min(200) + 1) as u8;
            let (code, k) = match random.below(14) {
                0 => (random.of(&[0x20, 0x28, 0x30]), offset & 0x7fff_ffff),
                1 => (random.of(&[0x40, 0x48, 0x50]), offset),
                2 => (0xb1, offset),
                3 => (random.of(&[0x80, 0x81]), 0),
                4 => (random.of(&[0x00, 0x01]), value),
                5 => (random.of(&[0x60, 0x61]), slot),
                6 => (random.of(&[0x02, 0x03]), slot),
                7 => (random.of(&[0x04, 0x14, 0x24, 0x44, 0x54, 0xa4, 0x64, 0x74]), value),
                8 => (random.of(&[0x34, 0x94]), value.max(1)),
                9 => (random.of(&[0x0c, 0x1c, 0x2c, 0x3c, 0x4c, 0x5c, 0x6c, 0x7c, 0x9c, 0xac, 0x84]), 0),
                10 => (random.of(&[0x15, 0x25, 0x35, 0x45]), value),
                11 => (random.of(&[0x1d, 0x2d, 0x3d, 0x4d]), 0),
                12 => (random.of(&[0x07, 0x87]), 0),
                _ if random.one_in(8) => (random.of(&[0x06, 0x16, 0x05]), random.below(left + 1) as u32),
                // Metadata.
                _ => (0x20, 0xffff_f000 + random.of(&[4, 8])),
            };
            RawInstruction { code, jump_true: jump(random), jump_false: jump(random), k }
        })
        .collect();
    program.push(RawInstruction {
        code: random.of(&[0x06, 0x16]),
        k: random.below(2) as u32,
        ..RawInstruction::default()
    });
    program
}
