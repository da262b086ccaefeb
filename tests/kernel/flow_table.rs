//! The flow table: whatever its size, what is counted is the same, and where it is full the flow maps take the rest.

use netflow_common::{FlowCounters, Loss, WideCounters};
use netflow_user::kernel::{Flip, LoadOptions, Measure, Watermarks};
use netflow_user::key::KeyChoice;
use tests::frames::{frame, udp};
use tests::host::{HostMeterOf, HostValues};
use tests::meter::{KernelMeter, KernelMeterOf, LOAD_OPTIONS};
use tests::wide::EVERYTHING;

/// None, one that is soon full, one that has room for all.
const SIZES: [u32; 3] = [0, 128, 16_384];
const FLOWS: u16 = 1000;

fn flow(number: u16, is_ipv4: bool) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let (source, destination) = match is_ipv4 {
        true => (format!("10.1.{high}.{low}:1000"), "10.2.0.2:2000"),
        false => (format!("[2001:db8::{number:x}]:1000"), "[2001:db8:1::2]:2000"),
    };
    frame(&udp(source.parse().unwrap(), destination.parse().unwrap(), b"0123456789"))
}

/// The same packets through the kernel and the host, over several generations; how many entries stood in the table.
fn agree<V: HostValues>(options: &LoadOptions) -> u64 {
    let mut kernel = KernelMeterOf::<V>::load(options, true).unwrap();
    let mut host = HostMeterOf::<V>::new(options.measure);
    let mut slots = 0;
    for generation in 0..4_u16 {
        for _ in 0..3 {
            // Not the same flows in each generation: what one leaves behind, the next would show.
            for number in (generation * 100..).take(FLOWS.into()) {
                for is_ipv4 in [true, false] {
                    kernel.enter(&flow(number, is_ipv4)).unwrap();
                    host.enter(&flow(number, is_ipv4));
                }
            }
        }
        let found = kernel.take_by(Flip::Wait).unwrap();
        assert_eq!(found.difference(&host.take()), None);
        assert!(found.balanced());
        slots += kernel.slots;
    }
    assert_eq!(kernel.take().unwrap().flows.len(), 0);
    slots
}

/// How many entries stand in tables of those sizes.
fn slots_of(sizes: [u64; 3], entries: u64) {
    let [none, some, most] = sizes;
    assert_eq!(none, 0);
    assert!(some > 100 && some < entries / 2, "{some} of {entries} in a small table");
    assert!(most > entries * 99 / 100, "{most} of {entries} in a large table");
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn what_is_counted_is_the_same_with_any_table() {
    let masked: KeyChoice = "sourceIPv4Address/30,destinationTransportPort".parse().unwrap();
    let default = SIZES.map(|flow_table| agree::<FlowCounters>(&LoadOptions { flow_table, ..LOAD_OPTIONS }));
    slots_of(default, 8 * u64::from(FLOWS));
    let wide = SIZES.map(|flow_table| {
        agree::<WideCounters>(&LoadOptions { flow_table, measure: EVERYTHING, ..LOAD_OPTIONS })
    });
    slots_of(wide, 8 * u64::from(FLOWS));
    for flow_table in SIZES {
        let measure = Measure { key_masks: masked.masks, ..Measure::DEFAULT };
        let mut kernel =
            KernelMeter::load(&LoadOptions { flow_table, measure, ..LOAD_OPTIONS }, true).unwrap();
        for number in 0..FLOWS {
            for is_ipv4 in [true, false] {
                kernel.enter(&flow(number, is_ipv4)).unwrap();
            }
        }
        let found = kernel.take_by(Flip::Wait).unwrap();
        // Four sources are a flow, and all of IPv6 is one.
        assert_eq!(found.flows.len(), usize::from(FLOWS) / 4 + 1, "{flow_table}");
        assert!(found.balanced());
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn packets_are_lost_only_when_the_map_behind_the_table_is_full_too() {
    let options = LoadOptions { flow_table: 128, map_size: 64, ..LOAD_OPTIONS };
    let mut kernel = KernelMeter::load(&options, true).unwrap();
    for number in 0..FLOWS {
        kernel.enter(&flow(number, true)).unwrap();
    }
    let found = kernel.take_by(Flip::Wait).unwrap();
    assert_eq!(found.stats.inserted, kernel.slots + 64);
    assert_eq!(found.stats.lost_packets[Loss::MapFull as usize], u64::from(FLOWS) - kernel.slots - 64);
    assert!(found.balanced());
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn the_watermark_of_the_table_is_told_apart_from_that_of_the_map() {
    let options = LoadOptions { flow_table: 1024, ..LOAD_OPTIONS };
    let mut kernel = KernelMeter::load(&options, true).unwrap();
    for _generation in 0..3 {
        for number in 0..767 {
            kernel.enter(&flow(number, true)).unwrap();
        }
        assert_eq!(kernel.kernel.take_watermarks(), Watermarks::default());
        for number in 767..1500 {
            kernel.enter(&flow(number, true)).unwrap();
        }
        assert_eq!(kernel.kernel.take_watermarks(), Watermarks { maps: 0, tables: 1 });
        assert_eq!(kernel.take().unwrap().flows.len(), 1500);
    }
}
