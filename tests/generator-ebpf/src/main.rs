//! The packet generator's kernel half. The kernel runs it on copies of one template frame ("live frames" mode of
//! BPF_PROG_TEST_RUN, Linux 5.18): it gives packet i the addresses of flow i and sends it out of an interface.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unsafe_code,
        reason = "packet memory, map values and constants set at load are reached by pointers"
    )
)]

#[cfg(target_arch = "bpf")]
mod generator {
    use core::ptr;

    use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action};
    use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_redirect};
    use aya_ebpf::macros::{classifier, map, perf_event, xdp};
    use aya_ebpf::maps::Array;
    use aya_ebpf::programs::{PerfEventContext, TcContext, XdpContext};

    /// Ethernet, IPv4 and UDP headers.
    const HEADERS: usize = 14 + 20 + 8;

    /// Offsets in the frame.
    const IPV4: usize = 14;
    const IPV4_CHECKSUM: usize = IPV4 + 10;
    const IPV4_SOURCE: usize = IPV4 + 12;
    const UDP_SOURCE: usize = IPV4 + 20;

    /// Set by the loader: how many flows the packets cycle through, the first one, and the interface to send from.
    #[unsafe(no_mangle)]
    static FLOWS: u64 = 1;
    #[unsafe(no_mangle)]
    static FIRST_FLOW: u64 = 0;
    #[unsafe(no_mangle)]
    static INTERFACE: u32 = 0;

    /// How many frames were made. One run at a time counts here, so that it needs no atomic operation.
    #[map]
    static FRAMES: Array<u64> = Array::with_max_entries(1, 0);

    #[xdp]
    fn generate(ctx: XdpContext) -> u32 {
        next_frame(&ctx).unwrap_or(xdp_action::XDP_ABORTED)
    }

    #[inline(always)]
    fn next_frame(ctx: &XdpContext) -> Option<u32> {
        let frame = ctx.data();
        if frame + HEADERS > ctx.data_end() {
            return None;
        }
        let frames = FRAMES.get_ptr_mut(0)?;
        // SAFETY: the map's value lives as long as the program; the constants are set before it is loaded.
        let (number, flows, first, interface) = unsafe {
            let number = *frames;
            *frames = number + 1;
            (
                number,
                ptr::read_volatile(&FLOWS),
                ptr::read_volatile(&FIRST_FLOW),
                ptr::read_volatile(&INTERFACE),
            )
        };
        if flows == 0 {
            return None;
        }
        let flow = (first + number) % flows;
        let source = 0x0a80_0001_u32 + (flow / 1000) as u32;
        let port = 1024 + (flow % 1000) as u16;
        // SAFETY: all of it lies within the HEADERS checked above.
        unsafe {
            ptr::write_unaligned((frame + IPV4_SOURCE) as *mut u32, source.to_be());
            ptr::write_unaligned((frame + UDP_SOURCE) as *mut u16, port.to_be());
            ptr::write_unaligned((frame + IPV4_CHECKSUM) as *mut u16, 0);
            let mut sum = 0_u32;
            let mut word = 0;
            while word < 10 {
                sum += u32::from(ptr::read_unaligned((frame + IPV4 + 2 * word) as *const u16));
                word += 1;
            }
            sum = (sum & 0xffff) + (sum >> 16);
            sum = (sum & 0xffff) + (sum >> 16);
            ptr::write_unaligned((frame + IPV4_CHECKSUM) as *mut u16, !(sum as u16));
            Some(bpf_redirect(interface, 0) as u32)
        }
    }

    /// How long the program below keeps its CPU from what it was doing.
    const STANDSTILL_NANOS: u64 = 20_000;
    /// More looks at the clock than fit into that time.
    const LOOKS: u32 = 4000;

    /// Attached to a timer event: what the timer interrupts, other programs too, stands still half-way.
    #[perf_event]
    fn stand_still(_: PerfEventContext) -> u32 {
        // SAFETY: a helper without arguments.
        let begin = unsafe { bpf_ktime_get_ns() };
        let mut look = 0;
        while look < LOOKS {
            look += 1;
            // SAFETY: as above.
            if unsafe { bpf_ktime_get_ns() } - begin > STANDSTILL_NANOS {
                break;
            }
        }
        0
    }

    /// Attached where it is measured what another program costs: the least one.
    #[xdp(frags)]
    fn pass(_: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    /// The least one where packets are dropped.
    #[xdp(frags)]
    fn discard(_: XdpContext) -> u32 {
        xdp_action::XDP_DROP
    }

    /// The least one at TC.
    #[classifier]
    fn go_on(_: TcContext) -> i32 {
        TC_ACT_UNSPEC
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
