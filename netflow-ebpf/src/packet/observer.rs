//! Who wants to know more than the default of a packet: the parser tells what it meets on its way.
//!
//! The default observer wants nothing, and nothing is left of the calls when the program is compiled.

use netflow_common::Tunnel;

use super::{Fragment, Frame, Packet};

/// Listens to the parser. What it is told of a layer whose header turns out to be unusable stays told.
pub trait Observer {
    /// Whether so much is done with each packet that the verifier must not follow the number of an IPv6 header beyond
    /// where it is looked at: kinds of headers are then looked up, and not found by comparisons.
    const LOOKS_UP: bool = false;

    /// Whether tunnels of this kind are looked into.
    fn enters(&self, _tunnel: Tunnel) -> bool {
        false
    }

    /// The Ethernet header stands at the beginning of the frame: its addresses.
    fn ethernet<F: Frame + ?Sized>(&mut self, _frame: &F) {}

    /// The tag control information of a VLAN tag, outermost first.
    fn vlan_tag(&mut self, _number: usize, _control: u16) {}

    /// The EtherType behind all tags.
    fn ethernet_type(&mut self, _ethertype: u16) {}

    /// An entry of the MPLS label stack, top first.
    fn mpls_label(&mut self, _number: usize, _entry: u32) {}

    /// A usable IP header: what comes next belongs to it, and replaces what an outer header had.
    fn ip_header(&mut self) {}

    /// The packet is a fragment.
    fn fragment(&mut self, _fragment: Fragment) {}

    /// How many octets follow the IP headers, told behind `fragment` where that could not know; of whole packets, too.
    fn fragment_octets(&mut self, _octets: u16) {}

    /// The second word of an IPv4 header: identification, flags and fragment offset.
    fn ipv4_fragment_word(&mut self, _identification: u16, _flags_and_offset: u16) {}

    /// The options of an IPv4 header stand in these octets.
    fn ipv4_options(&mut self, _offset: usize, _length: usize) {}

    /// A header of the IPv6 chain, the upper layer's included.
    fn ipv6_next_header(&mut self, _protocol: u8) {}

    /// An IPv6 fragment header.
    fn ipv6_fragment(&mut self, _identification: u32, _offset_and_more: u16) {}

    /// An authentication header at `offset`.
    fn authentication_header(&mut self, _offset: usize) {}

    /// The upper-layer protocol's header at `offset`, of which the IP length grants `available` octets.
    fn transport(&mut self, _offset: usize, _available: usize, _protocol: u8) {}

    /// The innermost packet has been read: what was asked for of its options and of what it carries is read now,
    /// once and not for each header that might have been the last.
    fn look_closer<F: Frame + ?Sized>(&mut self, _frame: &F) {}

    /// What the IP packet carries begins at `offset`; a later fragment's too.
    fn payload(&mut self, _offset: usize) {}

    /// What `payload` was told last.
    fn payload_offset(&self) -> usize {
        0
    }

    /// The same packet. The kernel's observer hides from the verifier how it came about, as [`Frame::forget`] does for
    /// an offset: else each way through an outer packet is verified with each way through the inner one.
    fn settle(&mut self, packet: Packet) -> Packet {
        packet
    }

    /// A tunnel was entered; what follows is inside of it.
    fn tunnel(&mut self, _tunnel: Tunnel, _id: u32) {}
}

/// Wants nothing beyond the default.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl Observer for Unobserved {}
