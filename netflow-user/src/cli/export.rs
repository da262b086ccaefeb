//! What is sent where.

use std::{num::NonZeroU32, time::Duration};

use clap::Args;

use super::{
    values::{duration, size},
    words::{self, Protocol},
};

/// What is sent where.
#[derive(Debug, Args)]
#[command(next_help_heading = "Export")]
pub struct Export {
    /// Collector, may be repeated: udp://host:port?protocol=v9 (ports 4739, v9 2055); file:///directory/prefix, json:-
    #[arg(short, long = "collector", value_name = "URL")]
    pub collector: Vec<String>,
    /// How collectors share the records: [NAME=]replicate, balance, round-robin or failover; NAME is group=NAME in their
    /// URLs, without it those in no group; may be repeated [default: replicate]
    #[arg(long, value_name = "MODE", requires = "collector", hide_short_help = true)]
    pub collector_mode: Vec<String>,
    /// Protocol for collectors whose URL names none
    #[arg(long, value_name = "PROTOCOL", default_value = "ipfix")]
    pub protocol: Protocol,
    /// Observation Domain ID (v9: Source ID)
    #[arg(long, value_name = "ID", default_value_t = 1)]
    pub observation_domain: u32,
    /// Templates are sent again after this time ...
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, hide_short_help = true)]
    pub template_refresh: Duration,
    /// ... and after this many messages
    #[arg(long, value_name = "MESSAGES", default_value = "20", hide_short_help = true)]
    pub template_refresh_packets: NonZeroU32,
    /// Options data (sampling, keys, anonymisation) are sent again after this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, hide_short_help = true)]
    pub options_refresh: Duration,
    /// Statistics (what was sent, not sent and not metered) are sent after this time, 0 for never
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration, hide_short_help = true)]
    pub statistics_interval: Duration,
    /// Options data name the interfaces that are metered
    #[arg(long, hide_short_help = true)]
    pub interface_table: bool,
    /// Options data say that this exporter is called so (IPFIX)
    #[arg(long, value_name = "NAME", value_parser = words::name, hide_short_help = true)]
    pub exporter_name: Option<String>,
    /// Largest message in octets [default: what the path takes, at most a 1500 octet packet]
    #[arg(long, value_name = "SIZE", value_parser = size, hide_short_help = true)]
    pub message_size: Option<u64>,
}
