//! A classic program in the kernel's BPF, as a program that tail-calls the meter.
//!
//! In: a checked classic program and the kind of program wanted. Out: instructions. A packet that matches is
//! handed to program 0 of the map, one that does not to program 1, which counts it as filtered.
//!
//! Registers: R6 the context, R7 the accumulator, R8 the index, R9 the beginning of the packet's linear part. Each load
//! compares with the end of that part, and asks a helper for what lies behind it.
//!
//! On TC a VLAN tag may stand beside the packet. Then a second copy of the filter runs, for which it stands where it
//! was on the wire: loads behind the addresses reach four octets less far, and what touches the tag is read from a
//! copy on the stack.

mod load;

use std::collections::BTreeSet;

use super::{
    FilterError,
    assembler::{Assembler, Label, Register, Source, When},
    classic::{ClassicProgram, Metadata, OUTGOING, Operand, Operation, Operator, Width},
};

/// What the program is attached to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// XDP. With fragments: frames of several buffers (kernel 5.18).
    Xdp {
        /// Whether the program takes them.
        fragments: bool,
    },
    /// TC, a clsact hook or TCX.
    Tc {
        /// Whether the packets leave.
        outgoing: bool,
        /// Whether they begin with an Ethernet header, which a tag may be missing from.
        ethernet: bool,
    },
}

/// Index of the meter in the map: for packets that match.
pub const MATCHED: i32 = 0;
/// Index of the program that counts packets as filtered.
pub const FILTERED: i32 = 1;

impl Hook {
    /// Where the context holds the beginning of the linear part.
    const fn data(self) -> i16 {
        match self {
            Self::Xdp { .. } => 0,
            Self::Tc { .. } => 76,
        }
    }

    /// And its end.
    const fn data_end(self) -> i16 {
        self.data() + 4
    }

    /// And the interface.
    const fn interface(self) -> i16 {
        match self {
            Self::Xdp { .. } => 12,
            Self::Tc { .. } => 40,
        }
    }

    /// What the program would return if a tail call could fail: XDP_PASS, TC_ACT_UNSPEC.
    const fn pass(self) -> i32 {
        match self {
            Self::Xdp { .. } => 2,
            Self::Tc { .. } => -1,
        }
    }
}

/// Offsets in `struct __sk_buff`.
mod skb {
    pub(super) const LEN: i16 = 0;
    pub(super) const VLAN_PRESENT: i16 = 20;
    pub(super) const VLAN_TCI: i16 = 24;
    pub(super) const VLAN_PROTO: i16 = 28;
}

const R0: Register = Register(0);
const R1: Register = Register(1);
const R2: Register = Register(2);
const R3: Register = Register(3);
const R4: Register = Register(4);
const CONTEXT: Register = Register(6);
const ACCUMULATOR: Register = Register(7);
const INDEX: Register = Register(8);
const PACKET: Register = Register(9);
const STACK: Register = Register(10);

/// `bpf_tail_call` (`linux/bpf.h`).
const TAIL_CALL: i32 = 12;

// Places on the stack.
/// Below it, what loads use.
const LOADS: i16 = -24;
const MEMORY: i16 = LOADS - 4 * super::classic::MEMORY_WORDS as i16;

/// A translated program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The instructions' octets, eight each.
    pub octets: Vec<u8>,
    /// The instructions that are to get the map's address.
    pub map_addresses: Vec<usize>,
}

/// Translates a program.
///
/// # Errors
/// It becomes longer than its jumps can reach.
pub fn translate(program: &ClassicProgram, hook: Hook) -> Result<Translation, FilterError> {
    let mut assembler = Assembler::default();
    let (matched, filtered) = (assembler.label(), assembler.label());
    let mut translator =
        Translator { assembler, hook, tag_apart: false, matched, filtered, map_addresses: Vec::new() };
    let operations = program.operations();
    translator.write(operations);
    let Translator { assembler, map_addresses, .. } = translator;
    match assembler.finish() {
        Some(octets) => Ok(Translation { octets, map_addresses }),
        None => Err(FilterError::TooLong { instructions: operations.len() }),
    }
}

