//! FILTER: which packets are metered, as an expression of pcap-filter(7).
//!
//! In: an expression. Out: a program of classic BPF for each kind of packet, made by libpcap; run on the host for
//! capture files, translated to the kernel's BPF for interfaces. This room refuses to know maps and interfaces: the
//! kernel room loads what comes out of it.

mod assembler;
pub mod classic;
mod error;
pub mod interpreter;
mod libpcap;
pub mod object;
mod translation;

use std::sync::OnceLock;

use netflow_ebpf::packet::LinkType;
use serde::{Deserialize, Serialize};

use self::{
    classic::{ClassicProgram, Metadata, RawInstruction},
    interpreter::PacketContext,
    libpcap::Libpcap,
};
pub use self::{
    error::FilterError,
    translation::{FILTERED, Hook, MATCHED, Translation, translate},
};

/// What packets begin with, as libpcap distinguishes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataLink {
    /// An Ethernet header.
    Ethernet,
    /// An IP header.
    RawIp,
    /// A protocol family in the capturing host's byte order.
    Null,
    /// A protocol family in network byte order.
    Loop,
    /// Linux cooked, version 1.
    CookedV1,
    /// Linux cooked, version 2.
    CookedV2,
}

impl DataLink {
    const COUNT: usize = Self::CookedV2 as usize + 1;

    /// The number in `pcap/dlt.h`, on Linux.
    const fn number(self) -> i32 {
        match self {
            Self::Ethernet => 1,
            Self::RawIp => 12,
            Self::Null => 0,
            Self::Loop => 108,
            Self::CookedV1 => 113,
            Self::CookedV2 => 276,
        }
    }

    /// As operators see it.
    const fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "Ethernet",
            Self::RawIp => "packets without an Ethernet header",
            Self::Null | Self::Loop => "BSD loopback",
            Self::CookedV1 => "Linux cooked 1",
            Self::CookedV2 => "Linux cooked 2",
        }
    }

    /// That of a captured packet.
    fn of(link: LinkType, octets: &[u8]) -> Self {
        match link {
            LinkType::Ethernet => Self::Ethernet,
            LinkType::RawIp => Self::RawIp,
            // Families are small numbers: their place tells the byte order.
            LinkType::Loopback if octets.starts_with(&[0, 0, 0]) => Self::Loop,
            LinkType::Loopback => Self::Null,
            LinkType::CookedV1 => Self::CookedV1,
            LinkType::CookedV2 => Self::CookedV2,
        }
    }
}

/// What is left of an expression for a process that is to load it and has no compiler: instructions, which are checked
/// again where they arrive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompiledFilter {
    /// For packets with an Ethernet header.
    pub ethernet: Vec<RawInstruction>,
    /// For packets that begin with the IP header; `None`: the expression makes no sense for them.
    pub raw_ip: Option<Vec<RawInstruction>>,
}

impl CompiledFilter {
    /// A filter for interfaces, which never asks the compiler.
    ///
    /// # Errors
    /// As [`ClassicProgram::new`].
    pub fn filter(&self) -> Result<Filter, FilterError> {
        let programs = [(); DataLink::COUNT].map(|()| OnceLock::from(Err(FilterError::NotUnderstood)));
        let mut filter = Filter { expression: String::new(), programs };
        filter.programs[DataLink::Ethernet as usize] = OnceLock::from(ClassicProgram::new(&self.ethernet));
        if let Some(raw_ip) = &self.raw_ip {
            filter.programs[DataLink::RawIp as usize] = OnceLock::from(ClassicProgram::new(raw_ip));
        }
        filter.program(DataLink::Ethernet)?;
        Ok(filter)
    }
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Filter {
    expression: String,
    /// By [`DataLink`], compiled when such packets come. Not every expression makes sense for each.
    programs: [OnceLock<Result<ClassicProgram, FilterError>>; DataLink::COUNT],
}

impl Filter {
    /// Compiles an expression, with names of hosts and services looked up now (for other links than Ethernet when such packets come).
    ///
    /// # Errors
    /// No libpcap, or an expression that it refuses for Ethernet.
    pub fn compile(expression: &str) -> Result<Self, FilterError> {
        let filter = Self { expression: expression.to_owned(), programs: Default::default() };
        filter.program(DataLink::Ethernet)?;
        Ok(filter)
    }

    /// A program for packets of every kind that no expression needs to exist for: how tests reach what libpcap's
    /// optimiser does not write.
    pub fn of_program(program: &ClassicProgram) -> Self {
        Self {
            expression: String::new(),
            programs: [(); DataLink::COUNT].map(|()| OnceLock::from(Ok(program.clone()))),
        }
    }

