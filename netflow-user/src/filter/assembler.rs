//! Instructions of the kernel's BPF (RFC 9669), with jumps to labels.
//!
//! In: one instruction after the other. Out: their octets, the jumps resolved. Only what the translation of a
//! filter uses stands here.

use super::classic::{Condition, Operator, Width};

/// Octets of an instruction.
pub(super) const INSTRUCTION: usize = 8;

/// A register, R0 to R10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Register(pub(super) u8);

/// Where jumps lead, before it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Label(usize);

/// A second operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// Sign-extended where the operation is one of 64 bits.
    Constant(i32),
    Register(Register),
}

/// When a jump is taken; comparisons are unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    LessOrEqual,
    Less,
    AnySet,
}

impl When {
    const fn code(self) -> u8 {
        match self {
            Self::Equal => 0x10,
            Self::Greater => 0x20,
            Self::GreaterOrEqual => 0x30,
            Self::AnySet => 0x40,
            Self::NotEqual => 0x50,
            Self::Less => 0xa0,
            Self::LessOrEqual => 0xb0,
        }
    }

    pub(super) const fn of(condition: Condition) -> Self {
        match condition {
            Condition::Equal => Self::Equal,
            Condition::Greater => Self::Greater,
            Condition::GreaterOrEqual => Self::GreaterOrEqual,
            Condition::AnySet => Self::AnySet,
        }
    }

    /// The opposite; none has one instruction for "no bit set".
    pub(super) const fn opposite(condition: Condition) -> Option<Self> {
        match condition {
            Condition::Equal => Some(Self::NotEqual),
            Condition::Greater => Some(Self::LessOrEqual),
            Condition::GreaterOrEqual => Some(Self::Less),
            Condition::AnySet => None,
        }
    }
}

