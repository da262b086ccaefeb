//! A classic program run over octets on the host: for capture files, and what the kernel's translation is
//! compared with. The rules are those of libpcap's own interpreter.

use super::classic::{
    ClassicProgram, Condition, MEMORY_WORDS, Metadata, OUTGOING, Operand, Operation, Operator, Width,
};

/// What is known of a packet beside its octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PacketContext {
    /// Octets on the wire, where fewer were captured.
    pub length: u32,
    /// Whether it leaves the host.
    pub outgoing: bool,
    /// ifIndex.
    pub interface: u32,
}

/// Whether the program matches the packet.
pub fn matches(program: &ClassicProgram, octets: &[u8], context: &PacketContext) -> bool {
    // `None`: a load beyond the packet or a division by zero, which both end the program without a match.
    run(program.operations(), octets, context).is_some_and(|result| result != 0)
}

fn run(operations: &[Operation], octets: &[u8], context: &PacketContext) -> Option<u32> {
    let (mut accumulator, mut index) = (0u32, 0u32);
    let mut memory = [0u32; MEMORY_WORDS];
    let mut next = 0;
    loop {
        // Jumps lead forward only, so this ends.
        let operation = operations.get(next)?;
        next += 1;
        match *operation {
            Operation::Load(width, offset) => accumulator = load(octets, width, offset.into())?,
            Operation::LoadIndirect(width, offset) => {
                accumulator = load(octets, width, u64::from(index) + u64::from(offset))?;
            }
            Operation::LoadHeaderLength(offset) => {
                index = (load(octets, Width::Octet, offset.into())? & 0xf) << 2;
            }
            Operation::LoadMetadata(Metadata::Direction) => {
                accumulator = if context.outgoing { OUTGOING } else { 0 };
            }
            Operation::LoadMetadata(Metadata::Interface) => accumulator = context.interface,
            Operation::LoadLength => accumulator = context.length,
            Operation::LoadIndexLength => index = context.length,
            Operation::LoadConstant(value) => accumulator = value,
            Operation::LoadIndexConstant(value) => index = value,
            Operation::LoadMemory(slot) => accumulator = *memory.get(usize::from(slot))?,
            Operation::LoadIndexMemory(slot) => index = *memory.get(usize::from(slot))?,
            Operation::Store(slot) => *memory.get_mut(usize::from(slot))? = accumulator,
            Operation::StoreIndex(slot) => *memory.get_mut(usize::from(slot))? = index,
            Operation::Arithmetic(operator, operand) => {
                accumulator = arithmetic(operator, accumulator, value(operand, index))?;
            }
            Operation::Negate => accumulator = accumulator.wrapping_neg(),
            Operation::Jump(target) => next = target,
            Operation::Branch(condition, operand, on_true, on_false) => {
                let holds = holds(condition, accumulator, value(operand, index));
                next = if holds { on_true } else { on_false };
            }
            Operation::ToIndex => index = accumulator,
            Operation::ToAccumulator => accumulator = index,
            Operation::Return(value) => return Some(value),
            Operation::ReturnAccumulator => return Some(accumulator),
        }
    }
}

fn value(operand: Operand, index: u32) -> u32 {
    match operand {
        Operand::Constant(value) => value,
        Operand::Index => index,
    }
}

fn load(octets: &[u8], width: Width, offset: u64) -> Option<u32> {
    let start = usize::try_from(offset).ok()?;
    let loaded = octets.get(start..)?.get(..width.octets() as usize)?;
    Some(loaded.iter().fold(0, |value, octet| value << 8 | u32::from(*octet)))
}

fn arithmetic(operator: Operator, left: u32, right: u32) -> Option<u32> {
    Some(match operator {
        Operator::Add => left.wrapping_add(right),
        Operator::Subtract => left.wrapping_sub(right),
        Operator::Multiply => left.wrapping_mul(right),
        Operator::Divide => left.checked_div(right)?,
        Operator::Modulo => left.checked_rem(right)?,
        Operator::And => left & right,
        Operator::Or => left | right,
        Operator::ExclusiveOr => left ^ right,
        Operator::ShiftLeft => left.checked_shl(right).unwrap_or(0),
        Operator::ShiftRight => left.checked_shr(right).unwrap_or(0),
    })
}

fn holds(condition: Condition, left: u32, right: u32) -> bool {
    match condition {
        Condition::Equal => left == right,
        Condition::Greater => left > right,
        Condition::GreaterOrEqual => left >= right,
        Condition::AnySet => left & right != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCTETS: [u8; 6] = [0x45, 0x02, 0x03, 0x04, 0x05, 0x06];

    fn result(operations: &[Operation]) -> Option<u32> {
        let context = PacketContext { length: 1000, outgoing: true, interface: 7 };
        run(operations, &OCTETS, &context)
    }

    /// The accumulator after these.
    fn accumulator(operations: &[Operation]) -> Option<u32> {
        result(&[operations, &[Operation::ReturnAccumulator]].concat())
    }

    #[test]
    fn loads_are_in_network_order_and_end_with_the_packet() {
        use Operation::{Load, LoadHeaderLength, LoadIndexConstant, LoadIndirect, ToAccumulator};
        assert_eq!(accumulator(&[Load(Width::Word, 2)]), Some(0x0304_0506));
        assert_eq!(accumulator(&[Load(Width::Word, 3)]), None);
        assert_eq!(accumulator(&[Load(Width::Half, 4)]), Some(0x0506));
        assert_eq!(accumulator(&[Load(Width::Octet, 6)]), None);
        assert_eq!(accumulator(&[LoadIndexConstant(4), LoadIndirect(Width::Half, 0)]), Some(0x0506));
        assert_eq!(accumulator(&[LoadIndexConstant(4), LoadIndirect(Width::Half, u32::MAX)]), None);
        assert_eq!(accumulator(&[LoadHeaderLength(0), ToAccumulator]), Some(20));
        assert_eq!(accumulator(&[LoadHeaderLength(9), ToAccumulator]), None);
    }

    #[test]
    fn metadata_comes_from_the_context() {
        assert_eq!(accumulator(&[Operation::LoadLength]), Some(1000));
        assert_eq!(accumulator(&[Operation::LoadMetadata(Metadata::Direction)]), Some(OUTGOING));
        assert_eq!(accumulator(&[Operation::LoadMetadata(Metadata::Interface)]), Some(7));
    }

    #[test]
    fn arithmetic_wraps_and_divides_by_no_zero() {
        let of = |operator, left, right| {
            accumulator(&[
                Operation::LoadConstant(left),
                Operation::LoadIndexConstant(right),
                Operation::Arithmetic(operator, Operand::Index),
            ])
        };
        assert_eq!(of(Operator::Add, u32::MAX, 2), Some(1));
        assert_eq!(of(Operator::Subtract, 1, 2), Some(u32::MAX));
        assert_eq!(of(Operator::Multiply, 1 << 31, 2), Some(0));
        assert_eq!((of(Operator::Divide, 7, 2), of(Operator::Divide, 7, 0)), (Some(3), None));
        assert_eq!((of(Operator::Modulo, 7, 2), of(Operator::Modulo, 7, 0)), (Some(1), None));
        assert_eq!(
            (of(Operator::ShiftLeft, 1, 31), of(Operator::ShiftLeft, 1, 32)),
            (Some(1 << 31), Some(0))
        );
        assert_eq!((of(Operator::ShiftRight, 4, 2), of(Operator::ShiftRight, 4, 99)), (Some(1), Some(0)));
        assert_eq!(accumulator(&[Operation::LoadConstant(1), Operation::Negate]), Some(u32::MAX));
    }
}
