//! The half of the meter that needs privileges: programs, links and what is compiled into both.
//!
//! In: what was decided. Out: descriptors, by which the other half ([`super::Kernel`]) works without privileges.
//! Nothing here reads a packet, an entry of a map or a peer's data.

use std::sync::Arc;

use aya::{
    Ebpf,
    programs::{Program, ProgramError, ProgramFd},
};
use aya_log::EbpfLogger;
use log::Log;

use super::{
    EntryPoint, KernelError, Width,
    attach::WithoutLink,
    classifier::{Classifier, Ends},
    entry_point,
};
use crate::filter::{Filter, object};

/// Loaded programs. Their links are who asked for them's; dropping it detaches what has none.
pub(super) struct Loader {
    /// What is attached without a link; it goes before the programs.
    pub(super) without_link: Vec<WithoutLink>,
    pub(super) ebpf: Ebpf,
    pub(super) width: Width,
    /// The XDP program of this kernel.
    pub(super) xdp: EntryPoint,
    /// What is to stand before the meter.
    pub(super) filter: Option<Arc<Filter>>,
    /// Where it stands.
    pub(super) classifiers: Vec<(EntryPoint, Classifier)>,
    /// Whether TC programs are attached by links where the kernel lets them.
    pub(super) tcx: bool,
    /// The program that test runs go to.
    pub(super) tested: EntryPoint,
    /// What the programs tell of packets that they refuse, where that was asked for.
    pub(super) log: Option<EbpfLogger<&'static dyn Log>>,
}

impl Loader {
    /// Loads what packets come to there: the meter, and the filter before it.
    pub(super) fn load_at(&mut self, entry: EntryPoint) -> Result<(), KernelError> {
        let meter = entry.name(self.width);
        entry_point::load(&mut self.ebpf, meter)?;
        let Some(filter) = &self.filter else { return Ok(()) };
        if !self.classifiers.iter().any(|(at, _)| *at == entry) {
            entry_point::load(&mut self.ebpf, entry.filtered())?;
            let ends = Ends::of(&self.ebpf, meter, entry.filtered())?;
            self.classifiers.push((entry, Classifier::load(filter, entry.hook(), &ends)?));
        }
        Ok(())
    }

    /// What packets come to there, once it is loaded: the filter, or the meter where there is none.
    pub(super) fn program_at(&mut self, entry: EntryPoint) -> Option<&mut Program> {
        let name = entry.name(self.width);
        match self.classifiers.iter_mut().find(|(at, _)| *at == entry) {
            Some((_, classifier)) => classifier.program(),
            None => self.ebpf.program_mut(name),
        }
    }

    /// Its descriptor.
    pub(super) fn descriptor_at(&mut self, entry: EntryPoint) -> Result<ProgramFd, ProgramError> {
        let descriptor = self.program_at(entry).ok_or(ProgramError::NotLoaded)?.fd()?.try_clone();
        descriptor.map_err(ProgramError::IOError)
    }

    /// The id of the XDP program that packets come to, as netlink shows it on an interface.
    pub(super) fn xdp_program_id(&mut self) -> Option<u32> {
        self.program_at(self.xdp)?.info().ok().map(|info| info.id())
    }

    /// How many instructions the verifier walked through for each loaded program.
    pub(super) fn verified_instructions(&self) -> Result<Vec<(String, Option<u32>)>, ProgramError> {
        let mut counts = Vec::new();
        for (name, program) in self.ebpf.programs() {
            match program.info() {
                Ok(info) => counts.push((name.to_owned(), info.verified_instruction_count())),
                Err(ProgramError::NotLoaded) => {}
                Err(error) => return Err(error),
            }
        }
        for (entry, classifier) in &self.classifiers {
            let name = format!("{} before {}", object::PROGRAM, entry.name(self.width));
            counts.push((name, classifier.verified_instructions()?));
        }
        Ok(counts)
    }

    /// Passes on what the programs have told.
    pub(super) fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }
}
