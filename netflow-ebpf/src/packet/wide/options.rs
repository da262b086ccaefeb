//! Bits for options and extension headers.

use netflow_common::NetworkU16;

use super::Frame;

/// Options that are looked at: as many as fit 40 octets.
const MAX_OPTIONS: usize = 40;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const TCP_HEADER: usize = 20;

/// One bit for each kind of option within `length` octets at `offset`: bit n for `kind & mask` = n. Kinds from 64 on
/// have no bit. Options stand behind a header: there is an octet before `offset`.
#[inline(always)]
pub(super) fn seen<F: Frame + ?Sized>(frame: &F, offset: usize, length: usize, mask: u8) -> u64 {
    let (mut bits, last) = (0, offset + length - 1);
    // Two octets at least are read at once, so the octet before each option comes with it.
    let mut before = offset - 1;
    for _ in 0..MAX_OPTIONS {
        before = frame.forget(before);
        if before >= last {
            break;
        }
        let Some([_, kind]) = frame.read::<[u8; 2]>(before) else { break };
        let number = kind & mask;
        if number < 64 {
            bits |= 1 << (number & 63);
        }
        match kind {
            END_OF_OPTIONS => break,
            NO_OPERATION => before += 1,
            _ => {
                let Some([_, octets]) = frame.read::<[u8; 2]>(before + 1) else { break };
                if octets < 2 {
                    break;
                }
                before += usize::from(octets);
            }
        }
    }
    bits
}

/// Those of a TCP header at `offset`.
#[inline(always)]
pub(super) fn of_tcp<F: Frame + ?Sized>(frame: &F, offset: usize, available: usize) -> u64 {
    let Some(bits) = frame.read::<NetworkU16>(offset + 12) else { return 0 };
    let header = usize::from(bits.value() >> 12) * 4;
    if header <= TCP_HEADER || header > available {
        return 0;
    }
    seen(frame, offset + TCP_HEADER, header - TCP_HEADER, 0xff)
}

/// The bit of a header in ipv6ExtensionHeadersFull (registry "IPFIX ipv6ExtensionHeaders Bits"); the upper layer's
/// protocols have none.
#[inline(always)]
pub(super) fn extension_header_bit(protocol: u8) -> u32 {
    EXTENSION_HEADER_BITS[usize::from(protocol)]
}

/// By Next Header number. Looked up for the verifier's sake, as the kinds of headers in the parser are.
static EXTENSION_HEADER_BITS: [u32; 256] = {
    let mut bits = [0; 256];
    bits[60] = 1 << 0;
    bits[0] = 1 << 1;
    bits[59] = 1 << 2;
    bits[43] = 1 << 5;
    bits[135] = 1 << 7;
    bits[50] = 1 << 8;
    bits[51] = 1 << 9;
    bits[139] = 1 << 10;
    bits[140] = 1 << 11;
    bits[253] = 1 << 12;
    bits[254] = 1 << 13;
    bits
};

/// The bit of a fragment header: FRA1 of a later fragment, FRA0 else.
#[inline(always)]
pub(super) const fn fragment_header_bit(later: bool) -> u32 {
    1 << (4 + 2 * later as u32)
}
