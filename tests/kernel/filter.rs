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
use netflow_user::kernel::LoadOptions;
use tests::captures::{Capture, find};
use tests::expressions::EXPRESSIONS;
use tests::frame_table::ethernet_table;
use tests::meter::{HostMeter, KernelMeter, LOAD_OPTIONS, TEST_RUN_INTERFACE, XDP_PASS};

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

/// What a test run gives: the whole frame, received on the loopback interface.
fn context(frame: &[u8]) -> PacketContext {
    PacketContext { length: frame.len() as u32, outgoing: false, interface: TEST_RUN_INTERFACE }
}

fn load(filter: &Filter, fragments: bool) -> KernelMeter {
    let options = LoadOptions { filter: Some(Arc::new(filter.clone())), ..LOAD_OPTIONS };
    KernelMeter::load(&options, fragments).unwrap()
}

/// Both meters take a frame; to the entry point that knows one buffer none is shown that needs more.
fn enter(kernel: &mut KernelMeter, host: &mut HostMeter, program: &ClassicProgram, frame: &[u8], name: &str) {
    assert_eq!(kernel.enter(frame).unwrap(), XDP_PASS, "{name}");
    if matches(program, frame, &context(frame)) { host.enter(frame) } else { host.filter(frame) }
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

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_match_the_same_packets() {
    let table = ethernet_table();
    let captures: Vec<(String, Vec<Vec<u8>>)> = captures()
        .iter()
        .map(|capture| (capture.name.clone(), frames(capture).into_iter().map(|(frame, _)| frame).collect()))
        .collect();
    let mut packets = 0;
    for expression in EXPRESSIONS {
        let filter = Filter::compile(expression).unwrap();
        let program = filter.program(DataLink::Ethernet).unwrap();
        for fragments in [true, false] {
            let mut kernel = load(&filter, fragments);
            let mut host = HostMeter::default();
            let splits = fragments && kernel.splits();
            for case in &table {
                if fragments || case.frame.len() < 3000 {
                    enter(&mut kernel, &mut host, program, &case.frame, expression);
                }
                if splits {
                    // Octets beyond the linear part are loaded by the helper.
                    kernel.enter_split(&case.frame, case.frame.len().min(20)).unwrap();
                    let matched = matches(program, &case.frame, &context(&case.frame));
                    if matched { host.enter(&case.frame) } else { host.filter(&case.frame) }
                }
                let found = kernel.take().unwrap();
                let difference = found.difference(&host.take());
                assert_eq!(difference, None, "{expression}, fragments {fragments}: {}", case.name);
            }
            for (name, frames) in &captures {
                for frame in frames.iter().filter(|frame| fragments || frame.len() < 3000) {
                    enter(&mut kernel, &mut host, program, frame, name);
                    packets += 1;
                }
                let found = kernel.take().unwrap();
                assert_eq!(
                    found.difference(&host.take()),
                    None,
                    "{expression}, fragments {fragments}: {name}"
                );
                assert!(found.balanced(), "{name}");
            }
        }
    }
    eprintln!("{packets} packets of captures: the same match, the same are counted as filtered");
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn a_packet_that_does_not_match_is_counted_as_filtered_with_its_octets() {
    let filter = Filter::compile("tcp port 1").unwrap();
    let mut kernel = load(&filter, true);
    let case = ethernet_table().into_iter().find(|case| case.expected.is_ok()).unwrap();
    let octets = u64::from(case.expected.unwrap().packet.octets);
    assert_eq!(kernel.enter(&case.frame).unwrap(), XDP_PASS);
    let mut expected = KernelStats { seen_packets: 1, seen_octets: octets, ..KernelStats::default() };
    expected.skipped_packets[Skip::Filtered as usize] = 1;
    expected.skipped_octets[Skip::Filtered as usize] = octets;
    let found = kernel.take().unwrap();
    assert_eq!((found.stats, found.flows.len()), (expected, 0));
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn programs_that_no_compiler_writes_run_as_on_the_host() {
    let mut random = Random(0x0f11_7e44);
    let table: Vec<Vec<u8>> = ethernet_table().into_iter().map(|case| case.frame).collect();
    for number in 0..150 {
        let raw = random_program(&mut random);
        let program = ClassicProgram::new(&raw).unwrap();
        let fragments = random.one_in(2);
        let mut kernel = load(&Filter::of_program(&program), fragments);
        let mut host = HostMeter::default();
        for frame in table.iter().filter(|frame| fragments || frame.len() < 3000) {
            enter(&mut kernel, &mut host, &program, frame, "a program");
            let difference = kernel.take().unwrap().difference(&host.take());
            assert_eq!(difference, None, "program {number}: {:?}", program.operations());
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