struct Translator {
    assembler: Assembler,
    hook: Hook,
    /// The copy for packets with a tag beside them is being written.
    tag_apart: bool,
    matched: Label,
    filtered: Label,
    map_addresses: Vec<usize>,
}

impl Translator {
    fn write(&mut self, operations: &[Operation]) {
        let asm = &mut self.assembler;
        asm.copy(CONTEXT, Source::Register(R1));
        asm.load(Width::Word, PACKET, CONTEXT, self.hook.data());
        asm.copy_word(ACCUMULATOR, Source::Constant(0));
        asm.copy_word(INDEX, Source::Constant(0));
        if let Some(highest) = operations.iter().filter_map(memory_slot).max() {
            for slot in 0..=highest {
                asm.store(Width::Word, STACK, memory(slot), INDEX);
            }
        }
        let tagged = asm.label();
        let tags_stand_apart = matches!(self.hook, Hook::Tc { ethernet: true, .. });
        if tags_stand_apart {
            asm.load(Width::Word, R1, CONTEXT, skb::VLAN_PRESENT);
            asm.jump_if(When::NotEqual, R1, Source::Constant(0), tagged);
        }
        self.body(operations);
        if tags_stand_apart {
            self.assembler.place(tagged);
            self.tag_apart = true;
            self.window();
            self.body(operations);
        }
        self.tail(self.matched, MATCHED);
        self.tail(self.filtered, FILTERED);
    }

    /// The filter itself, without the steps to which nothing leads: the verifier refuses such.
    fn body(&mut self, operations: &[Operation]) {
        let reachable = reachable(operations);
        let labels: Vec<Label> = operations.iter().map(|_| self.assembler.label()).collect();
        for (index, operation) in operations.iter().enumerate() {
            if !reachable.contains(&index) {
                continue;
            }
            if let Some(label) = labels.get(index) {
                self.assembler.place(*label);
            }
            self.operation(index, *operation, &labels);
        }
    }

    fn operation(&mut self, index: usize, operation: Operation, labels: &[Label]) {
        let (filtered, matched) = (self.filtered, self.matched);
        let asm = &mut self.assembler;
        match operation {
            Operation::Load(width, offset) => self.load(width, offset, ACCUMULATOR),
            Operation::LoadIndirect(width, offset) => self.load_indirect(width, offset),
            Operation::LoadHeaderLength(offset) => {
                self.load(Width::Octet, offset, INDEX);
                self.assembler.arithmetic(Operator::And, INDEX, Source::Constant(0xf));
                self.assembler.arithmetic(Operator::ShiftLeft, INDEX, Source::Constant(2));
            }
            Operation::LoadMetadata(Metadata::Direction) => {
                let outgoing = matches!(self.hook, Hook::Tc { outgoing: true, .. });
                let value = if outgoing { OUTGOING.cast_signed() } else { 0 };
                asm.copy_word(ACCUMULATOR, Source::Constant(value));
            }
            Operation::LoadMetadata(Metadata::Interface) => {
                asm.load(Width::Word, ACCUMULATOR, CONTEXT, self.hook.interface());
            }
            Operation::LoadLength => self.load_length(ACCUMULATOR),
            Operation::LoadIndexLength => self.load_length(INDEX),
            Operation::LoadConstant(value) => {
                asm.copy_word(ACCUMULATOR, Source::Constant(value.cast_signed()))
            }
            Operation::LoadIndexConstant(value) => {
                asm.copy_word(INDEX, Source::Constant(value.cast_signed()))
            }
            Operation::LoadMemory(slot) => asm.load(Width::Word, ACCUMULATOR, STACK, memory(slot)),
            Operation::LoadIndexMemory(slot) => asm.load(Width::Word, INDEX, STACK, memory(slot)),
            Operation::Store(slot) => asm.store(Width::Word, STACK, memory(slot), ACCUMULATOR),
            Operation::StoreIndex(slot) => asm.store(Width::Word, STACK, memory(slot), INDEX),
            Operation::Arithmetic(operator, operand) => self.arithmetic(operator, operand),
            Operation::Negate => asm.negate(ACCUMULATOR),
            Operation::Jump(target) => self.jump(index, target, labels),
            Operation::Branch(_, _, on_true, on_false) if on_true == on_false => {
                self.jump(index, on_true, labels);
            }
            Operation::Branch(condition, operand, on_true, on_false) => {
                let label = |target: usize| labels.get(target).copied().unwrap_or(filtered);
                match When::opposite(condition) {
                    Some(opposite) if on_true == index + 1 => {
                        asm.jump_if_word(opposite, ACCUMULATOR, source(operand), label(on_false));
                    }
                    _ => {
                        asm.jump_if_word(When::of(condition), ACCUMULATOR, source(operand), label(on_true));
                        self.jump(index, on_false, labels);
                    }
                }
            }
            Operation::ToIndex => asm.copy_word(INDEX, Source::Register(ACCUMULATOR)),
            Operation::ToAccumulator => asm.copy_word(ACCUMULATOR, Source::Register(INDEX)),
            Operation::Return(0) => asm.jump(filtered),
            Operation::Return(_) => asm.jump(matched),
            Operation::ReturnAccumulator => {
                asm.jump_if_word(When::Equal, ACCUMULATOR, Source::Constant(0), filtered);
                asm.jump(matched);
            }
        }
    }

