//! Names of programs, maps and globals in the object, as the loader looks them up.

/// XDP entry point for multi-buffer frames (kernel 5.18 and newer).
pub const PROGRAM_XDP_FRAGS: &str = "netflow_xdp_frags";
/// XDP entry point for older kernels, and for drivers that refuse `frags`.
pub const PROGRAM_XDP: &str = "netflow_xdp";
/// [`PROGRAM_XDP_FRAGS`] with wide entries.
pub const PROGRAM_XDP_FRAGS_WIDE: &str = "netflow_xdp_frags_wide";
/// [`PROGRAM_XDP`] with wide entries.
pub const PROGRAM_XDP_WIDE: &str = "netflow_xdp_wide";
/// Counts what a filter does not let pass: the other end of [`PROGRAM_XDP_FRAGS`]'s filter.
pub const PROGRAM_XDP_FRAGS_FILTERED: &str = "netflow_xdp_frags_filtered";
/// The same for [`PROGRAM_XDP`].
pub const PROGRAM_XDP_FILTERED: &str = "netflow_xdp_filtered";
/// The other end of [`PROGRAM_TC_INGRESS`]'s filter.
pub const PROGRAM_TC_INGRESS_FILTERED: &str = "netflow_tc_ingress_filtered";
/// The other end of [`PROGRAM_TC_EGRESS`]'s filter.
pub const PROGRAM_TC_EGRESS_FILTERED: &str = "netflow_tc_egress_filtered";
/// The other end of [`PROGRAM_TC_INGRESS_L3`]'s filter.
pub const PROGRAM_TC_INGRESS_L3_FILTERED: &str = "netflow_tc_ingress_l3_filtered";
/// The other end of [`PROGRAM_TC_EGRESS_L3`]'s filter.
pub const PROGRAM_TC_EGRESS_L3_FILTERED: &str = "netflow_tc_egress_l3_filtered";
/// TC entry point for packets that an interface receives.
pub const PROGRAM_TC_INGRESS: &str = "netflow_tc_ingress";
/// TC entry point for packets that an interface sends.
pub const PROGRAM_TC_EGRESS: &str = "netflow_tc_egress";
/// TC entry point for packets without an Ethernet header that an interface receives.
pub const PROGRAM_TC_INGRESS_L3: &str = "netflow_tc_ingress_l3";
/// TC entry point for packets without an Ethernet header that an interface sends.
pub const PROGRAM_TC_EGRESS_L3: &str = "netflow_tc_egress_l3";
/// [`PROGRAM_TC_INGRESS`] with wide entries.
pub const PROGRAM_TC_INGRESS_WIDE: &str = "netflow_tc_ingress_wide";
/// [`PROGRAM_TC_EGRESS`] with wide entries.
pub const PROGRAM_TC_EGRESS_WIDE: &str = "netflow_tc_egress_wide";
/// [`PROGRAM_TC_INGRESS_L3`] with wide entries.
pub const PROGRAM_TC_INGRESS_L3_WIDE: &str = "netflow_tc_ingress_l3_wide";
/// [`PROGRAM_TC_EGRESS_L3`] with wide entries.
pub const PROGRAM_TC_EGRESS_L3_WIDE: &str = "netflow_tc_egress_l3_wide";
/// Reads both clocks into [`MAP_CLOCK`] when test-run.
pub const PROGRAM_CLOCK: &str = "netflow_clock";

/// `ARRAY_OF_MAPS`: the flow maps, index `generation * cpus + cpu`.
pub const MAP_FLOWS: &str = "FLOWS";
/// `ARRAY_OF_MAPS`: the same with wide entries.
pub const MAP_WIDE_FLOWS: &str = "WIDE_FLOWS";
/// `ARRAY`, mapped by the agent: buckets of [`crate::Ipv4Slot`], index `(generation * cpus + cpu) * buckets + bucket`.
pub const MAP_IPV4_SLOTS: &str = "IPV4_SLOTS";
/// The same of [`crate::FlowSlot`].
pub const MAP_FLOW_SLOTS: &str = "FLOW_SLOTS";
/// The same of [`crate::WideSlot`].
pub const MAP_WIDE_SLOTS: &str = "WIDE_SLOTS";
/// `ARRAY` of words, mapped by the agent: a bit for each slot of [`MAP_IPV4_SLOTS`] that is used.
pub const MAP_IPV4_USED: &str = "IPV4_USED";
/// The same for [`MAP_FLOW_SLOTS`] or [`MAP_WIDE_SLOTS`].
pub const MAP_OTHER_USED: &str = "OTHER_USED";
/// `PERCPU_ARRAY` of [`crate::KernelStats`], one entry per generation.
pub const MAP_STATS: &str = "STATS";
/// `ARRAY` of [`crate::Sampling`], one for each generation.
pub const MAP_SAMPLING: &str = "SAMPLING";
/// `LRU_HASH`: first fragments.
pub const MAP_FRAGMENTS: &str = "FRAGMENTS";
/// `LRU_HASH`: what is expected of TCP connections.
pub const MAP_TCP: &str = "TCP";
/// `LRU_HASH`: times of SYNs.
pub const MAP_HANDSHAKES: &str = "HANDSHAKES";
/// `ARRAY` of words of 64 bits: local UDP ports of the agent's own sockets, a bit each.
pub const MAP_OWN_PORTS: &str = "OWN_PORTS";
/// `HASH`: those sockets, by [`crate::FlowKey::session`].
pub const MAP_OWN_EXPORT: &str = "OWN_EXPORT";
/// `ARRAY` of one `u32`: the generation that packets go to, 0 or 1.
pub const MAP_GENERATION: &str = "GENERATION";
/// `ARRAY` of one [`crate::ClockReading`].
pub const MAP_CLOCK: &str = "CLOCK";
/// Ring buffer: a [`crate::Watermark`] (`u32`) of the CPU that is running out of room.
pub const MAP_WATERMARK: &str = "WATERMARK";

/// The read-only global of type [`crate::Settings`].
pub const GLOBAL_SETTINGS: &str = "SETTINGS";
/// Generations of every map.
pub const GENERATIONS: u32 = 2;
