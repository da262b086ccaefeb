//! The copy against rules of thumb, a naive model, and messages that another crate wrote.
#![allow(clippy::unwrap_used, reason = "tests")]

mod longest_match;
mod measure;
mod messages;
mod tables;

use std::net::IpAddr;

use super::prefix::{Family, Prefix};

/// xorshift64*: the same numbers each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

/// An address, left-aligned.
fn bits(text: &str) -> u128 {
    match text.parse().unwrap() {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// `address/length`.
fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(bits(address), length.parse().unwrap())
}

fn family(text: &str) -> Family {
    if text.contains(':') { Family::V6 } else { Family::V4 }
}
