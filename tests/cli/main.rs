//! The tool's manners: what it says to bad input, how it ends, and that it leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "tests")]

mod anonymisation;
mod collectors;
mod command_line;
mod doctor;
mod endings;
mod files;
mod following;
mod interfaces;
mod journal;
mod json;
mod least_privilege;
mod output;
mod own_collector;
mod privileges;
mod sockets;
mod streams;
mod support;
mod tap;
