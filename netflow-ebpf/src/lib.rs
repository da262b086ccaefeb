//! What of the kernel program runs on the host too: the packet parser, with which tests, fuzzing and capture files read
//! packets, and the rules of the flow table.
#![no_std]

pub mod packet;
pub mod table;
