//! The bench's kernel half. The kernel test-runs it many times over one frame: each time it writes the addresses of a
//! flow into the frame and calls the program that is measured, or the one that does nothing, as its last act.
//!
//! An XDP program can only call one that was loaded alike, with or without `frags`: hence three of each.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "packet memory and map values are reached by pointers")
)]

#[cfg(target_arch = "bpf")]
mod vary {
    use core::ptr;

    use aya_ebpf::EbpfContext;
    use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action};
    use aya_ebpf::macros::{classifier, map, xdp};
    use aya_ebpf::maps::{Array, ProgramArray};
    use aya_ebpf::programs::{TcContext, XdpContext};

    /// Ethernet, IPv4 and UDP headers: what every frame has.
    const HEADERS: usize = 14 + 20 + 8;
    /// Ethernet, IPv6 and UDP headers.
    const HEADERS_V6: usize = 14 + 40 + 8;

    /// Second octet of the EtherType: 0x86dd is IPv6.
    const ETHERTYPE: usize = 12;
    /// Source address and port.
    const IPV4_SOURCE: usize = 14 + 12;
    const IPV4_PORT: usize = 14 + 20;
    /// The last word of the source address.
    const IPV6_SOURCE: usize = 14 + 8 + 12;
    const IPV6_PORT: usize = 14 + 40;

    /// Which flow the next packet belongs to; the words are written by the bench.
    #[repr(C)]
    struct Choice {
        /// Of the random numbers.
        state: u64,
        /// The next flow that has not been there.
        next: u64,
        /// Packets are of flows below this one, chosen at random,
        flows: u64,
        /// but so many of 2^32 of them are of the next new flow.
        new_share: u64,
    }

    #[map]
    static CHOICE: Array<Choice> = Array::with_max_entries(1, 0);

    /// What is called, place 0.
    #[map]
    static NEXT_XDP_FRAGS: ProgramArray = ProgramArray::with_max_entries(1, 0);
    #[map]
    static NEXT_XDP: ProgramArray = ProgramArray::with_max_entries(1, 0);
    #[map]
    static NEXT_TC: ProgramArray = ProgramArray::with_max_entries(1, 0);

    /// What a program returns whose packet did not get through to the one that is called.
    const XDP_FAILED: u32 = xdp_action::XDP_ABORTED;
    const TC_FAILED: i32 = TC_ACT_SHOT as i32;

    #[xdp(frags)]
    fn vary_xdp_frags(context: XdpContext) -> u32 {
        call(&context, context.data(), context.data_end(), &NEXT_XDP_FRAGS);
        XDP_FAILED
    }

    #[xdp]
    fn vary_xdp(context: XdpContext) -> u32 {
        call(&context, context.data(), context.data_end(), &NEXT_XDP);
        XDP_FAILED
    }

    #[classifier]
    fn vary_tc(context: TcContext) -> i32 {
        call(&context, context.data(), context.data_end(), &NEXT_TC);
        TC_FAILED
    }

    #[xdp(frags)]
    fn nothing_xdp_frags(_: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    #[xdp]
    fn nothing_xdp(_: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    #[classifier]
    fn nothing_tc(_: TcContext) -> i32 {
        TC_ACT_UNSPEC
    }

    #[inline(always)]
    fn call<C: EbpfContext>(context: &C, frame: usize, end: usize, next: &ProgramArray) {
        if vary(frame, end).is_some() {
            // SAFETY: nothing here needs to be dropped.
            unsafe { next.tail_call(context, 0) };
        }
    }

    #[inline(always)]
    fn vary(frame: usize, end: usize) -> Option<()> {
        if frame + HEADERS > end {
            return None;
        }
        let flow = choose()?;
        let (address, port) = ((flow >> 12) as u32, 1024 + (flow & 0xfff) as u16);
        // SAFETY: within the headers, which were compared with the end of the frame.
        unsafe {
            if ptr::read((frame + ETHERTYPE) as *const u8) == 0x86 {
                if frame + HEADERS_V6 > end {
                    return None;
                }
                ptr::write_unaligned((frame + IPV6_SOURCE) as *mut u32, address.to_be());
                ptr::write_unaligned((frame + IPV6_PORT) as *mut u16, port.to_be());
            } else {
                let address = address.wrapping_add(0x0a00_0000);
                ptr::write_unaligned((frame + IPV4_SOURCE) as *mut u32, address.to_be());
                ptr::write_unaligned((frame + IPV4_PORT) as *mut u16, port.to_be());
            }
        }
        Some(())
    }

    #[inline(always)]
    fn choose() -> Option<u64> {
        let choice = CHOICE.get_ptr_mut(0)?;
        // SAFETY: the array's only value; the bench makes one test run at a time.
        let choice = unsafe { &mut *choice };
        // Marsaglia's xorshift.
        let mut random = choice.state;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        choice.state = random;
        if random & 0xffff_ffff < choice.new_share {
            let flow = choice.next;
            choice.next = flow + 1;
            return Some(flow);
        }
        Some(((random >> 32) * choice.flows) >> 32)
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 4] = *b"GPL\0";

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
