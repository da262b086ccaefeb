//! The words of the protocol: what can be asked, and what is answered. All of it is documented in README.
//!
//! Numbers are totals unless a name says otherwise; times are milliseconds since 1970 UTC, octets those of IP packets.

use serde::{Deserialize, Serialize};

use super::query::{FlowQuery, FlowRow, Gathered};
use crate::{
    ledger::{Books, ByReason, DestinationLines, Tally},
    log::Level,
    time::UnixMillis,
};

/// What is asked, one JSON object on a line: `{"request":"show-ledger"}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The books: [`LedgerAnswer`].
    ShowLedger,
    /// Protocols, packet sizes, ageing: [`Summary`].
    ShowSummary,
    /// Collectors and their sessions: [`Export`].
    ShowExport,
    /// What is metered, and by what: [`Interfaces`].
    ShowInterfaces,
    /// What records look like on the wire: [`Templates`].
    ShowTemplates,
    /// Flows in the cache: [`Gathered`](super::Gathered).
    ShowFlows(FlowQuery),
    /// What is known of an address: [`Explanation`].
    Explain {
        /// An address, or a prefix of several.
        address: String,
    },
    /// Ends flows now, reason 4: [`Done`].
    Expire {
        /// Those of this address or prefix; `null` or missing: all.
        address: Option<String>,
    },
    /// What is shown as statistics counts from now on; the books go on: [`Done`].
    ClearStatistics,
    /// Sends templates and options data to collectors again: [`Done`].
    SendTemplates,
    /// Changes how much is logged: [`Done`].
    LogLevel {
        /// `error`, `warn`, `info`, `debug`, `trace`.
        level: Level,
    },
    /// Reads the configuration again: [`Done`].
    Reload,
}

impl Request {
    /// Whether it changes something: then only root and the agent's own user may ask it.
    pub fn is_change(&self) -> bool {
        use Request as R;
        matches!(
            self,
            R::Expire { .. } | R::ClearStatistics | R::SendTemplates | R::LogLevel { .. } | R::Reload
        )
    }

    /// Whether its answer has addresses of packets.
    pub fn shows_addresses(&self) -> bool {
        matches!(self, Self::ShowFlows(_) | Self::Explain { .. })
    }
}

/// What is answered, one JSON object on a line: `{"ok":...}` or `{"error":"..."}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    /// The answer.
    Ok(T),
    /// Why there is none, in one line.
    Error(String),
}

/// Answer to a request that changes something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in lines for people.
    pub done: Vec<String>,
}

/// Answer to [`Request::ShowLedger`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LedgerAnswer {
    /// When the flip was that closed these books.
    pub at: UnixMillis,
    /// When the agent started.
    pub started: UnixMillis,
    /// The books, as in `--ledger-file`.
    pub books: Books,
}

/// Answer to [`Request::ShowSummary`]. All but what is in the cache counts from `since` on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// When the flip was that these numbers are of.
    pub at: UnixMillis,
    /// When the agent started.
    pub started: UnixMillis,
    /// When counting began: at the start, or when statistics were cleared.
    pub since: UnixMillis,
    /// Entered the kernel program; octets of flow packets.
    pub seen: Tally,
    /// Drained from the flow maps.
    pub metered: Tally,
    /// Found no place.
    pub lost: Tally,
    /// Flows in the cache now, with packets that are in no record yet or without.
    pub flows_in_cache: u64,
    /// So many more have room there.
    pub unused_in_cache: u64,
    /// One in how many packets is metered now.
    pub sampled_one_in: u32,
    /// Flow Records by flowEndReason.
    pub end_reason: ByReason<u64>,
    /// What records had in them, and from there on.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// What the last flip took.
    pub timings: TimingLines,
}

/// What the last flip took of the metering thread, microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TimingLines {
    /// Changing the generation, and waiting until no program writes to the old one.
    pub flip_microseconds: u64,
    /// Emptying it and merging into the flow cache.
    pub drain_microseconds: u64,
    /// Ending flows and offering their records.
    pub expire_microseconds: u64,
}

/// What records had in them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// By protocolIdentifier; those without records are left out.
    pub protocols: Vec<ProtocolLine>,
    /// Packets by the mean size of the packets of their record, in rising order.
    pub packet_sizes: Vec<SizeLine>,
}

/// Records of one protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProtocolLine {
    /// protocolIdentifier.
    pub protocol: u8,
    /// Flow Records.
    pub records: u64,
    /// Packets in them.
    pub packets: u64,
    /// Octets in them.
    pub octets: u64,
    /// From first to last packet, milliseconds, summed up over the records.
    pub active_milliseconds: u64,
    /// From the last packet to the end of the flow, milliseconds, summed up over the records.
    pub idle_milliseconds: u64,
}

