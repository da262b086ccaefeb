//! What a full table costs. Measures, and asserts only that it works: `cargo test --release -p netflow-user --lib
//! a_full_table -- --ignored --nocapture`.

use std::time::Duration;

use netflow_common::{Address, FlowKey, IpVersion};
use rustix::time::{ClockId, clock_gettime};

use super::{
    super::{
        fib::{Change, Fib},
        prefix::{Family, Prefix},
        rule::Rule,
        table::Place,
        target::{Hop, Kind, Route, Target, Way},
    },
    Random,
};

/// Prefix lengths as in a table of the Internet, in thousandths.
const V4: [(u8, u64); 10] =
    [(24, 600), (23, 100), (22, 110), (21, 50), (20, 45), (19, 30), (18, 20), (17, 15), (16, 20), (12, 10)];
const V6: [(u8, u64); 6] = [(48, 480), (44, 140), (40, 130), (36, 70), (32, 150), (29, 30)];

fn table(random: &mut Random, family: Family, count: usize, lengths: &[(u8, u64)]) -> Vec<Change> {
    let route = |random: &mut Random| {
        let mut at = random.below(1000);
        let length = lengths.iter().find(|(_, share)| {
            let found = at < *share;
            at = at.saturating_sub(*share);
            found
        });
        let length = length.map_or(24, |(length, _)| *length);
        // Networks lie together: of IPv4 in 224 blocks, of IPv6 in 2^14.
        let bits = match family {
            Family::V4 => u128::from((1 + random.below(223)) << 24 | random.below(1 << 24)) << 96,
            Family::V6 => (0x2000 | u128::from(random.below(16))) << 112 | random.wide() >> 16,
        };
        let hop = Hop { interface: 2 + random.below(8) as u32, gateway: None, dead: false };
        let target = Target { kind: Kind::Unicast, way: Way::Hops(Box::new([hop])) };
        let (prefix, route) = (Prefix::new(bits, length), Route { metric: 20, target });
        Change::AddRoute { family, table: 254, prefix, route, place: Place::Last }
    };
    (0..count).map(|_| route(random)).collect()
}

/// This thread's time on a processor: that of others on a busy machine does not count.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
#[ignore = "measures; meaningful in a release build only"]
fn a_full_table_of_the_internet_is_small_and_fast() {
    let mut random = Random(7);
    let mut fib = Fib::new();
    for family in [Family::V4, Family::V6] {
        fib.apply(Rule::built_in(family).into_iter().map(|rule| Change::AddRule { family, rule }));
    }
    let mut changes = table(&mut random, Family::V4, 1_000_000, &V4);
    changes.extend(table(&mut random, Family::V6, 250_000, &V6));
    let again = changes.clone();
    let begin = spent();
    fib.apply(changes);
    let (routes, filled) = (fib.routes(), (spent() - begin));
    println!(
        "{routes} routes: {:.0} ns each to add, {:.1} octets each",
        filled.as_nanos() as f64 / routes as f64,
        fib.octets() as f64 / routes as f64
    );
    for (name, version, kept) in [
        ("IPv4", IpVersion::V4, false),
        ("IPv6", IpVersion::V6, false),
        ("IPv4, 1000 pairs", IpVersion::V4, true),
    ] {
        let key = |random: &mut Random| {
            let address = |random: &mut Random| match (version, &again[random.below(1_000_000) as usize]) {
                (IpVersion::V4, Change::AddRoute { prefix, .. }) => {
                    Address::from_ipv4(((prefix.bits() >> 96) as u32).to_be_bytes())
                }
                _ => Address::from_ipv6(
                    ((0x2000 + u128::from(random.below(16))) << 112 | random.wide() >> 16).to_be_bytes(),
                ),
            };
            let (source_address, destination_address) = (address(random), address(random));
            FlowKey { source_address, destination_address, ip_version: version, ..FlowKey::default() }
        };
        let keys: Vec<FlowKey> = (0..if kept { 1000 } else { 1_000_000 }).map(|_| key(&mut random)).collect();
        let begin = spent();
        let mut found = 0_u64;
        for round in 0..if kept { 1000 } else { 1 } {
            found += keys.iter().map(|key| u64::from(fib.route(key).egress_interface)).sum::<u64>() + round;
        }
        println!("{name}: {:.0} ns for each record ({found})", (spent() - begin).as_nanos() as f64 / 1e6);
    }
    // A flap: everything goes and comes back in pieces, as the follower applies them.
    let mut longest = Duration::ZERO;
    let begin = spent();
    for piece in again.chunks(256) {
        let gone = piece.iter().filter_map(|change| match change.clone() {
            Change::AddRoute { family, table, prefix, route, .. } => {
                Some(Change::RemoveRoute { family, table, prefix, route })
            }
            _ => None,
        });
        let start = spent();
        fib.apply(gone.chain(piece.to_vec()));
        longest = longest.max(spent() - start);
    }
    println!("flap: {:?} in all, the lock is held for {longest:?} at most", (spent() - begin));
    assert!(fib.routes() > 0);
}
