//! Meters of wide entries: the kernel program in test runs, and the host.

use netflow_common::WideCounters;
use netflow_user::kernel::Measure;

use crate::host::HostMeterOf;
use crate::meter::KernelMeterOf;

/// All groups, all tunnels; fragments are joined.
pub const EVERYTHING: Measure =
    Measure { join_fragments: true, groups: u32::MAX, tunnels: u32::MAX, ..Measure::DEFAULT };

/// The kernel's meter of wide entries.
pub type WideKernel = KernelMeterOf<WideCounters>;

/// The host's meter of wide entries.
pub type WideHost = HostMeterOf<WideCounters>;