/// A program being written.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    octets: Vec<u8>,
    /// Where labels stand, in instructions.
    labels: Vec<Option<usize>>,
    /// Jumps whose distance is still to be written.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A label, to be placed later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Here is where jumps to the label lead.
    pub(super) fn place(&mut self, label: Label) {
        let here = self.instructions();
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(here);
        }
    }

    /// Whether a jump leads to the label.
    pub(super) fn is_used(&self, label: Label) -> bool {
        self.jumps.iter().any(|(_, to)| *to == label)
    }

    /// Instructions so far.
    pub(super) fn instructions(&self) -> usize {
        self.octets.len() / INSTRUCTION
    }

    /// The octets; `None` where a jump is longer than an instruction can say.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        for (from, label) in &self.jumps {
            let to = self.labels.get(label.0).copied().flatten()?;
            let distance = i16::try_from(i64::try_from(to).ok()? - i64::try_from(from + 1).ok()?).ok()?;
            let place = self.octets.get_mut(from * INSTRUCTION + 2..from * INSTRUCTION + 4)?;
            place.copy_from_slice(&distance.to_ne_bytes());
        }
        Some(self.octets)
    }

    fn put(&mut self, code: u8, destination: Register, source: u8, offset: i16, constant: i32) {
        let registers = if cfg!(target_endian = "little") {
            source << 4 | destination.0
        } else {
            destination.0 << 4 | source
        };
        self.octets.extend([code, registers]);
        self.octets.extend(offset.to_ne_bytes());
        self.octets.extend(constant.to_ne_bytes());
    }

    fn with_source(&mut self, code: u8, destination: Register, source: Source, offset: i16) {
        match source {
            Source::Constant(constant) => self.put(code, destination, 0, offset, constant),
            Source::Register(register) => self.put(code | 0x08, destination, register.0, offset, 0),
        }
    }

    /// All 64 bits.
    pub(super) fn copy(&mut self, destination: Register, source: Source) {
        self.with_source(0xb7, destination, source, 0);
    }

    /// The lower 32 bits; the upper ones become zero.
    pub(super) fn copy_word(&mut self, destination: Register, source: Source) {
        self.with_source(0xb4, destination, source, 0);
    }

    /// 64 bits.
    pub(super) fn add(&mut self, destination: Register, source: Source) {
        self.with_source(0x07, destination, source, 0);
    }

    /// 64 bits.
    pub(super) fn subtract(&mut self, destination: Register, source: Register) {
        self.with_source(0x17, destination, Source::Register(source), 0);
    }

    /// 32 bits.
    pub(super) fn arithmetic(&mut self, operator: Operator, destination: Register, source: Source) {
        let code = match operator {
            Operator::Add => 0x00,
            Operator::Subtract => 0x10,
            Operator::Multiply => 0x20,
            Operator::Divide => 0x30,
            Operator::Or => 0x40,
            Operator::And => 0x50,
            Operator::ShiftLeft => 0x60,
            Operator::ShiftRight => 0x70,
            Operator::Modulo => 0x90,
            Operator::ExclusiveOr => 0xa0,
        };
        self.with_source(code | 0x04, destination, source, 0);
    }

    /// 32 bits.
    pub(super) fn negate(&mut self, register: Register) {
        self.put(0x84, register, 0, 0, 0);
    }

    /// From network order to the machine's; the upper bits become zero.
    pub(super) fn network_to_host(&mut self, register: Register, width: Width) {
        match width {
            Width::Octet => {}
            Width::Half => self.put(0xdc, register, 0, 0, 16),
            Width::Word => self.put(0xdc, register, 0, 0, 32),
        }
    }

    /// From memory; the upper bits become zero.
    pub(super) fn load(&mut self, width: Width, destination: Register, base: Register, offset: i16) {
        self.put(0x60 | size(width) | 0x01, destination, base.0, offset, 0);
    }

    /// To memory.
    pub(super) fn store(&mut self, width: Width, base: Register, offset: i16, source: Register) {
        self.put(0x60 | size(width) | 0x03, base, source.0, offset, 0);
    }

    /// A map's address, filled in by the loader.
    pub(super) fn map_address(&mut self, destination: Register) {
        self.put(0x18, destination, 0, 0, 0);
        self.put(0, Register(0), 0, 0, 0);
    }

    /// A helper of the kernel, by number.
    pub(super) fn call(&mut self, helper: i32) {
        self.put(0x85, Register(0), 0, 0, helper);
    }

    /// Compares all 64 bits.
    pub(super) fn jump_if(&mut self, when: When, left: Register, right: Source, to: Label) {
        self.jumps.push((self.instructions(), to));
        self.with_source(0x05 | when.code(), left, right, 0);
    }

    /// Compares 32 bits (kernel 5.1).
    pub(super) fn jump_if_word(&mut self, when: When, left: Register, right: Source, to: Label) {
        self.jumps.push((self.instructions(), to));
        self.with_source(0x06 | when.code(), left, right, 0);
    }

    /// Always.
    pub(super) fn jump(&mut self, to: Label) {
        self.jumps.push((self.instructions(), to));
        self.put(0x05, Register(0), 0, 0, 0);
    }

    /// The end; what is in R0 is returned.
    pub(super) fn exit(&mut self) {
        self.put(0x95, Register(0), 0, 0, 0);
    }
}

const fn size(width: Width) -> u8 {
    match width {
        Width::Word => 0x00,
        Width::Half => 0x08,
        Width::Octet => 0x10,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn instructions_have_the_octets_of_rfc_9669() {
        let mut assembler = Assembler::default();
        let end = assembler.label();
        assembler.copy(Register(6), Source::Register(Register(1)));
        assembler.jump_if_word(When::Equal, Register(7), Source::Constant(0x800), end);
        assembler.load(Width::Half, Register(7), Register(9), 12);
        assembler.network_to_host(Register(7), Width::Half);
        assembler.map_address(Register(2));
        assembler.place(end);
        assembler.exit();
        assert_eq!((assembler.is_used(end), assembler.instructions()), (true, 7));
        if cfg!(target_endian = "big") {
            return;
        }
        let expected = [
            [0xbf, 0x16, 0, 0, 0, 0, 0, 0],
            [0x16, 0x07, 4, 0, 0, 8, 0, 0],
            [0x69, 0x97, 12, 0, 0, 0, 0, 0],
            [0xdc, 0x07, 0, 0, 16, 0, 0, 0],
            [0x18, 0x02, 0, 0, 0, 0, 0, 0],
            [0; 8],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(assembler.finish().unwrap(), expected.concat());
    }

    #[test]
    fn a_jump_that_is_too_long_is_no_program() {
        for (between, possible) in [(32_767, true), (32_768, false)] {
            let mut assembler = Assembler::default();
            let end = assembler.label();
            assembler.jump(end);
            (0..between).for_each(|_| assembler.exit());
            assembler.place(end);
            assembler.exit();
            assert_eq!(assembler.finish().is_some(), possible, "{between}");
        }
    }
}
