//! What was typed. `config` decides what it means; nobody else sees this.

mod anonymise;
mod config;
mod control;
mod doctor;
mod export;
mod file;
mod flows;
mod output;
mod sources;
#[cfg(test)]
mod tests;
mod values;
mod words;

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use self::values::{duration, entries, size};
pub use self::{
    anonymise::Anonymise,
    config::{Config, ConfigCommand, defaults, shown},
    control::{
        Asking, Clear, ClearCommand, Expire, Explain, SHOW, SetLogLevel, Show, ShowCommand, ShowFlows, Top,
    },
    doctor::Doctor,
    export::Export,
    file::{DEFAULT_FILE, FileError},
    flows::{Flows, Measured},
    output::{Log, Output},
    sources::{Effective, NO_FILE, Origin, Refused, Setting, Typed, read},
    words::{
        Clock, Direction, ExcludeOwnExport, Format, Fragments, OnOverload, Promiscuous, Protocol, Routes,
        XdpMode,
    },
};

/// Flow exporter for Linux: counts every packet of an interface into flows, exports NetFlow v9 and IPFIX.
#[derive(Debug, Parser)]
#[command(name = "netflow", bin_name = "netflow", version, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Meter interfaces, export to collectors
    #[command(after_help = WITHOUT_COLLECTOR, after_long_help = RUN)]
    Run(Box<Run>),
    /// Receive NetFlow v5, v9 and IPFIX, print decoded flows
    #[command(after_long_help = COLLECT)]
    Collect(Collect),
    /// Meter a capture file (pcap, pcapng)
    #[command(after_help = WITHOUT_COLLECTOR, after_long_help = READ)]
    Read(Box<Read>),
    /// Ask the running agent
    #[command(after_long_help = SHOW)]
    Show(Show),
    /// Watch the running agent: talkers, ports, interfaces, rates
    Top(Top),
    /// Tell what the running agent knows of an address
    Explain(Explain),
    /// End flows of the running agent now, and export them
    Expire(Expire),
    /// Let statistics count from now on
    Clear(Clear),
    /// Send templates to the collectors again
    SendTemplates(Asking),
    /// Change how much the running agent logs
    LogLevel(SetLogLevel),
    /// Have the running agent read its configuration again
    Reload(Asking),
    /// Check, show and write configuration files
    Config(Config),
    /// Look whether host, interfaces and collectors are as `netflow run` needs them
    #[command(after_long_help = doctor::DOCTOR)]
    Doctor(Box<Doctor>),
}

const WITHOUT_COLLECTOR: &str = "Without -c the flows are exported to a collector of its own and printed.";

const RUN: &str = "\
Each packet that an interface receives is counted in the kernel by an XDP program, which passes it on
unchanged (--tap apart). At each drain the counts are merged into flows. A flow that has ended, by one of
the timeouts or because the cache is full, is exported as a record to every collector.

Without -c the records go to a collector of its own on the loopback interface, which prints what it decodes.

It needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and CAP_NET_RAW for --promiscuous on and --tap: root has
them all. SIGINT and SIGTERM (Ctrl-C) end it: the programs are detached, what is in the kernel is drained,
every flow is exported, the books are written. Nothing stays attached, not even after kill -9.

Exit codes: 0 stopped as asked, 1 failed while running, 2 bad command line.

  netflow run                                        the interface of the default route, flows on the terminal
  netflow run -i eth1 -c 192.0.2.7                   IPFIX to port 4739
  netflow run -i eth1 -c udp://nf.example:9995?protocol=v9 -c 192.0.2.7
  netflow run -i eth2 --tap                          a mirror port: its packets do not enter the host
  netflow run --format json --log-level warn | jq .  one object per flow";

const READ: &str = "\
The same parser, flow cache and encoders as in `netflow run`, on the clock of the capture: flows end, and
messages are dated, as they would have been when it was taken. The last flows end with the file. Of a file
that is cut off the whole packets are exported, and the exit code is 1.

Without -c the records go to a collector of its own on the loopback interface, which prints what it decodes.

