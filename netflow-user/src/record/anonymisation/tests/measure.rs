//! What a record costs: `cargo test --release -p netflow-user --lib anonymisation::tests::measure -- --ignored --nocapture`.

use std::{hint::black_box, net::IpAddr};

use rustix::time::{ClockId, clock_gettime};

use super::{Random, anonymiser, record};
use crate::record::FlowRecord;

const RECORDS: usize = 1_000_000;

fn measure(what: &str, rules: &[&str], address: impl Fn(&mut Random) -> IpAddr) {
    let mut random = Random(3);
    let records: Vec<FlowRecord> =
        (0..RECORDS).map(|_| record(3, address(&mut random), address(&mut random))).collect();
    let mut anonymiser = anonymiser(rules);
    for round in ["first", "again"] {
        let begin = processor_nanos();
        for record in &records {
            let mut record = record.clone();
            anonymiser.apply(&mut record);
            black_box(&record);
        }
        let nanos = (processor_nanos() - begin) / RECORDS as i64;
        println!("{what}, {round}: {nanos} ns a record");
    }
}

/// What this thread has used: others may use the processor too.
fn processor_nanos() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[test]
#[ignore = "measures; asserts nothing"]
fn what_a_record_costs() {
    let v4 =
        |hosts: u64| move |random: &mut Random| IpAddr::from(((random.next() % hosts) as u32).to_be_bytes());
    let v6 = |networks: u64, hosts: u64| {
        move |random: &mut Random| {
            let network = u128::from(0x2001_0db8_0000_0000 | (random.next() % networks));
            IpAddr::from((network << 64 | u128::from(random.next() % hosts)).to_be_bytes())
        }
    };
    measure("truncation", &["ipv4=/24"], v4(u64::MAX));
    measure("crypto-pan, IPv4, 10,000 addresses", &["ipv4=crypto-pan"], v4(10_000));
    measure("crypto-pan, IPv4, all addresses new", &["ipv4=crypto-pan"], v4(u64::MAX));
    measure("crypto-pan, IPv6, 10,000 addresses", &["ipv6=crypto-pan"], v6(100, 100));
    measure("crypto-pan, IPv6, all hosts new, 1,000 networks", &["ipv6=crypto-pan"], v6(1000, u64::MAX));
    measure("crypto-pan, IPv6, all networks new", &["ipv6=crypto-pan"], v6(1 << 32, u64::MAX));
}
