//! A program of classic BPF, as a filter compiler makes it.
//!
//! In: raw instructions. Out: the same as operations, checked once: every jump leads forward to an
//! instruction of the program, every slot exists, the last instruction returns. Interpreter and translation
//! rely on that. Neither knows what a packet means.

use serde::{Deserialize, Serialize};

use super::FilterError;

/// Longest program that is taken: what the kernel takes of a socket's filter (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;
/// Words of a program's memory (BPF_MEMWORDS).
pub const MEMORY_WORDS: usize = 16;
/// Offsets from here on are no octets of the packet but what the kernel knows of it (SKF_AD_OFF of
/// `linux/filter.h`).
const METADATA: u32 = 0xffff_f000;

/// An instruction as it stands in `struct bpf_insn` of pcap(3) and `struct sock_filter` of Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RawInstruction {
    /// Operation code.
    pub code: u16,
    /// Instructions to skip where a condition holds.
    pub jump_true: u8,
    /// Instructions to skip where it does not.
    pub jump_false: u8,
    /// Operand.
    pub k: u32,
}

/// Octets of a load, which are in network order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// One.
    Octet,
    /// Two.
    Half,
    /// Four.
    Word,
}

impl Width {
    /// How many octets that is.
    pub const fn octets(self) -> u32 {
        match self {
            Self::Octet => 1,
            Self::Half => 2,
            Self::Word => 4,
        }
    }
}

/// What the kernel knows of a packet beside its octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metadata {
    /// 4 (PACKET_OUTGOING) for what leaves, else 0 (PACKET_HOST): `inbound` and `outbound`.
    Direction,
    /// ifIndex: `ifindex`.
    Interface,
}

/// Value of [`Metadata::Direction`] for a packet that leaves (`PACKET_OUTGOING` of `linux/if_packet.h`).
pub const OUTGOING: u32 = 4;

/// Where an operand comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// The instruction.
    Constant(u32),
    /// The index register.
    Index,
}

/// What is done with accumulator and operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// Sum.
    Add,
    /// Difference.
    Subtract,
    /// Product.
    Multiply,
    /// Quotient; a divisor of 0 ends the program without a match.
    Divide,
    /// Rest; as above.
    Modulo,
    /// Bits of both.
    And,
    /// Bits of either.
    Or,
    /// Bits of one.
    ExclusiveOr,
    /// By 32 and more: 0.
    ShiftLeft,
    /// As above.
    ShiftRight,
}

/// How accumulator and operand are compared, unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Equal.
    Equal,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
    /// A bit of the operand is set.
    AnySet,
}

/// One step. Targets of jumps are indexes of the program, behind the step itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Accumulator: octets at an offset. Beyond the packet: no match.
    Load(Width, u32),
    /// Accumulator: octets at the index plus an offset. Beyond the packet: no match.
    LoadIndirect(Width, u32),
    /// Index: four times the lower half of an octet (an IPv4 header's length). Beyond the packet: no match.
    LoadHeaderLength(u32),
    /// Accumulator.
    LoadMetadata(Metadata),
    /// Accumulator: the packet's length.
    LoadLength,
    /// Index: the packet's length.
    LoadIndexLength,
    /// Accumulator.
    LoadConstant(u32),
    /// Index.
    LoadIndexConstant(u32),
    /// Accumulator, from memory.
    LoadMemory(u8),
    /// Index, from memory.
    LoadIndexMemory(u8),
    /// Accumulator, into memory.
    Store(u8),
    /// Index, into memory.
    StoreIndex(u8),
    /// Accumulator.
    Arithmetic(Operator, Operand),
    /// Accumulator.
    Negate,
    /// To a step.
    Jump(usize),
    /// To the first step where the condition holds, else to the second.
    Branch(Condition, Operand, usize, usize),
    /// Index: the accumulator.
    ToIndex,
    /// Accumulator: the index.
    ToAccumulator,
    /// The end: a match unless 0.
    Return(u32),
    /// The end: a match unless the accumulator is 0.
    ReturnAccumulator,
}

