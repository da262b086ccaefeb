//! Wide entries: the kernel program and the host agree on all that is measured, in tunnels and out of them.

use tests::frame_table::ethernet_table;
use tests::frames::{frame, ip, udp};
use tests::meter::XDP_PASS;
use tests::wide::{EVERYTHING, WideHost, WideKernel};

use crate::captures::{captured_frames, find};

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_agree_on_wide_entries_of_the_table() {
    for fragments in [true, false] {
        let mut kernel = WideKernel::measuring(EVERYTHING, fragments).unwrap();
        let mut host = WideHost::new(EVERYTHING);
        for case in ethernet_table().iter().filter(|case| fragments || case.frame.len() < 3000) {
            assert_eq!(kernel.enter(&case.frame).unwrap(), XDP_PASS, "{}", case.name);
            host.enter(&case.frame);
            let difference = kernel.take().unwrap().difference(&host.take());
            assert_eq!(difference, None, "{}", case.name);
        }
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_agree_on_wide_entries_of_every_capture() {
    let mut kernel = WideKernel::measuring(EVERYTHING, true).unwrap();
    let mut host = WideHost::new(EVERYTHING);
    let mut packets = 0;
    for capture in find().unwrap().unwrap_or_default() {
        for frame in captured_frames(&capture) {
            assert_eq!(kernel.enter(&frame).unwrap(), XDP_PASS, "{}", capture.name);
            host.enter(&frame);
            packets += 1;
        }
        let found = kernel.take().unwrap();
        assert_eq!(found.difference(&host.take()), None, "{}", capture.name);
        assert!(found.balanced(), "{}", capture.name);
    }
    eprintln!("{packets} packets: same wide keys, same values, same reasons");
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn padding_in_further_buffers_counts_as_frame_octets() {
    let mut kernel = WideKernel::measuring(EVERYTHING, true).unwrap();
    if !kernel.splits() {
        eprintln!("this kernel makes no test runs with a short linear part (6.18 does): not tested");
        return;
    }
    let packet = udp("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:2000".parse().unwrap(), b"1");
    let mut padded = frame(&packet);
    let whole = padded.len();
    padded.resize(64, 0);
    for linear in [whole, whole + 1, 63, 64] {
        kernel.enter_split(&padded, linear).unwrap();
        let counters = kernel.take().unwrap().flows.into_values().next().unwrap();
        assert_eq!((counters.layer2_octets, counters.flow.octets), (64, packet.len() as u64), "{linear}");
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn wide_entries_are_the_same_wherever_the_linear_part_ends() {
    let mut kernel = WideKernel::measuring(EVERYTHING, true).unwrap();
    if !kernel.splits() {
        eprintln!("this kernel makes no test runs with a short linear part (6.18 does): not tested");
        return;
    }
    // An authentication header that the IPv6 payload length leaves no room for: its SPI is read all the same.
    let mut unstated = ip("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap(), 51, &[0x3b; 40]);
    unstated[4..6].fill(0);
    let frames = ethernet_table().into_iter().map(|case| case.frame).chain([frame(&unstated)]);
    for frame in frames.filter(|frame| frame.len() < 700) {
        for linear in 0..frame.len() {
            // What is known of fragments and connections is as before.
            kernel.enter(&frame).unwrap();
            kernel.take().unwrap();
            kernel.enter(&frame).unwrap();
            let whole = kernel.take().unwrap();
            kernel.enter_split(&frame, linear).unwrap();
            assert_eq!(kernel.take().unwrap().difference(&whole), None, "{linear} of {}", frame.len());
        }
    }
}
