//! What asks the running agent.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::log::Level;

/// Which agent, and how its answer is printed.
#[derive(Clone, Debug, Args)]
pub struct Asking {
    /// The agent's control socket
    #[arg(long, value_name = "PATH", default_value = "/run/netflow/control.sock")]
    pub control_socket: PathBuf,
    /// Print the answer as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `netflow show`.
#[derive(Debug, Args)]
pub struct Show {
    /// What.
    #[command(subcommand)]
    pub what: ShowCommand,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub enum ShowCommand {
    /// The books: every packet seen, and where it is
    Ledger(Asking),
    /// Protocols, packet sizes, what ended flows
    Summary(Asking),
    /// Collectors, their sessions and queues
    Export(Asking),
    /// What is metered, and by what
    Interfaces(Asking),
    /// The templates of each session
    Templates(Asking),
    /// Flows in the cache: filtered, sorted, added up
    #[command(after_long_help = FLOWS)]
    Flows(ShowFlows),
}

/// `netflow show flows`.
#[derive(Debug, Args)]
pub struct ShowFlows {
    /// Conditions in words of elements, all of which hold; may be repeated: protocolIdentifier=tcp, host=10.0.0.0/8,
    /// port=80|443, octetDeltaCount>=1000000
    #[arg(long, value_name = "CONDITIONS")]
    pub filter: Vec<String>,
    /// What rows are sorted by, the most first: octetDeltaCount, packetDeltaCount, flows, rate, duration, start, end
    #[arg(long, value_name = "WHAT", default_value = "octetDeltaCount")]
    pub sort: String,
    /// So many rows
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    pub top: u32,
    /// Add up flows that are alike in these elements: sourceIPv4Address/24,protocolIdentifier
    #[arg(long, value_name = "ELEMENTS", value_delimiter = ',')]
    pub aggregate: Vec<String>,
    /// Which agent.
    #[command(flatten)]
    pub asking: Asking,
}

/// `netflow top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::duration)]
    pub interval: Duration,
    /// Conditions to begin with, as of `netflow show flows`
    #[arg(long, value_name = "CONDITIONS", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// No colours; the environment variable NO_COLOR does the same
    #[arg(long, visible_alias = "no-color")]
    pub no_colour: bool,
    /// The agent's control socket
    #[arg(long, value_name = "PATH", default_value = "/run/netflow/control.sock")]
    pub control_socket: PathBuf,
}

/// `netflow explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// An address, or a prefix such as 10.0.0.0/8
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// Which agent.
    #[command(flatten)]
    pub asking: Asking,
}

/// `netflow expire`.
#[derive(Debug, Args)]
pub struct Expire {
    /// all, an address, or a prefix such as 10.0.0.0/8
    #[arg(value_name = "WHICH", default_value = "all")]
    pub which: String,
    /// Which agent.
    #[command(flatten)]
    pub asking: Asking,
}

/// `netflow clear`.
#[derive(Debug, Args)]
pub struct Clear {
    /// What.
    #[command(subcommand)]
    pub what: ClearCommand,
}

/// What can be cleared.
#[derive(Debug, Subcommand)]
pub enum ClearCommand {
    /// What `netflow show summary` shows counts from now on; the books go on
    Statistics(Asking),
}

/// `netflow log-level`.
#[derive(Debug, Args)]
pub struct SetLogLevel {
    /// error, warn, info, debug or trace
    #[arg(value_name = "LEVEL")]
    pub level: Level,
    /// Which agent.
    #[command(flatten)]
    pub asking: Asking,
}

/// What `netflow show flows --help` says more.
const FLOWS: &str = "\
Elements are those of a flow in the cache: sourceIPv4Address, destinationIPv4Address, sourceIPv6Address,
destinationIPv6Address, sourceTransportPort, destinationTransportPort, protocolIdentifier, ingressInterface,
egressInterface, flowDirection, ipVersion, ipClassOfService, vlanId, tcpControlBits, packetDeltaCount,
octetDeltaCount, flowStartMilliseconds, flowEndMilliseconds, flowDurationMilliseconds; sourceAddress and
destinationAddress are of either version, host and port (in conditions) those of either end.

Counters are those since the flow's last record. A rate is that of the last ten seconds, where a flow's octets are taken
to be spread evenly over its time. Of sums 65536 are kept; what finds no place there is said.

  netflow show flows --filter 'protocolIdentifier=tcp,port=443' --sort rate
  netflow show flows --aggregate sourceAddress --top 10
  netflow show flows --aggregate destinationIPv4Address/24,protocolIdentifier --json";

/// What `netflow show --help` says more.
pub const SHOW: &str = "\
The agent answers at its control socket, which root, the agent's own user and the socket's group may ask.

Exit codes: 0 answered, 1 no answer, 2 bad command line.

  netflow show ledger
  netflow show summary --json | jq .protocols";