/// A checked program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassicProgram {
    raw: Vec<RawInstruction>,
    operations: Vec<Operation>,
}

impl ClassicProgram {
    /// Checks the instructions.
    ///
    /// # Errors
    /// Too many, a loop, or one that does not belong into a filter.
    pub fn new(raw: &[RawInstruction]) -> Result<Self, FilterError> {
        if raw.len() > MAX_INSTRUCTIONS {
            return Err(FilterError::TooLong { instructions: raw.len() });
        }
        if raw.iter().any(|instruction| instruction.code == 0x05 && instruction.k.cast_signed() < 0) {
            return Err(FilterError::Loop);
        }
        let operations: Option<Vec<Operation>> = raw
            .iter()
            .enumerate()
            .map(|(index, instruction)| operation(index, instruction, raw.len()))
            .collect();
        match operations {
            Some(operations)
                if matches!(operations.last(), Some(Operation::Return(_) | Operation::ReturnAccumulator)) =>
            {
                Ok(Self { raw: raw.to_vec(), operations })
            }
            _ => Err(FilterError::NotUnderstood),
        }
    }

    /// As it was given.
    pub fn instructions(&self) -> &[RawInstruction] {
        &self.raw
    }

    /// The steps.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether it asks for something that is no octet of the packet.
    pub fn needs(&self, metadata: Metadata) -> bool {
        self.operations.contains(&Operation::LoadMetadata(metadata))
    }
}

/// `None`: no operation of classic BPF, or one that leads out of the program.
fn operation(index: usize, raw: &RawInstruction, length: usize) -> Option<Operation> {
    let k = raw.k;
    let target = |distance: u32| {
        let target = index + 1 + usize::try_from(distance).ok()?;
        (target < length).then_some(target)
    };
    let slot = || u8::try_from(k).ok().filter(|slot| usize::from(*slot) < MEMORY_WORDS);
    let operand = if raw.code & 0x08 == 0 { Operand::Constant(k) } else { Operand::Index };
    let operation = match raw.code {
        // BPF_LD
        0x20 | 0x28 | 0x30 if k >= METADATA => match k - METADATA {
            4 => Operation::LoadMetadata(Metadata::Direction),
            8 => Operation::LoadMetadata(Metadata::Interface),
            _ => return None,
        },
        0x20 => Operation::Load(Width::Word, k),
        0x28 => Operation::Load(Width::Half, k),
        0x30 => Operation::Load(Width::Octet, k),
        0x40 => Operation::LoadIndirect(Width::Word, k),
        0x48 => Operation::LoadIndirect(Width::Half, k),
        0x50 => Operation::LoadIndirect(Width::Octet, k),
        0x80 => Operation::LoadLength,
        0x00 => Operation::LoadConstant(k),
        0x60 => Operation::LoadMemory(slot()?),
        // BPF_LDX
        0xb1 => Operation::LoadHeaderLength(k),
        0x81 => Operation::LoadIndexLength,
        0x01 => Operation::LoadIndexConstant(k),
        0x61 => Operation::LoadIndexMemory(slot()?),
        // BPF_ST, BPF_STX
        0x02 => Operation::Store(slot()?),
        0x03 => Operation::StoreIndex(slot()?),
        // BPF_ALU
        0x84 => Operation::Negate,
        0x34 | 0x94 if k == 0 => return None,
        code if code & 0x07 == 0x04 && code <= 0xff => Operation::Arithmetic(operator(code & 0xf0)?, operand),
        // BPF_JMP
        0x05 => Operation::Jump(target(k)?),
        code if code & 0x07 == 0x05 && code <= 0xff => Operation::Branch(
            condition(code & 0xf0)?,
            operand,
            target(raw.jump_true.into())?,
            target(raw.jump_false.into())?,
        ),
        // BPF_RET
        0x06 => Operation::Return(k),
        0x16 => Operation::ReturnAccumulator,
        // BPF_MISC
        0x07 => Operation::ToIndex,
        0x87 => Operation::ToAccumulator,
        _ => return None,
    };
    Some(operation)
}

