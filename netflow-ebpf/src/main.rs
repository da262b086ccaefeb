//! Entry points of the kernel program.
fn main() {}
