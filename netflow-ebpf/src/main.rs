//! Entry points of the kernel program. It decides nothing: `packet` reads, `map` counts, and every
//! packet is passed on unchanged (tap mode apart, which drops it after counting).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod flow_map;
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

    use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
    use aya_log_ebpf::debug;
    use netflow_common::{Refusal, Skip};
    use netflow_ebpf::packet::{self, Fragment, FragmentObserver, Frame, HEADER_LIMIT, LinkType, Packet};

    use crate::{
        map::{self, Books, setting},
        reader::{CopiedFrame, LinearFrame, linear_length, whole_length},
        state::{self, Fragments},
        wide,
    };

    /// Kernel 5.18 and newer: frames of several buffers (jumbo, GRO in hardware).
    #[xdp(frags)]
    pub fn netflow_xdp_frags(context: XdpContext) -> u32 {
        meter::<true, false, false>(&context)
    }

    /// The same with wide entries.
    #[xdp(frags)]
    pub fn netflow_xdp_frags_wide(context: XdpContext) -> u32 {
        meter::<true, true, false>(&context)
    }

    /// The same with wide entries.
    #[xdp]
    pub fn netflow_xdp_wide(context: XdpContext) -> u32 {
        meter::<false, true, false>(&context)
    }

    /// Older kernels, and drivers that refuse `frags`.
    #[xdp]
    pub fn netflow_xdp(context: XdpContext) -> u32 {
        meter::<false, false, false>(&context)
    }

    /// Reached by a tail call of the filter's program, with packets that do not match.
    #[xdp(frags)]
    pub fn netflow_xdp_frags_filtered(context: XdpContext) -> u32 {
        meter::<true, false, true>(&context)
    }

    /// The same for the other entry point.
    #[xdp]
    pub fn netflow_xdp_filtered(context: XdpContext) -> u32 {
        meter::<false, false, true>(&context)
    }

    /// Test-run by the agent: the kernel's clocks, read at one instant.
    #[xdp]
    pub fn netflow_clock(_context: XdpContext) -> u32 {
        map::read_clocks();
        xdp_action::XDP_PASS
    }

    /// Every way through it ends in exactly one flow entry or one slot of the totals. `None` is for
    /// the verifier only: no map lookup here can fail.
    #[inline(always)]
    fn meter<const FRAGMENTS: bool, const WIDE: bool, const FILTERED: bool>(context: &XdpContext) -> u32 {
        let _ = count::<FRAGMENTS, WIDE, FILTERED>(context);
        if setting!(tap) != 0 { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
    }

    #[inline(always)]
    fn count<const FRAGMENTS: bool, const WIDE: bool, const FILTERED: bool>(
        context: &XdpContext,
    ) -> Option<()> {
        let books = Books::open()?;
        let mut fragment = Fragment::NONE;
        let mut parsed = parse::<WIDE, _>(&LinearFrame(context), LinkType::Ethernet, &mut fragment)?;
        let mut length = linear_length(context);
        if doubtful(&parsed, length) && FRAGMENTS {
            // Perhaps only the linear part ends here: ask, and read again across the buffers.
            let whole = whole_length(context);
            if whole > length {
                // A linear part of HEADER_LIMIT octets has shown all that is ever read. A shorter one may end
                // within a header, and not each such end shows in the result: TCP control bits are just missing.
                if length < HEADER_LIMIT {
                    parsed = parse::<WIDE, _>(
                        &CopiedFrame::copy(context, whole)?,
                        LinkType::Ethernet,
                        &mut fragment,
                    )?;
                }
                length = whole;
            }
        }
        match parsed {
            Ok(packet) if FILTERED => books.skip(Skip::Filtered, &packet),
            Ok(mut packet) => {
                packet.key.interface = context.ingress_ifindex() as u32;
                if setting!(join_fragments) != 0 {
                    packet::join(&mut packet, fragment, &mut Fragments);
                }
                if setting!(masked) != 0 && !WIDE {
                    map::mask(&mut packet.key);
                }
                if setting!(sampling) != 0 && !state::selected(&packet.key, books.generation()) {
                    books.skip(Skip::SampledOut, &packet);
                } else if WIDE {
                    books.account_wide(&packet, fragment, length)?;
                } else {
                    books.account(&packet, length);
                }
            }
            Err(refusal) => {
                books.refuse(refusal, length);
                // Off unless the agent raises AYA_LOG_LEVEL at load: then not an instruction is left of it.
                debug!(context, "not a flow packet: refusal {}", refusal as u8);
            }
        }
        Some(())
    }

    /// Reads a frame; in wide mode also into the scratch entry.
    #[inline(always)]
    fn parse<const WIDE: bool, F: Frame>(
        frame: &F,
        link: LinkType,
        fragment: &mut Fragment,
    ) -> Option<Result<Packet, Refusal>> {
        if WIDE {
            return wide::parse(frame, link, fragment);
        }
        let mut observer = FragmentObserver::default();
        let parsed = packet::parse_outer(frame, link, &mut observer);
        *fragment = observer.fragment;
        Some(parsed)
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
