//! What is measured, and when flows end.

use std::{num::NonZeroU32, time::Duration};

use clap::Args;

use super::{
    values::{duration, entries},
    words::Fragments,
};

/// What is measured of packets.
#[derive(Debug, Args)]
#[command(next_help_heading = "Flows")]
pub struct Measured {
    /// What tells flows apart: default, 5-tuple, 7-tuple, host-pair, prefix-pair, protocol-port, or a list of elements
    /// with prefix lengths (sourceIPv4Address/24,destinationTransportPort)
    #[arg(long, value_name = "KEY", default_value = "default")]
    pub key: String,
    /// Look into tunnels: none, all, or a list of ip-in-ip, gre, vxlan, geneve, gtp-u
    #[arg(long, value_name = "TUNNELS", default_value = "none")]
    pub decapsulate: String,
    /// Later fragments take the ports of their first one, or are flows of their own
    #[arg(long, value_name = "HOW", default_value = "join")]
    pub fragments: Fragments,
    /// Further fields: l2, size, mpls, opts, spi, igmp, tos, dscp, ttl, frag, fragments, tcp, tunnel, encapsulation,
    /// route, vrf, obspoint; a list, may be repeated
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    pub group: Vec<String>,
    /// The fields of records, in place of the usual ones: names of the registry, with octets where they are to be fewer
    /// (sourceIPv4Address,destinationIPv4Address,octetDeltaCount/4)
    #[arg(long, value_name = "ELEMENTS", conflicts_with = "group", hide_short_help = true)]
    pub template: Option<String>,
    /// Pair both directions of a flow to one record (RFC 5103), with reverse fields; IPFIX only
    #[arg(long)]
    pub biflow: bool,
    /// Private Enterprise Number for fields that the registry has no element for
    #[arg(long, value_name = "NUMBER", hide_short_help = true)]
    pub enterprise_number: Option<NonZeroU32>,
}

/// When flows end.
#[derive(Debug, Args)]
#[command(next_help_heading = "Flows")]
pub struct Flows {
    /// A flow ends when it had no packet for this time
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub idle_timeout: Duration,
    /// A flow that goes on is reported when this time has passed
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration)]
    pub active_timeout: Duration,
    /// A TCP flow ends this long after its last packet once a FIN or RST was seen
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration, hide_short_help = true)]
    pub end_linger: Duration,
    /// Flows in the cache; when it is full, the least recently seen one ends
    #[arg(long, value_name = "FLOWS", default_value = "1000000", value_parser = entries, hide_short_help = true)]
    pub cache_size: NonZeroU32,
}
