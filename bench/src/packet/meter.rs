//! The agent's own program in test runs, with books that must close.

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use netflow_common::{FlowCounters, FlowKey, KernelStats};
use netflow_user::{
    drain::{Drain, Place, TickClock},
    kernel::{EntryPoint, Flip, Kernel, LoadOptions, Width},
};

/// The loaded meter.
pub struct Meter {
    kernel: Kernel,
    drain: Drain<(FlowKey, FlowCounters)>,
    /// Packets since the last time that the books were closed.
    sent: u64,
}

impl Meter {
    /// Loads it.
    ///
    /// # Errors
    /// As the agent's.
    pub fn load(options: &LoadOptions, entry: EntryPoint) -> Result<Self> {
        let mut kernel = Kernel::load(options)?;
        kernel.test(entry)?;
        Ok(Self { kernel, drain: Drain::new(Place::default()), sent: 0 })
    }

    /// Packets go to this entry point from now on.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn stand_at(&mut self, entry: EntryPoint) -> Result<()> {
        Ok(self.kernel.test(entry)?)
    }

    /// What is to be called.
    ///
    /// # Errors
    /// It is not loaded.
    pub fn program(&mut self) -> Result<ProgramFd> {
        Ok(self.kernel.tested_program()?.try_clone()?)
    }

    /// So many packets were sent there.
    pub fn sent(&mut self, packets: u32) {
        self.sent += u64::from(packets);
    }

    /// Empties the maps. The flip does not wait: a test run has ended when its system call returns.
    ///
    /// # Errors
    /// A packet is missing in the books, or was lost for a reason.
    pub fn close(&mut self) -> Result<KernelStats> {
        let frozen = self.kernel.flip(Flip::NoWait)?;
        let mut stats = KernelStats::default();
        if self.kernel.width() == Width::Default {
            let drained = self.drain.take(&mut self.kernel, frozen, &TickClock::Nanos, |_| ())?;
            stats = drained.stats;
            let skipped: u64 = stats.skipped_packets.iter().sum();
            ensure!(
                drained.packets + skipped == self.sent,
                "{} packets sent, {} in the maps and {skipped} skipped",
                self.sent,
                drained.packets
            );
        } else {
            for of_cpu in self.kernel.take_stats(frozen).context("no totals")? {
                stats.add(&of_cpu);
            }
        }
        let lost: u64 = stats.lost_packets.iter().sum();
        ensure!(
            stats.seen_packets == self.sent && lost == 0,
            "{} packets sent, {} seen, {lost} lost",
            self.sent,
            stats.seen_packets
        );
        self.sent = 0;
        Ok(stats)
    }
}