Exit codes: 0 done, or stopped as asked, 1 failed while running, 2 bad command line.";

const COLLECT: &str = "\
NetFlow v5, v9 and IPFIX come by UDP, IPFIX by TCP, TLS and DTLS too. Ports are 4739, and 4740 for TLS and DTLS,
unless given. With client-ca, exporters have to show a certificate of these issuers. At the end the log says what was
lost, and what could not be decoded. Options data are printed as records of their own.

Needs no privileges. SIGINT and SIGTERM (Ctrl-C) end it.

Exit codes: 0 stopped as asked, 1 failed while running, 2 bad command line.

  netflow collect --listen udp://127.0.0.1:9995 --format json
  netflow collect --listen udp://[::] --listen tcp://[::]
  netflow collect --listen 'tls://[::]?cert=server.pem&key=server.key&client-ca=exporters.pem'";

impl Command {
    /// How the log is to be written, where the command has a say in it.
    pub fn log(&self) -> Option<&Log> {
        match self {
            Self::Run(run) => Some(&run.output.log),
            Self::Read(read) => Some(&read.output.log),
            Self::Collect(collect) => Some(&collect.log),
            // Its findings are all that it has to say.
            Self::Doctor(_)
            | Self::Show(_)
            | Self::Top(_)
            | Self::Explain(_)
            | Self::Expire(_)
            | Self::Clear(_)
            | Self::SendTemplates(_)
            | Self::LogLevel(_)
            | Self::Reload(_)
            | Self::Config(_) => None,
        }
    }
}

/// A command line that was refused, in one line; `None` where help or the version was asked for.
pub fn in_one_line(error: &clap::Error) -> Option<String> {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand) {
        return None;
    }
    let text = error.to_string();
    let said: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let line = said.join(" ");
    Some(format!("{}; try --help", line.strip_prefix("error: ").unwrap_or(&line)))
}

