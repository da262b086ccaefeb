//! Ports, ICMP type and code, TCP control bits.

use netflow_common::{NetworkU16, Note, Ports};

use super::{Frame, Notes, Observer};

const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const DCCP: u8 = 33;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// Where the data offset and the control bits stand in a TCP header (RFC 9293 section 3.1), and which of them are the bits.
pub(super) const TCP_CONTROL_BITS_OFFSET: usize = 12;
pub(super) const TCP_CONTROL_BITS: u16 = 0x0fff;

pub(super) struct Transport {
    pub(super) source_port: NetworkU16,
    pub(super) destination_port: NetworkU16,
    pub(super) ports: u8,
    pub(super) tcp_control_bits: u16,
    pub(super) notes: Notes,
}

impl Transport {
    #[inline(always)]
    fn without_ports(ports: u8, notes: Notes) -> Self {
        Self {
            source_port: NetworkU16::new(0),
            destination_port: NetworkU16::new(0),
            ports,
            tcp_control_bits: 0,
            notes,
        }
    }
}

/// Reads what the key needs of the transport header at `offset`, of which the IP length grants
/// `available` octets: beyond them there may be Ethernet padding.
#[inline(always)]
pub(super) fn read<F: Frame + ?Sized, O: Observer>(
    frame: &F,
    offset: usize,
    available: usize,
    protocol: u8,
    later_fragment: bool,
    observer: &mut O,
) -> Transport {
    if later_fragment {
        return Transport::without_ports(Ports::LATER_FRAGMENT, Notes::when(true, Note::LaterFragment));
    }
    observer.transport(offset, available, protocol);
    let ports: Option<[NetworkU16; 2]> = match protocol {
        TCP | UDP | SCTP | DCCP | UDP_LITE => granted(frame, offset, available),
        // Type and code, two octets, are type * 256 + code as they stand.
        ICMP | ICMPV6 => granted(frame, offset, available).map(|both| [NetworkU16::new(0), both]),
        _ => return Transport::without_ports(Ports::NONE, Notes::NONE),
    };
    let Some([source_port, destination_port]) = ports else {
        return Transport::without_ports(Ports::CUT, Notes::when(true, Note::TransportCut));
    };
    let mut tcp_control_bits = 0;
    if protocol == TCP {
        let bits: Option<NetworkU16> = available
            .checked_sub(TCP_CONTROL_BITS_OFFSET)
            .and_then(|rest| granted(frame, offset + TCP_CONTROL_BITS_OFFSET, rest));
        if let Some(bits) = bits {
            // RFC 9565: all bits as observed, the four of the data offset zero.
            tcp_control_bits = bits.value() & TCP_CONTROL_BITS;
        }
    }
    Transport { source_port, destination_port, ports: Ports::PRESENT, tcp_control_bits, notes: Notes::NONE }
}

#[inline(always)]
fn granted<F: Frame + ?Sized, T: bytemuck::AnyBitPattern>(
    frame: &F,
    offset: usize,
    available: usize,
) -> Option<T> {
    if available < size_of::<T>() { None } else { frame.read(offset) }
}
