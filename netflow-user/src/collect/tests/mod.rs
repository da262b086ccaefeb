//! The collector against whole messages that independent programs decoded, and against damaged ones.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;

use super::{Collector, DecodedFlow, Peer, Way};

mod connections;
mod damage;
mod decoding;
mod output;
#[cfg(feature = "dtls")]
mod secured;

/// The octets of one message of `vectors.txt`.
fn vector(number: u32) -> Vec<u8> {
    let title = format!("# VEC-{number} ");
    let lines = include_str!("../vectors.txt").lines().skip_while(|line| !line.starts_with(&title)).skip(1);
    let digits: String = lines.take_while(|line| !line.starts_with('#')).collect::<String>().replace(' ', "");
    assert!(!digits.is_empty(), "{title}is missing");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn exporter() -> SocketAddr {
    "192.0.2.99:40000".parse().unwrap()
}

/// A collector that has heard the messages, and the flows of the last one.
fn heard(numbers: &[u32]) -> (Collector, Vec<DecodedFlow>) {
    let mut collector = Collector::new();
    let mut flows = Vec::new();
    for &number in numbers {
        flows = collector.decode(exporter(), &vector(number));
    }
    (collector, flows)
}

fn text(flow: &DecodedFlow, name: &str) -> String {
    let field = flow.fields.iter().find(|(element, _)| element.name() == name);
    field.map_or_else(|| format!("no {name}"), |(_, value)| value.to_string())
}