    /// What interfaces need of it, compiled now: for packets with an Ethernet header, and for those without one where
    /// the expression makes sense for them.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn for_interfaces(&self) -> Result<CompiledFilter, FilterError> {
        let instructions = |program: &ClassicProgram| program.instructions().to_vec();
        Ok(CompiledFilter {
            ethernet: self.program(DataLink::Ethernet).map(instructions)?,
            raw_ip: self.program(DataLink::RawIp).map(instructions).ok(),
        })
    }

    /// As it was given.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Its program for packets that begin so.
    ///
    /// # Errors
    /// The expression asks for what such packets do not have.
    pub fn program(&self, link: DataLink) -> Result<&ClassicProgram, FilterError> {
        let compile = || ClassicProgram::new(&Libpcap::load()?.compile(&self.expression, link)?);
        self.programs[link as usize].get_or_init(compile).as_ref().map_err(Clone::clone)
    }

    /// Whether it matches a packet of a capture file, `length` octets long on the wire.
    ///
    /// # Errors
    /// The expression asks for what such packets do not have, or for what a capture file does not tell.
    pub fn matches(&self, link: LinkType, octets: &[u8], length: u32) -> Result<bool, FilterError> {
        let program = self.program(DataLink::of(link, octets))?;
        if program.needs(Metadata::Direction) || program.needs(Metadata::Interface) {
            return Err(FilterError::NotInCapture);
        }
        let context = PacketContext { length, ..PacketContext::default() };
        Ok(interpreter::matches(program, octets, &context))
    }

    /// An object for the loader: the program for a hook, [`object::PROGRAM`], with its map, [`object::MAP`].
    ///
    /// # Errors
    /// The expression asks for what the packets there do not have, or is too long.
    pub fn object(&self, hook: Hook) -> Result<Vec<u8>, FilterError> {
        let link = match hook {
            Hook::Tc { ethernet: false, .. } => DataLink::RawIp,
            Hook::Xdp { .. } | Hook::Tc { .. } => DataLink::Ethernet,
        };
        object::write(&translate(self.program(link)?, hook)?, hook)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// `None` where there is no libpcap: it is no part of this program.
    fn compile(expression: &str) -> Option<Result<Filter, FilterError>> {
        match Filter::compile(expression) {
            Err(FilterError::NoLibrary { reason }) => {
                assert!(std::env::var_os("CI").is_none(), "{reason}");
                eprintln!("skipped: {reason}");
                None
            }
            result => Some(result),
        }
    }

    #[test]
    fn a_refused_expression_comes_with_the_message_of_libpcap_in_one_line() {
        for expression in ["udp port", "host", "bogus", "ip broadcast", "tcp[", "wlan type mgt", "\0", "(((("]
        {
            let Some(result) = compile(expression) else { return };
            let text = result.unwrap_err().to_string();
            assert!(text.starts_with("--filter \"") && text.contains("is refused for Ethernet: "), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn a_loop_is_refused() {
        let Some(result) = compile("ip6 protochain 17") else { return };
        assert!(matches!(result, Err(FilterError::Loop)));
    }

    #[test]
    fn an_expression_that_makes_no_sense_without_an_ethernet_header_is_refused_only_there() {
        let Some(filter) = compile("ether host 02:00:00:00:00:01") else { return };
        let filter = filter.unwrap();
        assert!(filter.program(DataLink::Ethernet).is_ok());
        let error = filter.program(DataLink::RawIp).unwrap_err();
        assert!(error.to_string().contains("packets without an Ethernet header"), "{error}");
    }

    #[test]
    fn the_same_expression_reads_packets_of_every_link_type() {
        let ip = [
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 2, 3, 192, 0, 2, 1, 0x30, 0x39, 0, 53, 0, 8, 0,
            0,
        ];
        let behind = |header: &[u8]| [header, &ip].concat();
        let mut cooked = [0; 16];
        cooked[14] = 8;
        let mut cooked_2 = [0; 20];
        cooked_2[0] = 8;
        let packets = [
            (LinkType::Ethernet, behind(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0])),
            (LinkType::RawIp, ip.to_vec()),
            (LinkType::Loopback, behind(&2u32.to_ne_bytes())),
            (LinkType::Loopback, behind(&[0, 0, 0, 2])),
            (LinkType::CookedV1, behind(&cooked)),
            (LinkType::CookedV2, behind(&cooked_2)),
        ];
        for (expression, expected) in
            [("udp and dst port 53 and net 10.0.0.0/8", true), ("tcp or port 54", false)]
        {
            let Some(filter) = compile(expression) else { return };
            let filter = filter.unwrap();
            for (link, packet) in &packets {
                let matched = filter.matches(*link, packet, packet.len() as u32).unwrap();
                assert_eq!(matched, expected, "{expression} {link:?} {packet:02x?}");
            }
        }
    }

    #[test]
    fn a_capture_file_does_not_tell_directions() {
        let Some(filter) = compile("inbound and ip") else { return };
        let result = filter.unwrap().matches(LinkType::Ethernet, &[0; 60], 60);
        assert!(matches!(result, Err(FilterError::NotInCapture)));
    }
}
