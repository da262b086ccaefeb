//! Frames whose headers lie across several buffers.

use tests::frame_table::ethernet_table;
use tests::frames::{frame, udp};
use tests::meter::{HostMeter, KernelMeter, LOAD_OPTIONS, XDP_PASS};

/// From the first octet on, up to the end of all headers that the table's ordinary rows have.
const LINEAR_LENGTHS: std::ops::Range<usize> = 0..140;

#[test]
#[ignore = "needs root: loads the kernel program"]
fn headers_are_read_wherever_the_linear_part_ends() {
    let mut kernel = KernelMeter::load(&LOAD_OPTIONS, true).unwrap();
    if !kernel.splits() {
        eprintln!("this kernel makes no test runs with a short linear part (6.18 does): not tested");
        return;
    }
    let mut host = HostMeter::default();
    let (mut runs, mut wrong) = (0, Vec::new());
    for case in ethernet_table() {
        // Around the limit of what is read and the end of the frame, too.
        let far = [505, 506, 510, 511, 512, 513, 514].into_iter().chain([case.frame.len() - 1]);
        for linear in LINEAR_LENGTHS.chain(far).filter(|linear| *linear < case.frame.len()) {
            assert_eq!(kernel.enter_split(&case.frame, linear).unwrap(), XDP_PASS);
            host.enter(&case.frame);
            runs += 1;
            if let Some(difference) = kernel.take().unwrap().difference(&host.take()) {
                wrong.push(format!("{}, {linear} of {} linear: {difference}", case.name, case.frame.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {runs}\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    eprintln!("{runs} split frames read as whole ones");
}

/// Test runs of more than a page make frames of several buffers (5.18); the first 3.5 KB or so are linear.
#[test]
#[ignore = "needs root: loads the kernel program"]
fn jumbo_frames_are_counted_whole() {
    let mut kernel = KernelMeter::load(&LOAD_OPTIONS, true).unwrap();
    let mut host = HostMeter::default();
    let (from, to) = ("10.1.0.1:1000".parse().unwrap(), "10.2.0.2:2000".parse().unwrap());
    let (from6, to6) = ("[fd00::1]:1000".parse().unwrap(), "[fd00::2]:2000".parse().unwrap());
    for length in [1500, 3400, 3500, 3600, 4096, 4500, 8000, 8192, 9000, 16_000, 60_000] {
        for whole in [
            frame(&udp(from, to, &vec![0x45; length - 28])),
            frame(&udp(from6, to6, &vec![0x60; length - 48])),
        ] {
            // Whole, without its last octet, and not IP.
            let mut other = whole.clone();
            other[12..14].copy_from_slice(&[0x08, 0x06]);
            for frame in [&whole[..], &whole[..whole.len() - 1], &other] {
                assert_eq!(kernel.enter(frame).unwrap(), XDP_PASS);
                host.enter(frame);
                let found = kernel.take().unwrap();
                assert_eq!(found.difference(&host.take()), None, "{length}");
                assert!(found.balanced());
            }
        }
    }
}
