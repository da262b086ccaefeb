//! Capabilities: which of the two processes keeps which, and that the others are gone.

use std::{fs, io};

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use tracing::debug;

use super::PrivilegesError;
use crate::kernel::KernelVersion;

/// From here on bpf(2) is for everybody who holds the descriptor of a map or a program, whatever
/// `kernel.unprivileged_bpf_disabled` says; making them is what it forbids then.
const UNPRIVILEGED_MAPS: KernelVersion = KernelVersion { major: 5, minor: 19 };

/// What the agent keeps: nothing, or what reads maps on older kernels.
pub(super) fn of_agent() -> CapabilitySet {
    let version = KernelVersion::running().unwrap_or(KernelVersion::OLDEST);
    let disabled = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
    agent_on(version, disabled.is_ok_and(|value| value.trim() == "0"))
}

fn agent_on(version: KernelVersion, unprivileged_bpf: bool) -> CapabilitySet {
    if version >= UNPRIVILEGED_MAPS || unprivileged_bpf { CapabilitySet::empty() } else { CapabilitySet::BPF }
}

/// What the privileged process keeps, of what there is: maps and programs, interfaces, the membership that makes an
/// interface promiscuous, and the priority of the metering thread.
pub(super) fn of_privileged_process() -> CapabilitySet {
    let kept = CapabilitySet::BPF
        | CapabilitySet::PERFMON
        | CapabilitySet::NET_ADMIN
        | CapabilitySet::NET_RAW
        | CapabilitySet::SYS_NICE;
    // It stands for the first two where something that does not know them started this program.
    match capabilities(None) {
        Ok(sets) if !sets.permitted.contains(CapabilitySet::BPF | CapabilitySet::PERFMON) => {
            kept | CapabilitySet::SYS_ADMIN
        }
        _ => kept,
    }
}

/// Nothing that is executed can have a capability again. Needs CAP_SETPCAP; without it no_new_privs has to do.
pub(super) fn empty_bounding_set() {
    for capability in CapabilitySet::all() {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // This kernel does not know it.
            Err(rustix::io::Errno::INVAL) => {}
            Err(error) => {
                debug!("the bounding set of capabilities stays as it is: {error}");
                return;
            }
        }
    }
}

/// Keeps these, of those that there are, and makes sure of it.
///
/// # Errors
/// Others are left.
pub(super) fn keep(kept: CapabilitySet) -> Result<(), PrivilegesError> {
    let fail = |error: rustix::io::Errno| PrivilegesError::Capabilities { source: error.into() };
    let kept = kept & capabilities(None).map_err(fail)?.permitted;
    if let Err(error) = clear_ambient_capability_set() {
        debug!("the ambient set of capabilities stays as it is: {error}");
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(fail)?;
    match capabilities(None).map_err(fail)? {
        now if now == sets => Ok(()),
        _ => Err(PrivilegesError::Capabilities { source: io::Error::other("some are left") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_keeps_a_capability_only_where_maps_need_one() {
        let on = |major, minor, unprivileged| agent_on(KernelVersion { major, minor }, unprivileged);
        for none in [on(5, 19, false), on(6, 1, false), on(6, 18, true), on(5, 10, true)] {
            assert_eq!(none, CapabilitySet::empty());
        }
        for one in [on(5, 10, false), on(5, 18, false)] {
            assert_eq!(one, CapabilitySet::BPF);
        }
    }
}
