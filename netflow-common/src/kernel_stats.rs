//! The kernel program's side of the ledger, one per CPU and generation.

use bytemuck::{Pod, Zeroable};

/// Totals of one CPU in one generation, 256 octets. The agent reads and zeroes them while the
/// generation is frozen, so they are deltas since the last flip.
///
/// `seen_packets = sum(refused) + sum(skipped_packets) + sum(lost_packets) + packets of the flow entries`,
/// and for octets the same without `refused`. The two sides are counted at different places of the
/// program on purpose: their equality is the check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct KernelStats {
    /// Packets that entered the program.
    pub seen_packets: u64,
    /// Octets of their IP packets, by the headers' statement; packets refused have none.
    pub seen_octets: u64,
    /// Entries made in the flow map: flows that found no slot in the flow table, or all where there is none.
    pub inserted: u64,
    /// Frame octets of the packets that are not IP.
    pub not_ip_frame_octets: u64,
    /// Metered packets of which something is worth saying, by [`Note`]: not part of the sum.
    pub noted: [u64; Note::COUNT],
    /// Packets that are not flow packets, by [`Refusal`].
    pub refused: [u64; Refusal::COUNT],
    /// Flow packets that found no place, by [`Loss`].
    pub lost_packets: [u64; Loss::COUNT],
    /// Their IP octets.
    pub lost_octets: [u64; Loss::COUNT],
    /// Flow packets that are not metered as the operator asked for it, by [`Skip`].
    pub skipped_packets: [u64; Skip::COUNT],
    /// Their IP octets.
    pub skipped_octets: [u64; Skip::COUNT],
    /// Slots taken in the flow table: by IPv4 with default values, by other keys and wide entries.
    pub slots: [u64; 2],
    /// Zero.
    pub reserved: u64,
}

impl KernelStats {
    /// Adds another CPU's totals.
    pub fn add(&mut self, other: &Self) {
        let mine: &mut [u64; 32] = bytemuck::cast_mut(self);
        let theirs: &[u64; 32] = bytemuck::cast_ref(other);
        for (mine, theirs) in mine.iter_mut().zip(theirs) {
            *mine += theirs;
        }
    }

    /// Counts flow packets, seen already, of so many IP octets, that are not to be metered as the operator asked for it.
    #[inline(always)]
    pub fn skip(&mut self, skip: Skip, packets: u64, octets: u64) {
        self.seen_octets += octets;
        // Not by index: the check of its bounds would leave a call to the kernel program's panic handler.
        let places =
            (self.skipped_packets.get_mut(skip as usize), self.skipped_octets.get_mut(skip as usize));
        if let (Some(skipped_packets), Some(skipped_octets)) = places {
            *skipped_packets += packets;
            *skipped_octets += octets;
        }
    }

    /// Packets that are not IP: no flow packets, and nothing wrong with them that the meter could know.
    pub fn not_ip_packets(&self) -> u64 {
        self.counts(Refusal::is_not_ip)
    }

    /// Packets whose IP header is missing, short or wrong.
    pub fn bad_ip_packets(&self) -> u64 {
        self.counts(|refusal| !refusal.is_not_ip())
    }

    fn counts(&self, of: impl Fn(Refusal) -> bool) -> u64 {
        Refusal::ALL
            .iter()
            .filter(|refusal| of(**refusal))
            .map(|refusal| self.refused[*refusal as usize])
            .sum()
    }
}

/// An event of the kernel program: a CPU is running out of room. The word is the CPU's number, with a bit that says of
/// what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watermark;

impl Watermark {
    const TABLE: u32 = 1 << 31;

    /// The flow map of this CPU has passed its watermark.
    #[inline(always)]
    pub const fn map(cpu: u32) -> u32 {
        cpu
    }

    /// This CPU's part of the flow table has passed its own.
    #[inline(always)]
    pub const fn table(cpu: u32) -> u32 {
        cpu | Self::TABLE
    }

    /// Whether an event, by its octets, is of a table.
    pub fn of_table(event: &[u8]) -> bool {
        matches!(event, [a, b, c, d, ..] if u32::from_ne_bytes([*a, *b, *c, *d]) & Self::TABLE != 0)
    }
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All of them, in the order of their slots.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name operators see, in the ledger and in README.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    /// Why a packet is not a flow packet.
    Refusal {
        /// Another network protocol: ARP, LLDP, PPP control, a label stack over something else.
        NotIp = "not_ip",
        /// The frame ends before its network protocol is known.
        LinkTruncated = "link_truncated",
        /// More VLAN tags or MPLS labels than are read (4 and 10).
        LinkTooDeep = "link_too_deep",
        /// The frame ends inside the IP header.
        IpTruncated = "ip_truncated",
        /// The link layer announces one IP version, the header has another.
        IpVersion = "ip_version",
        /// An IPv4 header length below 5 words.
        IpHeaderLength = "ip_header_length",
    }
}

impl Refusal {
    /// Whether the packet counts as "not IP" in the ledger, else as "bad IP".
    pub const fn is_not_ip(self) -> bool {
        matches!(self, Self::NotIp | Self::LinkTruncated | Self::LinkTooDeep)
    }
}

reasons! {
    /// Why a flow packet is in no record.
    Loss {
        /// The flow map of its CPU was full.
        MapFull = "map_full",
        /// Its CPU came online after the maps were made.
        CpuWithoutMap = "cpu_without_map",
    }
}

reasons! {
    /// Why a flow packet is not metered although it could be: the operator asked for it.
    Skip {
        /// The filter does not match it.
        Filtered = "filtered",
        /// A message that this exporter sends.
        OwnExport = "own_export",
        /// Sampling did not select it.
        SampledOut = "sampled_out",
    }
}

reasons! {
    /// What is worth saying of a metered packet.
    Note {
        /// The IP header states more octets than the frame has; the statement is what is counted.
        ShortFrame = "short_frame",
        /// The frame or the IP length ends before the ports: ports 0.
        TransportCut = "transport_cut",
        /// A fragment other than the first, whose first fragment is not known: ports 0.
        LaterFragment = "later_fragment",
        /// More IPv6 extension headers than are read (8), or one that is cut short.
        Ipv6HeadersUnread = "ipv6_headers_unread",
        /// A fragment other than the first that took the ports of its first fragment.
        FragmentJoined = "fragment_joined",
        /// A first fragment too short for its transport header, or a fragment that begins inside of one
        /// (RFC 1858, RFC 3128).
        TinyFragment = "tiny_fragment",
        /// A fragment that begins before the end of its first fragment.
        OverlappingFragment = "overlapping_fragment",
        /// A tunnel whose inside cannot be read: not IP, cut, or of an unknown version. The outer packet is
        /// metered.
        TunnelUnread = "tunnel_unread",
        /// More tunnels in one another than are read (4): what is inside the last one is not looked at.
        TunnelTooDeep = "tunnel_too_deep",
    }
}
