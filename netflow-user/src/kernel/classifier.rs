//! The filter's program in the kernel: it stands where the meter would be attached and hands each packet on.
//!
//! In: a filter, and the meter's two ends for packets that match and packets that do not. Out: a loaded program
//! to attach. A tail call that failed would let a packet pass uncounted, so both ends are in the map before the
//! program is: the kernel refuses to take one there that the tail call could not reach (another program type, with
//! or without fragments).

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{MapData, ProgramArray},
    programs::{Program, ProgramError, ProgramFd},
};

use super::{KernelError, load};
use crate::filter::{FILTERED, Filter, Hook, MATCHED, object};

/// Where packets go from a filter.
pub(super) struct Ends<'a> {
    /// Those that match.
    pub(super) matched: &'a ProgramFd,
    /// The others.
    pub(super) filtered: &'a ProgramFd,
}

impl<'a> Ends<'a> {
    /// These programs of the object, which are loaded.
    pub(super) fn of(
        ebpf: &'a Ebpf,
        matched: &'static str,
        filtered: &'static str,
    ) -> Result<Self, KernelError> {
        let descriptor = |name| {
            let program = ebpf.program(name).ok_or(KernelError::Missing { name })?;
            program.fd().map_err(|source| KernelError::Refused { name, source })
        };
        Ok(Self { matched: descriptor(matched)?, filtered: descriptor(filtered)? })
    }
}

/// A loaded filter.
pub(super) struct Classifier {
    ebpf: Ebpf,
    /// The kernel empties it when the last descriptor of it is closed.
    _next: ProgramArray<MapData>,
}

impl Classifier {
    /// Loads the filter for a hook.
    pub(super) fn load(filter: &Filter, hook: Hook, ends: &Ends<'_>) -> Result<Self, KernelError> {
        let object = filter.object(hook)?;
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(&object)
            .map_err(|source| KernelError::Object { source })?;
        let mut next: ProgramArray<MapData> = load::take(&mut ebpf, object::MAP)?;
        for (index, program) in [(MATCHED, ends.matched), (FILTERED, ends.filtered)] {
            next.set(index.cast_unsigned(), program, 0)
                .map_err(|source| KernelError::Map { name: object::MAP, source })?;
        }
        let mut classifier = Self { ebpf, _next: next };
        let loaded = match classifier.program() {
            Some(Program::Xdp(program)) => program.load(),
            Some(Program::SchedClassifier(program)) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        match loaded {
            Ok(()) => Ok(classifier),
            Err(source) => Err(KernelError::Refused { name: object::PROGRAM, source }),
        }
    }

    /// The program to attach.
    pub(super) fn program(&mut self) -> Option<&mut Program> {
        self.ebpf.program_mut(object::PROGRAM)
    }

    /// How many instructions the verifier walked through (kernel 5.16).
    pub(super) fn verified_instructions(&self) -> Result<Option<u32>, ProgramError> {
        let program = self.ebpf.program(object::PROGRAM).ok_or(ProgramError::NotLoaded)?;
        Ok(program.info()?.verified_instruction_count())
    }
}
