//! What the running kernel says of every program of the object, also of those that this meter does not use: a test
//! of kernels, not of packets.

use std::fmt;

use aya::programs::{Program, ProgramError};
use netflow_common::names;

use super::{Kernel, KernelVersion};

/// One program.
#[derive(Debug)]
pub struct Verdict {
    /// Its name in the object.
    pub program: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a program.
#[derive(Debug)]
pub enum Outcome {
    /// It is loaded. The verifier walked through so many instructions (kernel 5.16 and newer tell it).
    Loaded(Option<u32>),
    /// Not tried: the kernel has no such programs before this version.
    Needs(KernelVersion),
    /// The kernel refused it, with the verifier's log.
    Refused(ProgramError),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.program;
        match &self.outcome {
            Outcome::Loaded(Some(count)) => write!(f, "{name} {count}"),
            Outcome::Loaded(None) => write!(f, "{name}"),
            Outcome::Needs(version) => write!(f, "{name} needs {version}"),
            Outcome::Refused(error) => write!(f, "{name} refused: {error}"),
        }
    }
}

impl Kernel {
    /// Loads every program that is not loaded yet, with this meter's settings; the verdicts come by name. None where
    /// another process has the programs.
    pub fn try_every_program(&mut self) -> Vec<Verdict> {
        let running = KernelVersion::running().unwrap_or(KernelVersion::OLDEST);
        let mut verdicts = Vec::new();
        let Some(loader) = self.loader() else { return verdicts };
        for (name, program) in loader.ebpf.programs_mut() {
            let needs = first_kernel(name);
            let outcome = if running < needs {
                Outcome::Needs(needs)
            } else {
                match load(program).and_then(|()| program.info()) {
                    Ok(info) => Outcome::Loaded(info.verified_instruction_count()),
                    Err(error) => Outcome::Refused(error),
                }
            };
            verdicts.push(Verdict { program: name.to_owned(), outcome });
        }
        verdicts.sort_by(|one, other| one.program.cmp(&other.program));
        verdicts
    }
}

/// The first kernel that knows programs of this kind; names begin alike.
fn first_kernel(name: &str) -> KernelVersion {
    if name.starts_with(names::PROGRAM_XDP_FRAGS) {
        KernelVersion::XDP_FRAGMENTS
    } else {
        KernelVersion::OLDEST
    }
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    let outcome = match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    match outcome {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_for_several_buffers_need_a_newer_kernel() {
        assert_eq!(first_kernel(names::PROGRAM_XDP_FRAGS), KernelVersion::XDP_FRAGMENTS);
        assert_eq!(first_kernel(names::PROGRAM_XDP_FRAGS_WIDE), KernelVersion::XDP_FRAGMENTS);
        assert_eq!(first_kernel(names::PROGRAM_XDP_WIDE), KernelVersion::OLDEST);
        assert_eq!(first_kernel(names::PROGRAM_CLOCK), KernelVersion::OLDEST);
    }

    #[test]
    fn a_verdict_is_one_line_with_the_verifiers_count_where_it_is_told() {
        let verdict = |outcome| Verdict { program: "x".to_owned(), outcome }.to_string();
        assert_eq!(verdict(Outcome::Loaded(Some(7))), "x 7");
        assert_eq!(verdict(Outcome::Loaded(None)), "x");
        assert_eq!(verdict(Outcome::Needs(KernelVersion::XDP_FRAGMENTS)), "x needs 5.18");
    }
}
