//! One case: the meter behind the harness, and nothing behind it, in turns.

use anyhow::{Context as _, Result};
use aya::programs::ProgramFd;

use super::vary::{Choice, Hook, Vary};
use crate::{Cell, Measurement, Unit};

/// What came out of a case, nanoseconds per packet.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The harness with the program that does nothing.
    pub nothing: Measurement,
    /// The harness with the program.
    pub program: Measurement,
    /// What the program adds, round by round.
    pub added: Measurement,
}

impl Compared {
    /// Both raw values and the difference.
    pub fn cells(&self) -> [Cell; 3] {
        [self.nothing.clone().into(), self.program.clone().into(), self.added.clone().into()]
    }
}

/// How a case is run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Where the program stands.
    pub hook: Hook,
    /// What is varied.
    pub frame: &'a [u8],
    /// Which flows.
    pub choice: Choice,
    /// Packets of each round.
    pub packets: u32,
    /// Rounds.
    pub rounds: usize,
}

impl Vary {
    /// Sends one packet of each of so many flows to a program, from the first flow on.
    ///
    /// # Errors
    /// They do not get there.
    pub fn fill(&mut self, program: &ProgramFd, run: &Run<'_>) -> Result<()> {
        self.call(run.hook, program)?;
        self.start(0)?;
        let packets = u32::try_from(run.choice.flows)?;
        self.run(run.hook, run.frame, Choice { flows: 1, new: 1.0 }, packets)?;
        Ok(())
    }

    /// Runs a case whose flows are there. `sent` is told of each run how many packets went to the program.
    ///
    /// # Errors
    /// They do not get there, or `sent` fails.
    pub fn compare(
        &mut self,
        program: &ProgramFd,
        run: &Run<'_>,
        mut sent: impl FnMut(u32) -> Result<()>,
    ) -> Result<Compared> {
        let Run { hook, frame, choice, packets, rounds } = *run;
        let (mut nothing, mut program_nanos) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            self.call_nothing(hook)?;
            nothing.push(self.run(hook, frame, choice, packets)?);
            self.call(hook, program)?;
            program_nanos.push(self.run(hook, frame, choice, packets)?);
            sent(packets)?;
        }
        let of = |samples: Vec<f64>| Measurement::of(Unit::Nanoseconds, samples).context("no rounds");
        let (nothing, program) = (of(nothing)?, of(program_nanos)?);
        let added = program.minus(&nothing).context("no rounds")?;
        Ok(Compared { nothing, program, added })
    }
}
