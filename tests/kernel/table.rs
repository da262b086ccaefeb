//! The frame table, read by the host and by both entry points of the kernel program.

use std::collections::HashSet;

use netflow_common::{KernelStats, Note, Refusal};
use netflow_ebpf::packet::{MAX_LABELS, MAX_TAGS, parse};
use netflow_user::kernel::{EntryPoint, Flip, Width};
use tests::frame_table::{FrameCase, frame_table};
use tests::host::{HostMeter, values_of};
use tests::meter::{
    Counted, KernelMeter, LOAD_OPTIONS, SHORTEST_BUFFER, TEST_RUN_INTERFACE, direction, link_type, pass,
};

#[test]
fn the_host_reads_every_frame_of_the_table_as_expected() {
    assert_eq!((MAX_TAGS, MAX_LABELS), (4, 10), "the table counts on these limits");
    let mut wrong = Vec::new();
    let mut names = HashSet::new();
    for FrameCase { name, link, frame, expected } in frame_table() {
        assert!(names.insert(name.clone()), "two rows are named {name}");
        let found = parse(frame.as_slice(), link);
        let short_frame = found.is_ok_and(|packet| packet.end() > frame.len());
        if found != expected.map(|expected| expected.packet)
            || expected.is_ok_and(|expected| expected.short_frame != short_frame)
        {
            wrong.push(format!("{name}: {}\n  expected {expected:?}\n  found {found:?}", hex(&frame)));
        }
    }
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_has_a_frame_for_every_refusal_and_every_note() {
    let table = frame_table();
    for refusal in Refusal::ALL {
        assert!(table.iter().any(|case| case.expected == Err(refusal)), "{}", refusal.name());
    }
    // These take several frames or an inner packet: `fragments` and `wide` have tables of their own.
    let elsewhere = [
        Note::FragmentJoined,
        Note::TinyFragment,
        Note::OverlappingFragment,
        Note::TunnelUnread,
        Note::TunnelTooDeep,
    ];
    for note in Note::ALL.into_iter().filter(|note| !elsewhere.contains(note)) {
        let noted = |case: &FrameCase| {
            case.expected.is_ok_and(|expected| {
                expected.packet.notes.has(note) || note == Note::ShortFrame && expected.short_frame
            })
        };
        assert!(table.iter().any(noted), "{}", note.name());
    }
}

#[test]
fn every_frame_of_the_table_can_end_anywhere() {
    for case in frame_table() {
        for length in 0..case.frame.len() {
            // No panic; and what is refused of the beginning is never the fault of what follows.
            let cut = parse(&case.frame[..length], case.link);
            if let (Err(Refusal::NotIp), Ok(_)) = (cut, parse(case.frame.as_slice(), case.link)) {
                // Of an LLC header that is cut short nothing says that it would have been SNAP.
                assert!(case.name.contains("SNAP"), "{} cut to {length}", case.name);
            }
        }
    }
}

#[test]
fn every_link_type_stands_in_the_table() {
    let links: HashSet<String> = frame_table().iter().map(|case| format!("{:?}", case.link)).collect();
    assert_eq!(links.len(), 5, "{links:?}");
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn every_entry_point_reads_every_frame_of_the_table_as_expected() {
    for entry in EntryPoint::ALL {
        let name = entry.name(Width::Default);
        let mut kernel = KernelMeter::load_at(&LOAD_OPTIONS, entry).unwrap();
        let mut wrong = Vec::new();
        let table = kernel_table(entry);
        for case in &table {
            let returned = match kernel.enter(&case.frame) {
                // Kernels differ in how much of a header a test run must have.
                Err(_) if !entry.is_xdp() && case.frame.len() < SHORTEST_BUFFER => continue,
                returned => returned.unwrap(),
            };
            let found = kernel.take().unwrap();
            let difference = found.difference(&expected(case, entry));
            if returned != pass(entry) || difference.is_some() {
                let difference = difference.unwrap_or_default();
                wrong.push(format!("{}: {} returned {returned}, {difference}", case.name, hex(&case.frame)));
            }
        }
        assert!(wrong.is_empty(), "{name}: {} rows\n{}", wrong.len(), wrong.join("\n"));
        eprintln!("{} frames read as expected by {name}", table.len());
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_table_as_a_whole_adds_up_as_on_the_host() {
    for entry in EntryPoint::ALL {
        let mut kernel = KernelMeter::load_at(&LOAD_OPTIONS, entry).unwrap();
        let mut host = HostMeter::default();
        for _ in 0..3 {
            for case in kernel_table(entry) {
                match kernel.enter(&case.frame) {
                    Err(_) if !entry.is_xdp() && case.frame.len() < SHORTEST_BUFFER => continue,
                    returned => assert_eq!(returned.unwrap(), pass(entry), "{}", case.name),
                }
                host.enter_at(entry, &case.frame);
            }
        }
        let found = kernel.take_by(Flip::Wait).unwrap();
        assert_eq!(found.difference(&host.take()), None);
        assert!(found.balanced());
    }
}

/// A frame below an Ethernet header never reaches the program in a test run (nor from a driver).
#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_kernel_refuses_test_runs_of_less_than_an_ethernet_header() {
    let mut kernel = KernelMeter::load(&LOAD_OPTIONS, true).unwrap();
    for length in 0..14 {
        assert!(kernel.enter(&vec![0; length]).is_err(), "{length}");
    }
    assert_eq!(kernel.take().unwrap(), Counted::default());
}

/// The rows that an entry point can be shown. To the one that does not know further buffers no driver gives a frame
/// that has some; a test run does, and shows it the linear part alone. No test run has less than 14 octets, that of a
/// socket buffer one more, and a page at most.
fn kernel_table(entry: EntryPoint) -> Vec<FrameCase> {
    let mut table = frame_table();
    let shortest = if entry.is_xdp() { 14 } else { 15 };
    let longest = if entry == EntryPoint::XdpFragments { usize::MAX } else { 3000 };
    table.retain(|case| case.link == link_type(entry) && (shortest..longest).contains(&case.frame.len()));
    table
}

/// What the kernel must have counted after this frame alone: from the table, not from the parser.
fn expected(case: &FrameCase, entry: EntryPoint) -> Counted {
    let mut stats = KernelStats { seen_packets: 1, ..KernelStats::default() };
    let mut counted = Counted::default();
    match case.expected {
        Ok(expected) => {
            let packet = expected.packet;
            stats.seen_octets = packet.octets.into();
            stats.inserted = 1;
            for note in Note::ALL {
                let noted = packet.notes.has(note) || note == Note::ShortFrame && expected.short_frame;
                stats.noted[note as usize] = noted.into();
            }
            let mut key = packet.key;
            key.interface = TEST_RUN_INTERFACE;
            key.direction = direction(entry);
            counted.flows.insert(key, values_of(&packet));
        }
        Err(refusal) => {
            stats.refused[refusal as usize] = 1;
            if refusal.is_not_ip() {
                stats.not_ip_frame_octets = case.frame.len() as u64;
            }
        }
    }
    counted.stats = stats;
    counted
}

fn hex(frame: &[u8]) -> String {
    frame.iter().take(200).map(|octet| format!("{octet:02x}")).collect()
}
