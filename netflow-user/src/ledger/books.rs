//! The ledger as the operator sees it: one JSON object, or one sentence.

use std::{borrow::Cow, fmt, marker::PhantomData};

use netflow_common::{Loss, Note, Refusal, Skip};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use crate::record::FlowEndReason;

use super::{Destination, DestinationBooks, Ledger, NotSent, TransportSession, Volume};

/// Numbers by the names of their reasons, in the order of the reasons: an object in JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByReason<T>(pub Vec<(Cow<'static, str>, T)>);

impl ByReason<u64> {
    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl<T> ByReason<T> {
    /// Numbers and the names of what they count.
    pub fn new(numbers: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        Self(numbers.into_iter().map(|(name, number)| (name.into(), number)).collect())
    }
}

impl<T: Copy> ByReason<T> {
    /// That of a reason, if it is there.
    pub fn of(&self, reason: &str) -> Option<T> {
        self.0.iter().find(|(name, _)| name == reason).map(|(_, number)| *number)
    }
}

impl<T: Serialize> Serialize for ByReason<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByReason<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

/// Keeps the order that a map has in the text.
struct InOrder<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
    type Value = ByReason<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers by the names of their reasons")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByReason<T>, A::Error> {
        let mut numbers = Vec::new();
        while let Some((name, number)) = map.next_entry::<String, T>()? {
            numbers.push((name.into(), number));
        }
        Ok(ByReason(numbers))
    }
}

/// The ledger at one moment; all numbers since the agent started, closed at the last flip.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Books {
    /// Whether every line below closed at every check so far.
    pub balanced: bool,
    /// How often a line did not.
    pub imbalances: u64,
    /// The last line that did not, with both sides; `null` if all did.
    pub last_imbalance: Option<String>,
    /// Flips closed.
    pub flips: u64,
    /// `seen = not_ip + bad_ip + filtered + own_export + sampled_out + lost + metered`,
    /// `metered = in_cache + in_records`, in packets.
    pub packets: PacketLines,
    /// The same in IP octets, without `not_ip` and `bad_ip`.
    pub octets: OctetLines,
    /// Flows; not part of a sum.
    pub flows: FlowLines,
    /// Flow Records that left the flow cache, by flowEndReason.
    pub records: RecordLines,
    /// Each destination since it joined.
    pub destinations: Vec<DestinationLines>,
    /// Metered packets of which something is worth saying; not part of a sum: `short_frame` stated more
    /// octets than the frame had, `transport_cut` and `later_fragment` have ports 0,
    /// `ipv6_headers_unread` had too many extension headers; see [`Note`] for all of them.
    pub notes: ByReason<u64>,
}

/// Where the packets are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PacketLines {
    /// Entered the kernel program.
    pub seen: u64,
    /// Not IP: `not_ip` another network protocol, `link_truncated` and `link_too_deep` not known which.
    pub not_ip: ByReason<u64>,
    /// Without a usable IP header: `ip_truncated`, `ip_version`, `ip_header_length`.
    pub bad_ip: ByReason<u64>,
    /// Flow packets that the filter does not match.
    pub filtered: u64,
    /// This exporter's own messages.
    pub own_export: u64,
    /// Flow packets that sampling did not select.
    pub sampled_out: u64,
    /// Flow packets that found no place: `map_full`, `cpu_without_map`.
    pub lost: ByReason<u64>,
    /// Drained from the flow maps.
    pub metered: u64,
    /// In the flow cache now.
    pub in_cache: u64,
    /// In records.
    pub in_records: u64,
}

/// Where the octets are: those of IP packets, by their headers' statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OctetLines {
    /// Of flow packets that entered the kernel program.
    pub seen: u64,
    /// Of packets that the filter does not match.
    pub filtered: u64,
    /// Of this exporter's own messages.
    pub own_export: u64,
    /// Of packets that sampling did not select.
    pub sampled_out: u64,
    /// Of packets that found no place, as for packets.
    pub lost: ByReason<u64>,
    /// Drained from the flow maps.
    pub metered: u64,
    /// In the flow cache now.
    pub in_cache: u64,
    /// In records.
    pub in_records: u64,
    /// Frame octets of the packets that are not IP; apart from the sums.
    pub not_ip_frames: u64,
}