/// `netflow run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Configuration file, or none [default: /etc/netflow/netflow.toml where there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Interface to meter, or a glob ('eth*', '*'), may be repeated [default: that of the default route]
    #[arg(short, long = "interface", value_name = "NAME", help_heading = "Packets")]
    pub interface: Vec<String>,
    /// Interfaces that globs do not take, may be repeated
    #[arg(long, value_name = "GLOB", requires = "interface", help_heading = "Packets")]
    pub exclude_interface: Vec<String>,
    /// Which packets of an interface [default: both; ingress with several, --tap and loopback]
    #[arg(long, value_name = "WHICH", help_heading = "Packets")]
    pub direction: Option<Direction>,
    /// What meters received packets: native XDP in the driver, TC or generic XDP in the stack
    #[arg(long, value_name = "MODE", default_value = "auto", help_heading = "Packets")]
    pub xdp_mode: XdpMode,
    /// Drop every packet after counting it (mirror ports); needs -i
    #[arg(long, requires = "interface", help_heading = "Packets")]
    pub tap: bool,
    /// --tap even where the host itself has an address or a route
    #[arg(long, requires = "interface", help_heading = "Packets", hide_short_help = true)]
    pub tap_anyway: bool,
    /// Receive frames that are addressed to others (auto: with --tap)
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Packets",
        hide_short_help = true
    )]
    pub promiscuous: Promiscuous,
    /// Meter only packets that match, as in pcap-filter(7): 'udp and dst net 10.0.0.0/8'
    #[arg(long, value_name = "EXPR", help_heading = "Packets")]
    pub filter: Option<String>,
    /// Do not meter the messages that this exporter itself sends to its collectors
    #[arg(
        long,
        value_name = "WHETHER",
        default_value = "on",
        help_heading = "Packets",
        hide_short_help = true
    )]
    pub exclude_own_export: ExcludeOwnExport,
    /// Clock of packet times: jiffies step by 1 to 10 ms, precise costs about 36 ns a packet
    #[arg(
        long,
        value_name = "CLOCK",
        default_value = "jiffies",
        help_heading = "Packets",
        hide_short_help = true
    )]
    pub clock: Clock,
    /// Flows per CPU and generation in the kernel
    #[arg(long, value_name = "FLOWS", default_value = "262144", value_parser = entries, help_heading = "Packets")]
    pub map_size: NonZeroU32,
    /// Slots of the flow table in front of them, per CPU and generation; 0: none
    #[arg(
        long,
        value_name = "SLOTS",
        default_value = "262144",
        help_heading = "Packets",
        hide_short_help = true
    )]
    pub flow_table_size: u32,
    /// Limit for the kernel's flow maps and flow table [default: an eighth of memory, at most 4GiB]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Packets", hide_short_help = true)]
    pub kernel_memory: Option<u64>,
    /// Meter a part of the packets: count:N every N-th, random:N each with probability 1/N, flow:N all packets of one
    /// flow in N
    #[arg(long, value_name = "METHOD", default_value = "off", help_heading = "Packets")]
    pub sampling: String,
    /// When maps fill up: count what finds no place, or sample until there is place again
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "count",
        help_heading = "Packets",
        hide_short_help = true
    )]
    pub on_overload: OnOverload,
    /// Time between drains of the kernel's maps
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "Packets", hide_short_help = true)]
    pub drain_interval: Duration,
    /// What is measured.
    #[command(flatten)]
    pub measured: Measured,
    /// Flow cache.
    #[command(flatten)]
    pub flows: Flows,
    /// Look up each flow's next hop and egress interface in the kernel's routing tables
    #[arg(
        long,
        value_name = "WHETHER",
        default_value = "on",
        help_heading = "Flows",
        hide_short_help = true
    )]
    pub routes: Routes,
    /// Anonymisation.
    #[command(flatten)]
    pub anonymise: Anonymise,
    /// Export.
    #[command(flatten)]
    pub export: Export,
    /// Records per second to each collector; 0: 50000, and more while very many wait
    #[arg(long, value_name = "RECORDS", default_value_t = 0, help_heading = "Export")]
    pub export_rate: u64,
    /// Answer `netflow show` and other questions at this Unix socket, or off [default: /run/netflow/control.sock]
    #[arg(long, value_name = "PATH", help_heading = "Output", hide_short_help = true)]
    pub control_socket: Option<PathBuf>,
    /// Serve metrics for Prometheus at this address and port, or off [default: 127.0.0.1:14739]
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Output", hide_short_help = true)]
    pub metrics: Option<String>,
    /// Output.
    #[command(flatten)]
    pub output: Output,
    /// Run as this user; what needs privileges stays in a process of its own [default: whoever starts it]
    #[arg(long, value_name = "NAME", help_heading = "Output", hide_short_help = true)]
    pub user: Option<String>,
}

/// `netflow read`.
#[derive(Debug, Args)]
pub struct Read {
    /// Capture file: pcap or pcapng
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Meter only packets that match, as in pcap-filter(7): 'udp and dst net 10.0.0.0/8'
    #[arg(long, value_name = "EXPR", help_heading = "Packets")]
    pub filter: Option<String>,
    /// What is measured.
    #[command(flatten)]
    pub measured: Measured,
    /// Flow cache.
    #[command(flatten)]
    pub flows: Flows,
    /// Anonymisation.
    #[command(flatten)]
    pub anonymise: Anonymise,
    /// Export.
    #[command(flatten)]
    pub export: Export,
    /// Records per second to each collector, 0 for no limit
    #[arg(long, value_name = "RECORDS", default_value_t = 50_000, help_heading = "Export")]
    pub export_rate: u64,
    /// Output.
    #[command(flatten)]
    pub output: Output,
}

/// `netflow collect`.
#[derive(Debug, Args)]
pub struct Collect {
    /// Read these IPFIX Files instead of listening
    #[arg(value_name = "FILE", conflicts_with = "listen")]
    pub files: Vec<PathBuf>,
    /// Where to listen, may be repeated: udp, tcp, tls or dtls://address:port; `[::]` takes IPv4 as well
    #[arg(long, value_name = "URL", default_value = "udp://[::]:4739")]
    pub listen: Vec<String>,
    /// How flows are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Log.
    #[command(flatten)]
    pub log: Log,
}
