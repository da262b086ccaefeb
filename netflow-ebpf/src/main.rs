//! Entry points of the kernel program. It decides nothing: `packet` reads, `map` counts, and every
//! packet is passed on unchanged (tap mode apart, which drops it after counting).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod flow_map;
#[cfg(target_arch = "bpf")]
mod flow_table;
#[cfg(target_arch = "bpf")]
mod map;
#[cfg(target_arch = "bpf")]
mod reader;
#[cfg(target_arch = "bpf")]
mod state;
#[cfg(target_arch = "bpf")]
mod wide;

#[cfg(target_arch = "bpf")]
mod entry {
    #![allow(unsafe_code, reason = "entry points and the licence need fixed symbol names")]

    use aya_ebpf::{
        macros::{classifier, xdp},
        programs::{TcContext, XdpContext},
    };
    use aya_log_ebpf::debug;
    use netflow_common::{NetworkU16, Refusal, Skip};
    use netflow_ebpf::packet::{self, Frame, HEADER_LIMIT, LinkType, Merged, OnWire, Packet, PacketObserver};

    use crate::{
        map::{self, Books, setting},
        reader::{
            CopiedFrame, LinearFrame, LoadedFrame, PacketContext, TAG_LENGTH, Tag, forget, linear_length,
        },
        state::{self, Fragments},
        wide,
    };

    /// Where an entry point stands. All of it is known when the program is compiled.
    trait Hook {
        /// What the kernel shows of a packet.
        type Context: PacketContext;
        /// What its packets begin with.
        const LINK: LinkType = LinkType::Ethernet;
        /// flowDirection of its packets.
        const DIRECTION: u8 = 0;
        /// Whether a packet may go on behind its linear part.
        const FRAGMENTS: bool = true;
        /// Whether entries are wide.
        const WIDE: bool = false;
        /// Whether a filter has found that the packet does not match.
        const FILTERED: bool = false;
    }

