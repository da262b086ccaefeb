//! Loads: octets of the packet, in place where they are in its linear part, by a helper where they are not, and around
//! a tag that stands beside the packet.

use super::{ACCUMULATOR, CONTEXT, Hook, INDEX, LOADS, PACKET, R0, R1, R2, R3, R4, STACK, Translator, skb};
use crate::filter::{
    assembler::{Register, Source, When},
    classic::{Operator, Width},
};

// Helpers by number (`linux/bpf.h`).
const SKB_LOAD_BYTES: i32 = 26;
const XDP_GET_BUFF_LEN: i32 = 188;
const XDP_LOAD_BYTES: i32 = 189;

// Places on the stack, within LOADS.
const LOADED: i16 = -8;
/// Octets 8 to 20 of a packet whose tag stands beside it, with the tag in place.
const WINDOW: i16 = LOADS;
const WINDOW_START: u32 = 8;

/// Where a tag stands: behind both addresses.
const TAG_START: u32 = 12;
const TAG_OCTETS: u32 = 4;
/// Offsets that instructions can hold; what lies beyond is loaded by the helper.
const DIRECT_LIMIT: u32 = 0x7ff0;
/// Offsets beyond are beyond every packet.
const PACKET_LIMIT: i32 = i32::MAX;

impl Translator {
    pub(super) fn load_length(&mut self, to: Register) {
        let asm = &mut self.assembler;
        match self.hook {
            Hook::Xdp { fragments: true } => {
                asm.copy(R1, Source::Register(CONTEXT));
                asm.call(XDP_GET_BUFF_LEN);
                asm.copy_word(to, Source::Register(R0));
            }
            Hook::Xdp { fragments: false } => {
                asm.load(Width::Word, R1, CONTEXT, self.hook.data_end());
                asm.subtract(R1, PACKET);
                asm.copy_word(to, Source::Register(R1));
            }
            Hook::Tc { .. } => {
                asm.load(Width::Word, to, CONTEXT, skb::LEN);
                if self.tag_apart {
                    asm.arithmetic(Operator::Add, to, Source::Constant(TAG_OCTETS.cast_signed()));
                }
            }
        }
    }

    /// Octets at a known offset.
    pub(super) fn load(&mut self, width: Width, offset: u32, to: Register) {
        let offset = match self.tag_apart {
            true if offset >= TAG_START + TAG_OCTETS => offset - TAG_OCTETS,
            true if offset.saturating_add(width.octets()) > TAG_START => {
                return self.load_window(width, offset, to);
            }
            _ => offset,
        };
        let asm = &mut self.assembler;
        let (behind, done) = (asm.label(), asm.label());
        if offset <= DIRECT_LIMIT {
            asm.copy(R1, Source::Register(PACKET));
            asm.add(R1, Source::Constant((offset + width.octets()).cast_signed()));
            asm.load(Width::Word, R2, CONTEXT, self.hook.data_end());
            asm.jump_if(When::Greater, R1, Source::Register(R2), behind);
            asm.load(width, to, PACKET, offset as i16);
            asm.jump(done);
            asm.place(behind);
        }
        asm.copy_word(R2, Source::Constant(offset.cast_signed()));
        self.load_by_helper(width, to);
        self.assembler.place(done);
        self.assembler.network_to_host(to, width);
    }

    /// Octets at the index plus an offset, into the accumulator.
    pub(super) fn load_indirect(&mut self, width: Width, offset: u32) {
        let filtered = self.filtered;
        let octets = width.octets().cast_signed();
        let asm = &mut self.assembler;
        let (behind, done, finished) = (asm.label(), asm.label(), asm.label());
        asm.copy(R3, Source::Register(INDEX));
        asm.copy_word(R1, Source::Constant(offset.cast_signed()));
        asm.add(R3, Source::Register(R1));
        if self.tag_apart {
            let (before, not_behind) = (asm.label(), asm.label());
            let (start, end) = (TAG_START.cast_signed(), (TAG_START + TAG_OCTETS).cast_signed());
            asm.jump_if(When::LessOrEqual, R3, Source::Constant(start - octets), before);
            asm.jump_if(When::Less, R3, Source::Constant(end), not_behind);
            asm.add(R3, Source::Constant(-TAG_OCTETS.cast_signed()));
            asm.jump(before);
            asm.place(not_behind);
            for place in TAG_START + 1 - width.octets()..TAG_START + TAG_OCTETS {
                let next = self.assembler.label();
                self.assembler.jump_if(When::NotEqual, R3, Source::Constant(place.cast_signed()), next);
                self.load_window(width, place, ACCUMULATOR);
                self.assembler.jump(finished);
                self.assembler.place(next);
            }
            self.assembler.jump(filtered);
            self.assembler.place(before);
        }
        let asm = &mut self.assembler;
        asm.jump_if(When::Greater, R3, Source::Constant(DIRECT_LIMIT.cast_signed()), behind);
        asm.copy(R1, Source::Register(PACKET));
        asm.add(R1, Source::Register(R3));
        asm.load(Width::Word, R2, CONTEXT, self.hook.data_end());
        asm.copy(R4, Source::Register(R1));
        asm.add(R4, Source::Constant(octets));
        asm.jump_if(When::Greater, R4, Source::Register(R2), behind);
        asm.load(width, ACCUMULATOR, R1, 0);
        asm.jump(done);
        asm.place(behind);
        asm.jump_if(When::Greater, R3, Source::Constant(PACKET_LIMIT), filtered);
        asm.copy(R2, Source::Register(R3));
        self.load_by_helper(width, ACCUMULATOR);
        self.assembler.place(done);
        self.assembler.network_to_host(ACCUMULATOR, width);
        self.assembler.place(finished);
    }

