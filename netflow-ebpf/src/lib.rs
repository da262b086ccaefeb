//! The packet parser, for the host: tests, fuzzing and capture files read packets with the kernel's code.
#![no_std]

pub mod packet;