    /// An entry point: its section, its name, what it is shown and returns, and what is known of it.
    macro_rules! entry_points {
        ($(
            $(#[$attribute:meta])*
            $name:ident($context:ident) -> $result:ty { $($constant:ident: $type:ty = $value:expr),* }
        )*) => {
            $(
                $(#[$attribute])*
                pub fn $name(context: $context) -> $result {
                    struct Here;
                    impl Hook for Here {
                        type Context = $context;
                        $(const $constant: $type = $value;)*
                    }
                    meter::<Here>(&context) as $result
                }
            )*
        };
    }

    entry_points! {
        /// Kernel 5.18 and newer: frames of several buffers (jumbo, GRO in hardware).
        #[xdp(frags)]
        netflow_xdp_frags(XdpContext) -> u32 {}

        /// Older kernels, and drivers that refuse `frags`.
        #[xdp]
        netflow_xdp(XdpContext) -> u32 { FRAGMENTS: bool = false }

        /// What an interface receives, where native XDP is not to be had.
        #[classifier]
        netflow_tc_ingress(TcContext) -> i32 {}

        /// What an interface sends.
        #[classifier]
        netflow_tc_egress(TcContext) -> i32 { DIRECTION: u8 = 1 }

        /// What an interface without Ethernet header receives: tun, wireguard, ppp.
        #[classifier]
        netflow_tc_ingress_l3(TcContext) -> i32 { LINK: LinkType = LinkType::RawIp }

        /// What an interface without Ethernet header sends.
        #[classifier]
        netflow_tc_egress_l3(TcContext) -> i32 { LINK: LinkType = LinkType::RawIp, DIRECTION: u8 = 1 }

        /// Reached by a tail call of the filter's program, with packets that do not match.
        #[xdp(frags)]
        netflow_xdp_frags_filtered(XdpContext) -> u32 { FILTERED: bool = true }

        /// The same for the other entry point.
        #[xdp]
        netflow_xdp_filtered(XdpContext) -> u32 { FRAGMENTS: bool = false, FILTERED: bool = true }

        /// The same for TC.
        #[classifier]
        netflow_tc_ingress_filtered(TcContext) -> i32 { FILTERED: bool = true }

        /// What is sent.
        #[classifier]
        netflow_tc_egress_filtered(TcContext) -> i32 { DIRECTION: u8 = 1, FILTERED: bool = true }

        /// Without Ethernet header.
        #[classifier]
        netflow_tc_ingress_l3_filtered(TcContext) -> i32 { LINK: LinkType = LinkType::RawIp, FILTERED: bool = true }

        /// What is sent without Ethernet header.
        #[classifier]
        netflow_tc_egress_l3_filtered(TcContext) -> i32 {
            LINK: LinkType = LinkType::RawIp, DIRECTION: u8 = 1, FILTERED: bool = true
        }

        // The same with wide entries.

        /// As `netflow_xdp_frags`.
        #[xdp(frags)]
        netflow_xdp_frags_wide(XdpContext) -> u32 { WIDE: bool = true }

        /// As `netflow_xdp`.
        #[xdp]
        netflow_xdp_wide(XdpContext) -> u32 { FRAGMENTS: bool = false, WIDE: bool = true }

        /// As `netflow_tc_ingress`.
        #[classifier]
        netflow_tc_ingress_wide(TcContext) -> i32 { WIDE: bool = true }

        /// As `netflow_tc_egress`.
        #[classifier]
        netflow_tc_egress_wide(TcContext) -> i32 { DIRECTION: u8 = 1, WIDE: bool = true }

        /// As `netflow_tc_ingress_l3`.
        #[classifier]
        netflow_tc_ingress_l3_wide(TcContext) -> i32 { LINK: LinkType = LinkType::RawIp, WIDE: bool = true }

        /// As `netflow_tc_egress_l3`.
        #[classifier]
        netflow_tc_egress_l3_wide(TcContext) -> i32 {
            LINK: LinkType = LinkType::RawIp, DIRECTION: u8 = 1, WIDE: bool = true
        }
    }

    /// Test-run by the agent: the kernel's clocks, read at one instant.
    #[xdp]
    pub fn netflow_clock(_context: XdpContext) -> u32 {
        map::read_clocks();
        XdpContext::PASS as u32
    }

    /// Every way through it ends in exactly one flow entry or one slot of the totals. `None` is for
    /// the verifier only: no map lookup here can fail. What is sent is passed on in tap mode, too.
    #[inline(always)]
    fn meter<H: Hook>(context: &H::Context) -> i32 {
        let _ = count::<H>(context);
        if H::DIRECTION == 0 && setting!(tap) != 0 { H::Context::DROP } else { H::Context::PASS }
    }

    #[inline(always)]
    fn count<H: Hook>(context: &H::Context) -> Option<()> {
        let mut books = Books::open()?;
        if counted_in_short::<H>(context, &books).is_some() {
            return Some(());
        }
        let mut observed = PacketObserver::default();
        let mut length = linear_length(context);
        let copied = copied::<H>(context, length);
        let mut parsed = if copied {
            Err(Refusal::LinkTruncated)
        } else {
            parse::<H, _>(&LinearFrame(context), &mut observed)?
        };
        if (copied || H::WIDE || doubtful(&parsed, length)) && H::FRAGMENTS {
            // Perhaps only the linear part ends here: ask, and read again across the buffers.
            // Hidden: else the verifier walks through all that follows once with a tag, and once without.
            let tag_octets = if H::Context::CHANGED { forget(octets_of(tag::<H>(context))) } else { 0 };
            let whole = context.whole_length() + tag_octets;
            if whole > length || copied {
                // A linear part of HEADER_LIMIT octets has shown all that is ever read. A shorter one may end
                // within a header, and not each such end shows in the result: TCP control bits are just missing.
                if (copied || !H::WIDE && length < HEADER_LIMIT)
                    && let Some(mut copy) = CopiedFrame::copy(context, whole, || tag::<H>(context))
                {
                    if let Some(place) = context.merged().missing_length(&copy, H::LINK, tag_octets) {
                        copy.overwrite(place, NetworkU16::new(Merged::LONGEST));
                    }
                    parsed = parse::<H, _>(&copy, &mut observed)?;
                }
                length = whole;
            }
        }
        match parsed {
            Ok(mut packet) => {
                // Asked for once more: what is known of it would have the verifier read each packet twice. (And not
                // before the match: verifiers of old kernels forget over it which of both it was.)
                let merged = context.merged();
                packet.key.interface = context.interface();
                packet.key.direction = H::DIRECTION;
                let mut on_wire = OnWire::one(&packet, length);
                if !merged.is_one() {
                    let tag_octets = octets_of(tag::<H>(context));
                    let frame = LoadedFrame { context, tag_octets };
                    on_wire = merged.on_wire(&frame, &mut packet, observed.payload, length, tag_octets);
                    books.weigh(on_wire.segments);
                }
                if H::FILTERED {
                    books.skip(Skip::Filtered, &packet);
                    return Some(());
                }
                if leaves_own_export_out::<H>() && state::is_own_export(&packet.key) {
                    books.skip(Skip::OwnExport, &packet);
                    return Some(());
                }
                if setting!(join_fragments) != 0 {
                    packet::join(&mut packet, observed.fragment, &mut Fragments);
                }
                if setting!(masked) != 0 && !H::WIDE {
                    map::mask(&mut packet.key);
                }
                if setting!(sampling) != 0 && !state::selected(&packet.key, books.generation()) {
                    books.skip(Skip::SampledOut, &packet);
                } else if H::WIDE {
                    books.account_wide(&packet, &observed, &on_wire)?;
                } else {
                    packet.key = map::with_version_unknown(&packet.key);
                    books.account(&packet, on_wire.frame_octets);
                }
            }
            Err(refusal) => {
                let merged = context.merged();
                if !merged.is_one() {
                    books.weigh(merged.segments.max(1));
                }
                books.refuse(refusal, length);
                // Off unless the agent raises AYA_LOG_LEVEL at load: then not an instruction is left of it.
                debug!(context, "not a flow packet: refusal {}", refusal as u8);
            }
        }
        Some(())
    }

    /// Counts a packet the short way, if it is a common one and nothing else is to be done with it.
    #[inline(always)]
    fn counted_in_short<H: Hook>(context: &H::Context, books: &Books) -> Option<()> {
        let is_off = H::WIDE || H::FILTERED || setting!(masked) != 0 || setting!(sampling) != 0;
        if is_off || H::Context::CHANGED && (tag::<H>(context).is_some() || !context.merged().is_one()) {
            return None;
        }
        let (frame, length) = (LinearFrame(context), linear_length(context));
        // One way for each version: what is done with a packet is shorter where its version is known.
        if let Some(packet) = packet::common_ipv4(&frame, H::LINK, length) {
            return account_in_short::<H>(context, books, packet, length);
        }
        let packet = packet::common_ipv6(&frame, H::LINK, length)?;
        account_in_short::<H>(context, books, packet, length)
    }

    /// Counts a common packet, unless it is a message of this exporter.
    #[inline(always)]
    fn account_in_short<H: Hook>(
        context: &H::Context,
        books: &Books,
        mut packet: Packet,
        length: usize,
    ) -> Option<()> {
        packet.key.interface = context.interface();
        packet.key.direction = H::DIRECTION;
        if leaves_own_export_out::<H>() && state::is_own_export(&packet.key) {
            return None;
        }
        books.account(&packet, length);
        Some(())
    }

    /// Whether a packet is read in a copy, and not first in its linear part: where it is merged or had a tag taken off.
    /// With wide entries every packet that goes on behind the linear part is, too: not all that is missing there
    /// leaves a doubt (an SPI, padding), and the verifier has enough to walk through with one way of reading each.
    #[inline(always)]
    fn copied<H: Hook>(context: &H::Context, length: usize) -> bool {
        if H::WIDE {
            let goes_on = || length < HEADER_LIMIT && context.whole_length() > length;
            return H::Context::CHANGED || H::FRAGMENTS && goes_on();
        }
        H::Context::CHANGED && (tag::<H>(context).is_some() || !context.merged().is_one())
    }

    /// Whether messages of this exporter may come here and are not to be metered: what an interface sends, and what
    /// the loopback interface receives. XDP sees none of it (loopback has no driver with XDP), and has no instruction
    /// for it.
    #[inline(always)]
    fn leaves_own_export_out<H: Hook>() -> bool {
        H::Context::SEES_OWN && (H::DIRECTION == 1 && setting!(own_export) != 0 || setting!(own_export) == 2)
    }

    /// The tag that was taken off the frame.
    #[inline(always)]
    fn tag<H: Hook>(context: &H::Context) -> Option<Tag> {
        if matches!(H::LINK, LinkType::Ethernet) { context.tag() } else { None }
    }

    #[inline(always)]
    fn octets_of(tag: Option<Tag>) -> usize {
        if tag.is_some() { TAG_LENGTH } else { 0 }
    }

    /// Reads a frame; in wide mode also into the scratch entry.
    #[inline(always)]
    fn parse<H: Hook, F: Frame>(frame: &F, observed: &mut PacketObserver) -> Option<Result<Packet, Refusal>> {
        if H::WIDE {
            return wide::parse(frame, H::LINK, observed);
        }
        *observed = PacketObserver::default();
        Some(packet::parse_outer(frame, H::LINK, observed))
    }

    /// Whether a result could be another one if the frame went on.
    #[inline(always)]
    fn doubtful(parsed: &Result<Packet, Refusal>, length: usize) -> bool {
        match parsed {
            Ok(packet) => !packet.notes.is_empty() || packet.end() > length,
            Err(_) => true,
        }
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        // A reachable panic becomes an endless loop, which the verifier refuses to load.
        loop {}
    }

    /// The kernel asks for a licence compatible with its own before it lends some helpers.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