    /// Octets at the offset in R2, which are not in the linear part.
    fn load_by_helper(&mut self, width: Width, to: Register) {
        let asm = &mut self.assembler;
        let helper = match self.hook {
            // There is nothing but the linear part. The jump has a condition since the verifier refuses steps
            // to which nothing leads, and there are more behind it.
            Hook::Xdp { fragments: false } => {
                asm.copy(R1, Source::Constant(0));
                return asm.jump_if(When::Equal, R1, Source::Constant(0), self.filtered);
            }
            Hook::Xdp { fragments: true } => XDP_LOAD_BYTES,
            Hook::Tc { .. } => SKB_LOAD_BYTES,
        };
        asm.copy(R1, Source::Register(CONTEXT));
        asm.copy(R3, Source::Register(STACK));
        asm.add(R3, Source::Constant(LOADED.into()));
        asm.copy(R4, Source::Constant(width.octets().cast_signed()));
        asm.call(helper);
        asm.jump_if(When::NotEqual, R0, Source::Constant(0), self.filtered);
        asm.load(width, to, STACK, LOADED);
    }

    /// Leaves the octets around the tag on the stack, as they were on the wire.
    pub(super) fn window(&mut self) {
        let asm = &mut self.assembler;
        asm.load(Width::Word, R1, CONTEXT, skb::VLAN_PROTO);
        asm.store(Width::Half, STACK, WINDOW + 4, R1);
        asm.load(Width::Word, R1, CONTEXT, skb::VLAN_TCI);
        asm.network_to_host(R1, Width::Half);
        asm.store(Width::Half, STACK, WINDOW + 6, R1);
        let whole = asm.label();
        // The last four, or of a packet that ends before them the EtherType at least.
        for (start, place, octets) in
            [(WINDOW_START, WINDOW, 4), (TAG_START, WINDOW + 8, 4), (TAG_START, WINDOW + 8, 2)]
        {
            asm.copy(R1, Source::Register(CONTEXT));
            asm.copy(R2, Source::Constant(start.cast_signed()));
            asm.copy(R3, Source::Register(STACK));
            asm.add(R3, Source::Constant(place.into()));
            asm.copy(R4, Source::Constant(octets));
            asm.call(SKB_LOAD_BYTES);
            match (start, octets) {
                (TAG_START, 4) => asm.jump_if(When::Equal, R0, Source::Constant(0), whole),
                _ => asm.jump_if(When::NotEqual, R0, Source::Constant(0), self.filtered),
            }
        }
        asm.place(whole);
    }

    /// Octets of the copy on the stack, one by one: nothing says that they stand aligned.
    fn load_window(&mut self, width: Width, offset: u32, to: Register) {
        let asm = &mut self.assembler;
        let end = offset + width.octets() - TAG_OCTETS;
        // Every packet has an Ethernet header.
        if end > TAG_START + 2 {
            asm.load(Width::Word, R1, CONTEXT, skb::LEN);
            asm.jump_if(When::Less, R1, Source::Constant(end.cast_signed()), self.filtered);
        }
        let place = WINDOW + (offset - WINDOW_START) as i16;
        asm.load(Width::Octet, to, STACK, place);
        for next in 1..width.octets() as i16 {
            asm.arithmetic(Operator::ShiftLeft, to, Source::Constant(8));
            asm.load(Width::Octet, R1, STACK, place + next);
            asm.arithmetic(Operator::Or, to, Source::Register(R1));
        }
    }
}
