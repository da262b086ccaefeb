//! The entry points of the meter: which program stands at which hook, loaded when it is first needed.

use aya::{
    Ebpf,
    programs::{Program, ProgramError, ProgramFd, TestRun as _, TestRunOptions, TestRunResult},
};
use netflow_common::names;
use serde::{Deserialize, Serialize};

use super::{Kernel, KernelError, Link, Width};
use crate::filter;

/// A program of the meter. All have the same body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EntryPoint {
    /// XDP, frames of several buffers too (kernel 5.18).
    XdpFragments,
    /// XDP.
    Xdp,
    /// TC, packets that an interface receives.
    TcIngress(Link),
    /// TC, packets that an interface sends.
    TcEgress(Link),
}

impl EntryPoint {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::XdpFragments,
        Self::Xdp,
        Self::TcIngress(Link::Ethernet),
        Self::TcEgress(Link::Ethernet),
        Self::TcIngress(Link::RawIp),
        Self::TcEgress(Link::RawIp),
    ];

    /// The program's name in the object.
    pub const fn name(self, width: Width) -> &'static str {
        let [default, wide] = match self {
            Self::XdpFragments => [names::PROGRAM_XDP_FRAGS, names::PROGRAM_XDP_FRAGS_WIDE],
            Self::Xdp => [names::PROGRAM_XDP, names::PROGRAM_XDP_WIDE],
            Self::TcIngress(Link::Ethernet) => [names::PROGRAM_TC_INGRESS, names::PROGRAM_TC_INGRESS_WIDE],
            Self::TcEgress(Link::Ethernet) => [names::PROGRAM_TC_EGRESS, names::PROGRAM_TC_EGRESS_WIDE],
            Self::TcIngress(Link::RawIp) => [names::PROGRAM_TC_INGRESS_L3, names::PROGRAM_TC_INGRESS_L3_WIDE],
            Self::TcEgress(Link::RawIp) => [names::PROGRAM_TC_EGRESS_L3, names::PROGRAM_TC_EGRESS_L3_WIDE],
        };
        match width {
            Width::Default => default,
            Width::Wide => wide,
        }
    }

    /// What agents attach there, by name.
    pub(super) const fn attached(self) -> [&'static str; 3] {
        [self.name(Width::Default), self.name(Width::Wide), filter::object::PROGRAM]
    }

    /// The program that counts what a filter before it does not let pass.
    pub const fn filtered(self) -> &'static str {
        match self {
            Self::XdpFragments => names::PROGRAM_XDP_FRAGS_FILTERED,
            Self::Xdp => names::PROGRAM_XDP_FILTERED,
            Self::TcIngress(Link::Ethernet) => names::PROGRAM_TC_INGRESS_FILTERED,
            Self::TcEgress(Link::Ethernet) => names::PROGRAM_TC_EGRESS_FILTERED,
            Self::TcIngress(Link::RawIp) => names::PROGRAM_TC_INGRESS_L3_FILTERED,
            Self::TcEgress(Link::RawIp) => names::PROGRAM_TC_EGRESS_L3_FILTERED,
        }
    }

    /// Where a filter before it stands.
    pub(super) const fn hook(self) -> filter::Hook {
        match self {
            Self::XdpFragments | Self::Xdp => {
                filter::Hook::Xdp { fragments: matches!(self, Self::XdpFragments) }
            }
            Self::TcIngress(link) | Self::TcEgress(link) => filter::Hook::Tc {
                outgoing: matches!(self, Self::TcEgress(_)),
                ethernet: matches!(link, Link::Ethernet),
            },
        }
    }

    /// Whether it is an XDP program.
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::XdpFragments | Self::Xdp)
    }
}

/// What a test run pretends of a socket buffer, beside its octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SocketBuffer {
    /// Octets of the linear part; 0: all. (Kernels before 6.19 or so refuse another value.)
    pub linear: u32,
    /// `gso_segs`.
    pub segments: u32,
    /// `gso_size`.
    pub segment_size: u32,
    /// `wire_len`; 0: that of the packet.
    pub wire_length: u32,
}

impl SocketBuffer {
    /// `struct __sk_buff` of `linux/bpf.h`.
    fn context(&self) -> [u32; 48] {
        let mut context = [0; 48];
        // Loopback, as in test runs without a context.
        context[10] = 1;
        context[20] = self.linear;
        context[40] = self.wire_length;
        context[41] = self.segments;
        context[44] = self.segment_size;
        context
    }
}

/// A program of the object, loaded when it is first asked for.
pub(super) fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing { name })?;
    if program.fd().is_ok() {
        return Ok(());
    }
    let loaded = match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    loaded.map_err(|source| KernelError::Refused { name, source })
}

impl Kernel {
    /// Chooses the program that test runs go to, and loads it: where this process has the programs.
    ///
    /// # Errors
    /// The verifier refuses it.
    pub fn test(&mut self, entry: EntryPoint) -> Result<(), KernelError> {
        let loader = self.loader().ok_or(KernelError::Missing { name: entry.name(Width::Default) })?;
        loader.load_at(entry)?;
        loader.tested = entry;
        Ok(())
    }

    /// Runs the meter over one frame by `BPF_PROG_TEST_RUN`: for tests of the packet path.
    ///
    /// # Errors
    /// What the kernel says; a frame below 14 octets is refused with `EINVAL`.
    pub fn test_run(&mut self, frame: &[u8], repeat: u32) -> Result<TestRunResult, ProgramError> {
        self.run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() })
    }

    /// The same with only the first `linear` octets in the linear part and the rest in further buffers.
    /// (Kernel 6.18: `data_end` of the context given in says so. Older ones refuse it with `EINVAL`.)
    ///
    /// # Errors
    /// What the kernel says.
    pub fn test_run_split(&mut self, frame: &[u8], linear: u32) -> Result<TestRunResult, ProgramError> {
        if self.loader().is_some_and(|loader| !loader.tested.is_xdp()) {
            return self.test_run_buffer(frame, &SocketBuffer { linear, ..SocketBuffer::default() });
        }
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: [u32; 6] = [0, linear, 0, 0, 0, 0];
        let context = bytemuck::bytes_of(&context);
        self.run(TestRunOptions { data_in: Some(frame), ctx_in: Some(context), ..TestRunOptions::default() })
    }

    /// Runs a TC program over a socket buffer that is as told.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn test_run_buffer(
        &mut self,
        frame: &[u8],
        buffer: &SocketBuffer,
    ) -> Result<TestRunResult, ProgramError> {
        let context = buffer.context();
        let context = bytemuck::bytes_of(&context);
        self.run(TestRunOptions { data_in: Some(frame), ctx_in: Some(context), ..TestRunOptions::default() })
    }

    /// The program that test runs go to, for another program that calls it as its last act.
    ///
    /// # Errors
    /// It is not loaded.
    pub fn tested_program(&mut self) -> Result<&ProgramFd, ProgramError> {
        self.tested()?.fd()
    }

    fn run(&mut self, options: TestRunOptions<'_>) -> Result<TestRunResult, ProgramError> {
        match self.tested()? {
            Program::Xdp(program) => program.test_run(options),
            Program::SchedClassifier(program) => program.test_run(options),
            _ => Err(ProgramError::UnexpectedProgramType),
        }
    }

    fn tested(&mut self) -> Result<&mut Program, ProgramError> {
        let loader = self.loader().ok_or(ProgramError::NotLoaded)?;
        loader.program_at(loader.tested).ok_or(ProgramError::NotLoaded)
    }
}
