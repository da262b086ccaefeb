//! Wide entries: the kernel program and the host agree on all that is measured, in tunnels and out of them.

use tests::frame_table::ethernet_table;
use tests::meter::XDP_PASS;
use tests::wide::{EVERYTHING, WideHost, WideKernel};

use crate::captures::{captured_frames, find};

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_agree_on_wide_entries_of_the_table() {
    for fragments in [true, false] {
        let mut kernel = WideKernel::load(EVERYTHING, fragments).unwrap();
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
    let mut kernel = WideKernel::load(EVERYTHING, true).unwrap();
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
