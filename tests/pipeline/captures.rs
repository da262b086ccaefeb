//! Every capture file yields exactly the packets that the reference count found in it.

#![allow(clippy::unwrap_used, reason = "tests")]

use netflow_ebpf::packet::LinkType;
use netflow_user::capture::CaptureFile;
use tests::captures;

#[test]
fn capture_files_yield_the_packets_and_octets_of_the_reference_count() {
    for capture in captures::find().unwrap().unwrap_or_default() {
        let mut file = CaptureFile::open(&capture.path).unwrap();
        let (mut packets, mut frame_octets, mut cut, mut longest) = (0, 0, 0, 0);
        let (mut first, mut last) = (u64::MAX, 0);
        while let Some(packet) = file.next_packet().unwrap() {
            assert_eq!(packet.link_type, LinkType::Ethernet);
            packets += 1;
            frame_octets += u64::from(packet.wire_length);
            cut += u64::from((packet.octets.len() as u64) < u64::from(packet.wire_length));
            longest = longest.max(packet.octets.len() as u64);
            first = first.min(packet.time_unix_nanos);
            last = last.max(packet.time_unix_nanos);
        }
        let expected = &capture.expected;
        let name = &capture.name;
        assert_eq!((packets, frame_octets), (expected.packets, expected.frame_bytes), "{name}");
        assert_eq!((cut, longest), (expected.truncated_captures, expected.max_captured_bytes), "{name}");
        for flow in capture.flows().unwrap() {
            assert!(first <= flow.first_unix_nanos && flow.last_unix_nanos <= last, "{name}: {:?}", flow.key);
        }
    }
}