    fn jump(&mut self, index: usize, target: usize, labels: &[Label]) {
        if target != index + 1 {
            self.assembler.jump(labels.get(target).copied().unwrap_or(self.filtered));
        }
    }

    fn arithmetic(&mut self, operator: Operator, operand: Operand) {
        let asm = &mut self.assembler;
        match (operator, operand) {
            (Operator::ShiftLeft | Operator::ShiftRight, Operand::Constant(32..)) => {
                asm.copy_word(ACCUMULATOR, Source::Constant(0));
            }
            (Operator::ShiftLeft | Operator::ShiftRight, Operand::Index) => {
                let (zero, done) = (asm.label(), asm.label());
                asm.jump_if_word(When::GreaterOrEqual, INDEX, Source::Constant(32), zero);
                asm.arithmetic(operator, ACCUMULATOR, Source::Register(INDEX));
                asm.jump(done);
                asm.place(zero);
                asm.copy_word(ACCUMULATOR, Source::Constant(0));
                asm.place(done);
            }
            (Operator::Divide | Operator::Modulo, Operand::Index) => {
                asm.jump_if_word(When::Equal, INDEX, Source::Constant(0), self.filtered);
                asm.arithmetic(operator, ACCUMULATOR, Source::Register(INDEX));
            }
            _ => asm.arithmetic(operator, ACCUMULATOR, source(operand)),
        }
    }

    /// The end: the packet is handed on. A tail call that succeeds does not return.
    fn tail(&mut self, label: Label, program: i32) {
        let asm = &mut self.assembler;
        if !asm.is_used(label) {
            return;
        }
        asm.place(label);
        asm.copy(R1, Source::Register(CONTEXT));
        self.map_addresses.push(asm.instructions());
        asm.map_address(R2);
        asm.copy(R3, Source::Constant(program));
        asm.call(TAIL_CALL);
        asm.copy(R0, Source::Constant(self.hook.pass()));
        asm.exit();
    }
}

fn source(operand: Operand) -> Source {
    match operand {
        Operand::Constant(value) => Source::Constant(value.cast_signed()),
        Operand::Index => Source::Register(INDEX),
    }
}

fn memory_slot(operation: &Operation) -> Option<u8> {
    match *operation {
        Operation::LoadMemory(slot)
        | Operation::LoadIndexMemory(slot)
        | Operation::Store(slot)
        | Operation::StoreIndex(slot) => Some(slot),
        _ => None,
    }
}

const fn memory(slot: u8) -> i16 {
    MEMORY + 4 * slot as i16
}

/// The steps that can be reached from the first.
fn reachable(operations: &[Operation]) -> BTreeSet<usize> {
    let mut reachable = BTreeSet::from([0]);
    // Jumps lead forward only: one pass is enough.
    for (index, operation) in operations.iter().enumerate() {
        if reachable.contains(&index) {
            match *operation {
                Operation::Jump(target) => reachable.extend([target]),
                Operation::Branch(_, _, on_true, on_false) => reachable.extend([on_true, on_false]),
                Operation::Return(_) | Operation::ReturnAccumulator => {}
                _ => reachable.extend([index + 1]),
            }
        }
    }
    reachable
}