fn operator(code: u16) -> Option<Operator> {
    Some(match code {
        0x00 => Operator::Add,
        0x10 => Operator::Subtract,
        0x20 => Operator::Multiply,
        0x30 => Operator::Divide,
        0x40 => Operator::Or,
        0x50 => Operator::And,
        0x60 => Operator::ShiftLeft,
        0x70 => Operator::ShiftRight,
        0x90 => Operator::Modulo,
        0xa0 => Operator::ExclusiveOr,
        _ => return None,
    })
}

fn condition(code: u16) -> Option<Condition> {
    Some(match code {
        0x10 => Condition::Equal,
        0x20 => Condition::Greater,
        0x30 => Condition::GreaterOrEqual,
        0x40 => Condition::AnySet,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn raw(code: u16, jump_true: u8, jump_false: u8, k: u32) -> RawInstruction {
        RawInstruction { code, jump_true, jump_false, k }
    }

    const RETURN: RawInstruction = RawInstruction { code: 0x06, jump_true: 0, jump_false: 0, k: 1 };

    #[test]
    fn instructions_become_operations() {
        // `ip` on Ethernet, as tcpdump -d prints it.
        let program =
            [raw(0x28, 0, 0, 12), raw(0x15, 0, 1, 0x800), raw(0x06, 0, 0, 262_144), raw(0x06, 0, 0, 0)];
        assert_eq!(
            ClassicProgram::new(&program).unwrap().operations(),
            [
                Operation::Load(Width::Half, 12),
                Operation::Branch(Condition::Equal, Operand::Constant(0x800), 2, 3),
                Operation::Return(262_144),
                Operation::Return(0)
            ]
        );
    }

    #[test]
    fn what_leads_out_of_the_program_is_refused() {
        let refused = [
            vec![],
            vec![raw(0x28, 0, 0, 12)],
            vec![raw(0x05, 0, 0, 1), RETURN],
            vec![raw(0x05, 0, 0, i32::MAX.cast_unsigned()), RETURN],
            vec![raw(0x15, 0, 1, 7), RETURN],
            vec![raw(0x15, 1, 0, 7), RETURN],
        ];
        for program in refused {
            assert!(matches!(ClassicProgram::new(&program), Err(FilterError::NotUnderstood)), "{program:?}");
        }
    }

    #[test]
    fn a_loop_is_refused() {
        let program = [raw(0x05, 0, 0, u32::MAX), RETURN];
        assert!(matches!(ClassicProgram::new(&program), Err(FilterError::Loop)));
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        let refused = [
            // Memory beyond its 16 words, a divisor of zero, codes that nobody defined, other metadata.
            raw(0x60, 0, 0, 16),
            raw(0x02, 0, 0, 256),
            raw(0x34, 0, 0, 0),
            raw(0x94, 0, 0, 0),
            raw(0x18, 0, 0, 0),
            raw(0x104, 0, 0, 0),
            raw(0x55, 0, 0, 0),
            raw(0x20, 0, 0, METADATA + 44),
        ];
        for instruction in refused {
            let program = [instruction, RETURN];
            assert!(
                matches!(ClassicProgram::new(&program), Err(FilterError::NotUnderstood)),
                "{instruction:?}"
            );
        }
    }

    #[test]
    fn a_program_has_at_most_4096_instructions() {
        let mut program = vec![raw(0x00, 0, 0, 0); MAX_INSTRUCTIONS - 1];
        program.push(RETURN);
        assert!(ClassicProgram::new(&program).is_ok());
        program.push(RETURN);
        assert!(matches!(ClassicProgram::new(&program), Err(FilterError::TooLong { instructions: 4097 })));
    }
}
