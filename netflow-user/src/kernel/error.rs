//! What can fail between the agent and the kernel, named by step.

use std::{io, net::SocketAddr};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use crate::filter::FilterError;

/// An operation of the kernel room that failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel is older than the oldest supported one.
    #[error(
        "kernel {found} is too old: {feature} needs {needed} or newer, the meter {oldest}", oldest = super::KernelVersion::OLDEST
    )]
    KernelTooOld {
        /// The running kernel.
        found: String,
        /// What is missing.
        feature: &'static str,
        /// The first kernel that has it.
        needed: &'static str,
    },
    /// The process may not do what metering needs.
    #[error(
        "cannot load the meter: the process lacks {missing}; run it as root (sudo netflow run ...), or grant these capabilities"
    )]
    MissingCapabilities {
        /// Names, comma separated.
        missing: String,
    },
    /// The CPUs could not be counted.
    #[error("cannot read {file}")]
    Cpus {
        /// The file of sysfs.
        file: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The object was refused before a program was loaded: maps, BTF, globals.
    #[error("cannot create the meter's maps")]
    Object {
        /// Why.
        #[source]
        source: EbpfError,
    },
    /// The process has the capabilities, but not those of the host.
    #[error(
        "the kernel does not let this process create BPF maps: in a container or user namespace the host's own root is needed (sudo netflow run ...)"
    )]
    NotPermitted {
        /// The kernel's answer.
        #[source]
        source: EbpfError,
    },
    /// A flow map could not be made.
    #[error(
        "cannot create the flow map of CPU {cpu} with {entries} entries; a smaller --map-size or --kernel-memory needs less memory"
    )]
    FlowMap {
        /// Its CPU.
        cpu: u32,
        /// Its size.
        entries: u32,
        /// Why.
        #[source]
        source: MapError,
    },
    /// The object lacks something that this agent expects.
    #[error("the meter's object has no {name}: agent and object do not belong together")]
    Missing {
        /// Map or program.
        name: &'static str,
    },
    /// The flow table cannot be read.
    #[error("cannot map the flow table's array {name}: --flow-table-size 0 does without")]
    Mapping {
        /// Which array.
        name: &'static str,
        /// What mmap(2) says.
        #[source]
        source: io::Error,
    },
    /// The verifier refused a program.
    #[error("the kernel refused the program {name}")]
    Refused {
        /// Which.
        name: &'static str,
        /// Why, with the verifier's log.
        #[source]
        source: ProgramError,
    },
    /// The filter cannot stand where it is to be attached.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A map has another shape than expected.
    #[error("cannot open the map {name}")]
    Map {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: MapError,
    },
    /// The meter cannot be told of a socket.
    #[error(
        "cannot leave out what is exported from {local}; --exclude-own-export off meters it like other packets"
    )]
    OwnExport {
        /// This end of the socket.
        local: SocketAddr,
        /// Why.
        #[source]
        source: MapError,
    },
    /// Attaching failed for a reason that is known.
    #[error("cannot attach to {interface} in {mode} mode: {reason}")]
    Attach {
        /// The interface.
        interface: String,
        /// native or generic.
        mode: &'static str,
        /// Cause and remedy.
        reason: String,
    },
    /// The generation could not be changed, or the wait for running programs failed.
    #[error("cannot flip the generation")]
    Flip {
        /// Why.
        #[source]
        source: MapError,
    },
    /// Totals could not be read.
    #[error("cannot read the meter's totals")]
    Stats {
        /// Why.
        #[source]
        source: MapError,
    },
    /// The clock program failed.
    #[error("cannot run the clock program")]
    Clock {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The clock reading could not be fetched.
    #[error("cannot read the kernel's clocks")]
    ClockMap {
        /// Why.
        #[source]
        source: MapError,
    },
    /// A descriptor could not be doubled for the half without privileges.
    #[error("cannot hand over a map or a program")]
    HandOver {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What the privileged process could not do: the same line that this process would have said itself.
    #[error("{line}")]
    Privileged {
        /// Step and causes.
        line: String,
    },
    /// The privileged process does not answer.
    #[error(
        "the privileged process of this agent does not answer: was it ended? nothing is metered any more"
    )]
    NoAnswer {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program's log could not be opened.
    #[error("cannot open the meter's log")]
    Log {
        /// Why.
        #[source]
        source: aya_log::Error,
    },
}

/// The operating system's error number behind an error, if there is one.
pub(super) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        cause = error.source();
    }
    None
}
