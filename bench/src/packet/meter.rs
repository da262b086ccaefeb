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

/// What the books said when they were closed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Closed {
    /// Totals.
    pub stats: KernelStats,
    /// Entries that were drained; of wide ones, that the totals speak of.
    pub entries: u64,
}

impl Closed {
    /// Entries in the flow table.
    pub fn in_table(&self) -> u64 {
        self.stats.slots.iter().sum()
    }

    /// Entries in the flow map behind it.
    pub fn in_map(&self) -> u64 {
        self.stats.inserted
    }
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
    /// A packet is missing in the books, was lost for a reason, or an entry was drained from nowhere.
    pub fn close(&mut self) -> Result<Closed> {
        let frozen = self.kernel.flip(Flip::NoWait)?;
        let mut stats = KernelStats::default();
        let mut entries = None;
        if self.kernel.width() == Width::Default {
            let drained = self.drain.take(&mut self.kernel, frozen, &TickClock::Nanos, |_| ())?;
            stats = drained.stats;
            entries = Some(drained.entries);
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
        let counted = stats.inserted + stats.slots.iter().sum::<u64>();
        let entries = entries.unwrap_or(counted);
        ensure!(entries == counted, "{counted} entries were made, {entries} drained");
        self.sent = 0;
        Ok(Closed { stats, entries })
    }
}