/// Flows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlowLines {
    /// Slots taken in the flow table: a flow takes one per CPU and flip in which it has packets.
    pub table_slots: u64,
    /// Entries made in the flow maps: by flows that found no slot.
    pub map_entries: u64,
    /// In the flow cache now, those included that had no packet since their last record.
    pub in_cache: u64,
    /// So many more have room there.
    pub unused_in_cache: u64,
}

/// Records by flowEndReason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordLines {
    /// All of them.
    pub total: u64,
    /// Their reasons: `idle_timeout` 1, `active_timeout` 2, `end_of_flow_detected` 3, `forced_end` 4,
    /// `lack_of_resources` 5.
    pub end_reason: ByReason<u64>,
}

/// What one destination got: `offered + inherited = sent + queued + spooled + not_sent`, in records, packets and octets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DestinationLines {
    /// As the operator named it.
    pub name: String,
    /// All records since it joined.
    pub offered: Volume,
    /// Records in the spool that an earlier run left behind.
    pub inherited: Volume,
    /// In messages that the socket accepted; over a connection, that the collector's host has acknowledged.
    pub sent: Volume,
    /// Waiting in its queue.
    pub queued: Volume,
    /// Waiting in its spool.
    pub spooled: Volume,
    /// Given up: `queue_full`, `no_buffers`, `message_too_long`, `send_failed`, `not_in_protocol`, `shutdown`,
    /// `spool_full`, `spool_failed`.
    pub not_sent: ByReason<Volume>,
    /// Messages that the socket accepted.
    pub messages: u64,
    /// Octets of these messages.
    pub message_octets: u64,
    /// Datagrams that the collector's host refused after they were sent (ECONNREFUSED): nobody listens.
    pub refused_datagrams: u64,
    /// Times a message was handed to the socket again.
    pub retries: u64,
    /// The Transport Session: whether there is one, since when (milliseconds since 1970), templates, messages given up.
    pub session: TransportSession,
}

/// The names of the end reasons, by their numbers from 1.
const END_REASONS: [(FlowEndReason, &str); 5] = [
    (FlowEndReason::IdleTimeout, "idle_timeout"),
    (FlowEndReason::ActiveTimeout, "active_timeout"),
    (FlowEndReason::EndOfFlowDetected, "end_of_flow_detected"),
    (FlowEndReason::ForcedEnd, "forced_end"),
    (FlowEndReason::LackOfResources, "lack_of_resources"),
];

impl Ledger {
    /// The books as of the last check. Destinations are read now: they may be further on than the rest.
    pub fn books(&self) -> Books {
        let kernel = &self.kernel;
        let refused = |not_ip: bool| {
            let of = Refusal::ALL.iter().filter(|refusal| refusal.is_not_ip() == not_ip);
            ByReason::new(of.map(|refusal| (refusal.name(), kernel.refused[*refusal as usize])))
        };
        let lost = |lost: &[u64; Loss::COUNT]| {
            ByReason::new(Loss::ALL.iter().map(|loss| (loss.name(), lost[*loss as usize])))
        };
        let end_reason =
            END_REASONS.map(|(reason, name)| (name, self.records_by_reason[reason as usize - 1]));
        Books {
            balanced: self.balanced(),
            imbalances: self.imbalances,
            last_imbalance: self.last_imbalance.clone(),
            flips: self.flips,
            packets: PacketLines {
                seen: kernel.seen_packets,
                not_ip: refused(true),
                bad_ip: refused(false),
                filtered: kernel.skipped_packets[Skip::Filtered as usize],
                own_export: kernel.skipped_packets[Skip::OwnExport as usize],
                sampled_out: kernel.skipped_packets[Skip::SampledOut as usize],
                lost: lost(&kernel.lost_packets),
                metered: self.metered.packets,
                in_cache: self.in_cache.packets,
                in_records: self.in_records.packets,
            },
            octets: OctetLines {
                seen: kernel.seen_octets,
                filtered: kernel.skipped_octets[Skip::Filtered as usize],
                own_export: kernel.skipped_octets[Skip::OwnExport as usize],
                sampled_out: kernel.skipped_octets[Skip::SampledOut as usize],
                lost: lost(&kernel.lost_octets),
                metered: self.metered.octets,
                in_cache: self.in_cache.octets,
                in_records: self.in_records.octets,
                not_ip_frames: kernel.not_ip_frame_octets,
            },
            flows: FlowLines {
                table_slots: kernel.slots.iter().sum(),
                map_entries: kernel.inserted,
                in_cache: self.flows_in_cache,
                unused_in_cache: self.unused_in_cache,
            },
            records: RecordLines { total: self.in_records.records, end_reason: ByReason::new(end_reason) },
            destinations: self.destination_lines(),
            notes: ByReason::new(Note::ALL.iter().map(|note| (note.name(), kernel.noted[*note as usize]))),
        }
    }
}

impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.books().serialize(serializer)
    }
}

impl DestinationLines {
    /// As they are now.
    pub fn now(books: &DestinationBooks) -> Self {
        Self::new(books.name(), &books.read())
    }

    pub(super) fn new(name: &str, numbers: &Destination) -> Self {
        let not_sent = NotSent::ALL.map(|reason| (reason.name(), numbers.not_sent[reason as usize]));
        Self {
            name: name.to_owned(),
            offered: numbers.offered,
            inherited: numbers.inherited,
            sent: numbers.sent,
            queued: numbers.queued,
            spooled: numbers.spooled,
            not_sent: ByReason::new(not_sent),
            messages: numbers.messages,
            message_octets: numbers.message_octets,
            refused_datagrams: numbers.refused_datagrams,
            retries: numbers.retries,
            session: numbers.session,
        }
    }
}

/// One paragraph: the sums in packets, then what each destination got in records.
impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PacketLines { seen, not_ip, bad_ip, lost, metered, in_cache, in_records, .. } = &self.packets;
        write!(
            f,
            "{} packets seen = {} not_ip + {} bad_ip",
            Grouped(*seen),
            Grouped(not_ip.sum()),
            Grouped(bad_ip.sum()),
        )?;
        // What nobody asked for is not worth a word.
        for (count, name) in [
            (self.packets.filtered, Skip::Filtered.name()),
            (self.packets.own_export, Skip::OwnExport.name()),
            (self.packets.sampled_out, Skip::SampledOut.name()),
        ] {
            if count > 0 {
                write!(f, " + {} {name}", Grouped(count))?;
            }
        }
        write!(
            f,
            " + {} lost + {} metered; {} metered = {} in the cache + {} in {} records",
            Grouped(lost.sum()),
            Grouped(*metered),
            Grouped(*metered),
            Grouped(*in_cache),
            Grouped(*in_records),
            Grouped(self.records.total),
        )?;
        for destination in &self.destinations {
            let not_sent = destination.not_sent.0.iter().map(|(_, volume)| volume.records).sum();
            write!(f, "; {}: {} records offered", destination.name, Grouped(destination.offered.records))?;
            if destination.inherited.records > 0 {
                write!(f, " + {} inherited", Grouped(destination.inherited.records))?;
            }
            let [sent, queued] = [destination.sent, destination.queued].map(|volume| Grouped(volume.records));
            write!(f, " = {sent} sent + {queued} queued")?;
            if destination.spooled.records > 0 {
                write!(f, " + {} spooled", Grouped(destination.spooled.records))?;
            }
            write!(f, " + {} not sent", Grouped(not_sent))?;
        }
        match &self.last_imbalance {
            None => write!(f, "; balanced at every one of {} flips", Grouped(self.flips)),
            Some(last) => write!(f, "; NOT BALANCED {} times, last: {last}", Grouped(self.imbalances)),
        }
    }
}

/// A number with a comma between thousands.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
