//! Random Flow Records through the encoder and a decoder that was not written here: every value comes back, and the
//! messages keep the rules of their protocol.
//!
//! `NETFLOW_ROUND_TRIP_RECORDS` says how many records (50,000 by default, a million in the test that is run with those
//! that need root), `NETFLOW_ROUND_TRIP_SEED` which ones. A failure prints the seed of its session.

#![allow(clippy::unwrap_used, reason = "tests")]

mod asked;
mod decoder;
mod expected;
mod flow;
mod options;
#[path = "../fuzz/random.rs"]
mod random;
mod session;
mod v5;
mod walk;

use std::env;

use netflow_user::message::Protocol;

use random::Random;
use session::Tally;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.replace('_', "").parse().unwrap())
}

/// Says which session failed.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("NETFLOW_ROUND_TRIP_SEED={} NETFLOW_ROUND_TRIP_RECORDS=1 shows it again", self.0);
        }
    }
}

fn round_trip(records: u64) {
    let records = number("NETFLOW_ROUND_TRIP_RECORDS").unwrap_or(records);
    let first = number("NETFLOW_ROUND_TRIP_SEED").unwrap_or(1);
    let mut tallies: [Tally; 3] = Default::default();
    let sent = |tallies: &[Tally; 3]| -> u64 { tallies.iter().map(|tally| tally.records).sum() };
    for seed in first.. {
        if sent(&tallies) >= records {
            break;
        }
        let _told = Told(seed);
        let random = &mut Random(seed);
        let [v5, v9, ipfix] = &mut tallies;
        match random.below(5) {
            0 => v5::run(random, v5),
            1 | 2 => session::run(random, Protocol::NetflowV9, v9),
            _ => session::run(random, Protocol::Ipfix, ipfix),
        }
    }
    for (name, tally) in ["v5", "v9", "IPFIX"].iter().zip(&tallies) {
        let Tally { sessions, messages, records, options_records, biflows, chosen, split, templates } = tally;
        eprintln!(
            "{name}: {records} flows ({biflows} biflows, {split} in several records) and {options_records} records of \
             options data in {messages} messages of {sessions} sessions ({chosen} with a template of choice), {} \
             templates",
            templates.len()
        );
        assert!(*records > 0 || first != 1, "nothing in {name}");
        let is_free = *name != "v5" && first == 1;
        assert!(!is_free || *chosen > 0 && *split > 0 && *options_records > 0, "too little in {name}");
    }
}

#[test]
fn an_independent_decoder_finds_every_value_of_random_records() {
    round_trip(50_000);
}

#[test]
#[ignore = "takes minutes unless optimised: it is run with the tests that need root"]
fn an_independent_decoder_finds_every_value_of_a_million_random_records() {
    round_trip(1_000_000);
}