/// Packets of a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SizeLine {
    /// The largest size that counts here, IP octets.
    pub up_to: u32,
    /// Packets.
    pub packets: u64,
}

/// Answer to [`Request::ShowExport`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Export {
    /// When this was.
    pub at: UnixMillis,
    /// The collectors, in the order of the command line.
    pub collectors: Vec<CollectorLine>,
}

/// One collector.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CollectorLine {
    /// What it is told in: `ipfix`, `v9`, `v5`.
    pub protocol: String,
    /// Where it is: an address at the time the session began, a path.
    pub peer: String,
    /// Whether it takes messages, as far as its session knows.
    pub is_good: bool,
    /// Records that may wait in its queue.
    pub queue_limit: u64,
    /// Its books, now.
    pub books: DestinationLines,
}

/// Answer to [`Request::ShowInterfaces`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interfaces {
    /// When the flip was that the counters are of.
    pub at: UnixMillis,
    /// Those that are metered, and those that were and have packets, by ifIndex.
    pub interfaces: Vec<InterfaceLine>,
}

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct InterfaceLine {
    /// ifIndex; 0 where the Flow Key has no interface.
    pub index: u32,
    /// Its name; empty where it is not metered any more.
    pub name: String,
    /// What meters the packets that it receives; `null`: nothing.
    pub ingress: Option<String>,
    /// What meters the packets that it sends; `null`: nothing.
    pub egress: Option<String>,
    /// Packets that it received and that were metered since the start, and their octets.
    pub received: Tally,
    /// The same of packets that it sent.
    pub sent: Tally,
}

/// Answer to [`Request::Explain`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked for.
    pub address: String,
    /// Its flows in the cache: those with most octets, and how many there are.
    pub cached: Gathered,
    /// Its last records, the latest first.
    pub exported: Vec<ExportedRow>,
    /// All of its records among those that are looked at.
    pub exported_matching: u64,
    /// So many records are looked at: the last ones that went to the collectors.
    pub records_kept: u64,
    /// Whether addresses in records are anonymised: then none is looked for there.
    pub is_anonymised: bool,
    /// Why packets are in no flow, those reasons that have any, in packets.
    pub not_metered: ByReason<u64>,
    /// One in how many packets is metered.
    pub sampled_one_in: u32,
    /// Where packets are metered.
    pub interfaces: Vec<InterfaceLine>,
}

/// A flow that was exported.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportedRow {
    /// The record.
    #[serde(flatten)]
    pub flow: FlowRow,
    /// flowEndReason.
    pub end_reason: u8,
}

/// Answer to [`Request::ShowTemplates`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Templates {
    /// The templates of each session.
    pub templates: Vec<TemplateLine>,
}

/// One template of one session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TemplateLine {
    /// The collector.
    pub collector: String,
    /// Template ID.
    pub id: u16,
    /// Whether it is an Options Template.
    pub is_options: bool,
    /// Octets of a record; `null` where that depends on the values.
    pub record_octets: Option<usize>,
    /// Its fields in wire order.
    pub fields: Vec<FieldLine>,
}

/// One field of a template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FieldLine {
    /// The Information Element's name.
    pub name: String,
    /// Its number; in v9 the field type.
    pub id: u16,
    /// Whose element it is; 0 is IANA.
    pub enterprise_number: u32,
    /// Octets of a value; 65535 where each value says it.
    pub octets: u16,
    /// Whether it is in the Flow Key; of options, in the scope.
    pub is_key: bool,
}

impl ProtocolLine {
    /// Adds another protocol's numbers.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.packets += other.packets;
        self.octets += other.octets;
        self.active_milliseconds += other.active_milliseconds;
        self.idle_milliseconds += other.idle_milliseconds;
    }

    /// What came since it was `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            protocol: self.protocol,
            records: self.records.saturating_sub(before.records),
            packets: self.packets.saturating_sub(before.packets),
            octets: self.octets.saturating_sub(before.octets),
            active_milliseconds: self.active_milliseconds.saturating_sub(before.active_milliseconds),
            idle_milliseconds: self.idle_milliseconds.saturating_sub(before.idle_milliseconds),
        }
    }
}

impl Traffic {
    /// What came since it was `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let protocol = |line: &ProtocolLine| {
            let earlier = before.protocols.iter().find(|earlier| earlier.protocol == line.protocol);
            earlier.map_or(*line, |earlier| line.since(earlier))
        };
        let size = |line: &SizeLine| {
            let earlier = before.packet_sizes.iter().find(|earlier| earlier.up_to == line.up_to);
            let packets = line.packets.saturating_sub(earlier.map_or(0, |earlier| earlier.packets));
            SizeLine { packets, ..*line }
        };
        let protocols = self.protocols.iter().map(protocol).filter(|line| line.records > 0).collect();
        Self { protocols, packet_sizes: self.packet_sizes.iter().map(size).collect() }
    }
}
