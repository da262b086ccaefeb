//! `netflow`: the one binary.

fn main() {}
