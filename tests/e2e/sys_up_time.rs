//! sysUpTime passes 2^32 milliseconds (49.7 days) while a flow lasts. The agent runs in a time namespace whose machine
//! started that long ago.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tests::agent::{AgentProcess, Signal, binary};
use tests::calendar;
use tests::frames::{frame, udp};
use tests::judges::{Nfcapd, Tshark};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::raw::RawSender;

const V5: u16 = 9995;
const V9: u16 = 2055;
/// 2^32 ms, in whole seconds.
const WRAP_SECONDS: i64 = 4_294_967;
/// The agent starts so long before it, and a flow must have begun until then.
const BEFORE: Duration = Duration::from_secs(15);
/// The kernel's tick at its slowest, and rounding to milliseconds.
const CLOCK_STEP: u64 = 12;

#[test]
#[ignore = "needs root: namespaces of network and time, and XDP"]
fn a_flow_keeps_its_times_when_sys_up_time_wraps() {
    // V9-TIME-1, V5-REC-2, V5-HDR-4, TRAP-12
    let lab = Lab::new(LabOptions::default()).unwrap();
    let [v5, v9] =
        [V5, V9].map(|port| Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, port).into()).unwrap());
    let tshark = Tshark::start(&lab.monitor, "lo", "udp and (dst port 9995 or dst port 2055)").unwrap();
    let up = monotonic();
    let offset = (WRAP_SECONDS - BEFORE.as_secs() as i64 - up.as_secs() as i64).to_string();
    let wrap = Duration::from_millis(1 << 32);
    let netflow = binary().unwrap();
    let netflow = netflow.to_str().unwrap();
    let words = ["--time", "--monotonic", &offset, "--boottime", &offset, netflow];
    let urls = [format!("udp://127.0.0.1:{V5}?protocol=v5"), format!("udp://127.0.0.1:{V9}?protocol=v9")];
    let arguments = ["-i", MONITOR_INTERFACE, "-c", &urls[0], "-c", &urls[1]];
    let agent = AgentProcess::start_program(Path::new("unshare"), &lab.monitor, &words, &arguments).unwrap();

    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let to: SocketAddr = (Ipv4Addr::new(10, 2, 0, 2), 53).into();
    let packet = frame(&udp((Ipv4Addr::new(10, 1, 0, 1), 1000).into(), to, &[0; 72]));
    let up_there = || Duration::from_secs(offset.parse().unwrap()) + monotonic();
    assert!(up_there() < wrap, "the machine is too slow: {BEFORE:?} were not enough to start");
    let begin = unix_millis();
    let (mut sent, mut first) = (0, None);
    while up_there() < wrap + Duration::from_secs(2) {
        sender.send(&packet).unwrap();
        sent += 1;
        lab.wait_for_packets(sent).unwrap();
        first.get_or_insert_with(unix_millis);
        thread::sleep(Duration::from_millis(250));
    }
    sender.send(&packet).unwrap();
    lab.wait_for_packets(sent + 1).unwrap();
    let end = unix_millis();
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);

    let capture = tshark.stop().unwrap().decode_as_cflow(V5).decode_as_cflow(V9);
    assert_eq!(capture.expert_messages().unwrap(), [""; 0]);
    let fields = ["udp.dstport", "cflow.sysuptime", "cflow.timestart", "cflow.timeend"];
    let mut wrapped = Vec::new();
    for packet in capture.fields(&fields).unwrap() {
        let [port, header, starts, ends] = <[Vec<String>; 4]>::try_from(packet).unwrap();
        for (start, end) in starts.iter().zip(&ends) {
            let [header, start, end] = [&header[0], start, end].map(|text| text.parse::<f64>().unwrap());
            // Raw as they are in the messages, in seconds: before the wrap, and after it.
            assert!(
                start > 4_294_900.0 && end < 60.0 && header < 60.0 && end <= header,
                "{start} {end} {header}"
            );
            wrapped.push(port[0].clone());
        }
    }
    assert_eq!(wrapped.len(), 2, "{wrapped:?}");
    for (name, nfcapd) in [("v5", v5), ("v9", v9)] {
        let verdict = nfcapd.stop().unwrap();
        assert_eq!((verdict.summary.flows, verdict.summary.packets), (1, sent + 1), "{name}");
        let record = &verdict.records().unwrap()[0];
        let [from, until] =
            ["first", "last"].map(|name| calendar::unix_millis_of(record[name].as_str().unwrap()).unwrap());
        let within =
            |time: u64, from: u64, until: u64| time + CLOCK_STEP >= from && time <= until + CLOCK_STEP;
        assert!(within(from, begin, first.unwrap()), "{name}: {from} is not of {begin} to {first:?}");
        assert!(
            within(until, begin, end) && until + 1000 > end,
            "{name}: {until}, the last packet came before {end}"
        );
    }
}

/// This machine's monotonic clock, which the namespace counts on from.
fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
