//! What a process and its children have taken of processors and memory, as the kernel counts it.

use std::{
    collections::HashSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::{
    param::clock_ticks_per_second,
    process::{Pid, WaitOptions, set_child_subreaper, waitpid},
};

/// Times of processes are told in hundredths of a second.
const STEP: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(10);
/// How long orphans of an exporter may take to end behind it.
const ORPHANS: u32 = 500;

/// A process and all that descend from it.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    root: u32,
    pids: Vec<u32>,
}

impl ProcessTree {
    /// As it is now.
    pub fn of(root: u32) -> Self {
        let parents: Vec<(u32, u32)> = processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let mut pids = vec![root];
        let mut seen = 0;
        while let Some(&pid) = pids.get(seen) {
            pids.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(pid, _)| *pid));
            seen += 1;
        }
        Self { root, pids }
    }

    /// User and system time until now, to a hundredth of a second.
    pub fn processor(&self) -> Duration {
        let ticks: u64 = self.pids.iter().filter_map(|pid| ticks(*pid)).sum();
        Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
    }

    /// Octets of memory that its processes had at most, each, added up.
    pub fn peak_memory(&self) -> u64 {
        self.pids.iter().filter_map(|pid| kibibytes(&read(*pid, "status")?, "VmHWM:")).sum::<u64>() * 1024
    }

    /// Octets of the BPF maps that its processes hold, as the kernel states them.
    pub fn map_memory(&self) -> u64 {
        let mut maps = HashSet::new();
        for pid in &self.pids {
            for file in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
                let text = fs::read_to_string(file.path()).unwrap_or_default();
                let field = |name: &str| {
                    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
                };
                maps.extend(field("map_id:").zip(field("memlock:")));
            }
        }
        maps.iter().map(|(_, octets)| octets).sum()
    }

    /// Waits until it takes less than a tenth of a processor for so long, at most until a limit.
    pub fn wait_until_idle(&self, quiet: Duration, limit: Duration) {
        let deadline = Instant::now() + limit;
        let (mut before, mut since) = (self.processor(), Instant::now());
        while since.elapsed() < quiet && Instant::now() < deadline {
            thread::sleep(STEP);
            let now = self.processor();
            if now.saturating_sub(before) > STEP / 10 {
                since = Instant::now();
            }
            before = now;
        }
    }

    /// Ends it by `stop`, which waits for the first of its processes; returns what that does, all processor time that
    /// the tree has had, and the peak of its memory. No other child of this process may be waited for meanwhile.
    ///
    /// # Errors
    /// Those of `stop`.
    pub fn end<T>(&self, stop: impl FnOnce() -> Result<T>) -> Result<(T, Duration, u64)> {
        let _ = set_child_subreaper(Pid::from_raw(1));
        let before = children()?;
        let has_ended = AtomicBool::new(false);
        let (stopped, peak) = thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut peak = 0;
                while !has_ended.load(Ordering::Relaxed) {
                    peak = peak.max(self.peak_memory());
                    thread::sleep(POLL);
                }
                peak
            });
            let stopped = stop();
            has_ended.store(true, Ordering::Relaxed);
            (stopped, watch.join().unwrap_or(0))
        });
        self.reap();
        Ok((stopped?, children()?.saturating_sub(before), peak))
    }

    /// Waits for descendants that have become this process's children.
    fn reap(&self) {
        for pid in self.pids.iter().filter(|pid| **pid != self.root) {
            let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) else { continue };
            for _ in 0..ORPHANS {
                match waitpid(Some(pid), WaitOptions::NOHANG) {
                    Ok(None) => thread::sleep(POLL),
                    // Waited for now, or by its own parent.
                    Ok(Some(_)) | Err(_) => break,
                }
            }
        }
    }
}

/// The time that a kernel thread has had, by its name; none where it is not shown here.
pub fn kernel_thread(name: &str) -> Duration {
    let pid = processes().find(|pid| read(*pid, "comm").is_some_and(|comm| comm.trim() == name));
    let nanos = pid.and_then(|pid| read(pid, "schedstat")?.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Of all children that have been waited for.
fn children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot read the usage of children")?;
    let times = [usage.user_time(), usage.system_time()];
    Ok(times
        .iter()
        .map(|time| {
            Duration::from_secs(time.tv_sec().unsigned_abs())
                + Duration::from_micros(time.tv_usec().unsigned_abs())
        })
        .sum())
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn read(pid: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

/// A field of `/proc/PID/stat`, by its number in proc(5).
fn stat(pid: u32, field: usize) -> Option<u64> {
    // Fields are apart by spaces behind the name, which may hold any.
    let text = read(pid, "stat")?;
    text.rsplit_once(") ")?.1.split(' ').nth(field - 3)?.parse().ok()
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid, 4)?.try_into().ok()
}

fn ticks(pid: u32) -> Option<u64> {
    Some(stat(pid, 14)? + stat(pid, 15)?)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use ::tests::process::{COMMAND_TIMEOUT, Process, command};

    #[test]
    fn the_time_of_a_child_and_of_its_child_is_known_when_they_have_ended() {
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let shell = command("sh", ["-c", &format!("(echo begun >&2; sleep 1; {busy}) & wait")]);
        let mut process = Process::spawn(shell).unwrap();
        process.wait_for_stderr("begun", COMMAND_TIMEOUT).unwrap();
        let tree = ProcessTree::of(process.id());
        assert!(tree.pids.len() >= 2, "{tree:?}");
        assert!(tree.peak_memory() > 100_000);
        let ((), time, peak) = tree.end(|| process.finish(COMMAND_TIMEOUT).map(drop)).unwrap();
        assert!(time > Duration::ZERO && peak > 100_000, "{time:?} {peak}");
    }

    #[test]
    fn fields_of_a_process_are_found_whatever_its_name() {
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
        assert_eq!(kibibytes("Name:\tx\nVmHWM:\t    1234 kB\n", "VmHWM:"), Some(1234));
    }
}
