//! The machine that a run was made on, and how quiet it was: without both, numbers say nothing.

use std::{
    fs,
    hint::black_box,
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::{Measurement, Unit};

/// The machine, and what is measured on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// Model of the first CPU.
    pub cpu: String,
    /// CPUs online.
    pub cpus: usize,
    /// Whether it says that it is a virtual one.
    pub is_virtual: bool,
    /// Octets of memory.
    pub memory: u64,
    /// The commit, with `+` where the tree differs from it; empty where there is no git.
    pub commit: String,
    /// When the run began, seconds since 1970.
    pub unix_seconds: u64,
    /// The same as a date, UTC.
    pub date: String,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let info = rustix::system::sysinfo();
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            is_virtual: field(&cpuinfo, "flags").is_some_and(|flags| flags.contains(" hypervisor")),
            memory: info.totalram * u64::from(info.mem_unit),
            commit: commit(),
            unix_seconds,
            date: date(unix_seconds),
        }
    }
}

/// How quiet the machine was: the same piece of arithmetic over and over, and what others took of the CPUs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Noise {
    /// The same 10 ms or so of arithmetic, microseconds each, half of them before the run and half behind it.
    pub loop_microseconds: Option<Measurement>,
    /// Load average of a minute before the run.
    pub load_before: String,
    /// Share of the CPUs' time during the run that the hypervisor gave to other machines.
    pub steal_percent: f64,
}

/// Begun before a run, ended behind it.
pub struct NoiseWatch {
    samples: Vec<f64>,
    load_before: String,
    times: CpuTimes,
}

/// Pieces of arithmetic before the run, and again behind it.
const PIECES: usize = 20;

impl NoiseWatch {
    /// Before the run.
    pub fn begin() -> Self {
        let load_before = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
        Self { samples: pieces(), load_before, times: CpuTimes::now() }
    }

    /// Behind it.
    pub fn end(mut self) -> Noise {
        let now = CpuTimes::now();
        let (all, steal) = (now.all - self.times.all, now.steal - self.times.steal);
        self.samples.extend(pieces());
        Noise {
            loop_microseconds: Measurement::of(Unit::Microseconds, self.samples),
            load_before: self.load_before,
            steal_percent: if all == 0 { 0.0 } else { 100.0 * steal as f64 / all as f64 },
        }
    }
}

fn pieces() -> Vec<f64> {
    (0..PIECES)
        .map(|_| {
            let begin = Instant::now();
            let mut value = black_box(1_u64);
            for _ in 0..5_000_000 {
                value ^= value << 13;
                value ^= value >> 7;
                value ^= value << 17;
            }
            black_box(value);
            begin.elapsed().as_secs_f64() * 1e6
        })
        .collect()
}

/// Ticks of all CPUs since the start, by `/proc/stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct CpuTimes {
    all: u64,
    steal: u64,
}

impl CpuTimes {
    fn now() -> Self {
        Self::parse(&read("/proc/stat"))
    }

    /// user nice system idle iowait irq softirq steal, then what is in user already.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let times: Vec<u64> = line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
        Self { all: times.iter().take(8).sum(), steal: times.get(7).copied().unwrap_or(0) }
    }
}

/// Keeps the calling thread on one CPU until dropped.
pub struct Pinned(Option<CpuSet>);

impl Pinned {
    /// The first CPU of the machine is 0; where there is no such CPU, nothing changes.
    pub fn to(cpu: usize) -> Self {
        let before = sched_getaffinity(None).ok();
        let mut one = CpuSet::new();
        one.set(cpu);
        Self(sched_setaffinity(None, &one).ok().and(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = sched_setaffinity(None, before);
        }
    }
}

/// The CPU that measuring threads are on: the last one, since interrupts prefer the first.
pub fn last_cpu() -> usize {
    std::thread::available_parallelism().map_or(0, |cpus| cpus.get() - 1)
}

/// One above the highest CPU number that is online.
pub fn cpus_up_to_highest() -> u32 {
    let online = read("/sys/devices/system/cpu/online");
    let highest = online.trim().rsplit(['-', ',']).next().and_then(|number| number.parse::<u32>().ok());
    highest.map_or(1, |highest| highest + 1)
}

/// CPUs that the kernel has made room for: what a per-CPU map has values for.
pub fn possible_cpus() -> usize {
    let possible = read("/sys/devices/system/cpu/possible");
    let highest = possible.trim().rsplit(['-', ',']).next().and_then(|number| number.parse::<usize>().ok());
    highest.map_or(1, |highest| highest + 1)
}

/// Whether so many octets of memory are free, or could be.
pub fn has_memory(octets: u64) -> bool {
    let meminfo = read("/proc/meminfo");
    let available =
        field(&meminfo, "MemAvailable").and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
    available.is_none_or(|kibibytes| kibibytes * 1024 > octets)
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// The value behind `name :` in a file like `/proc/cpuinfo`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        // The bench runs as root in a checkout of somebody else's.
        let output = Command::new("git").args(["-c", "safe.directory=*"]).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return String::new() };
    // What the bench itself writes does not count.
    let changes = git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":!bench/*.md",
        ":!bench/*.json",
        ":!bench/*.svg",
        ":!README.md",
    ]);
    if changes.is_some_and(|changes| changes.is_empty()) { commit } else { format!("{commit}+") }
}

/// Year, month, day, hour and minute, UTC.
fn date(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02} {:02}:{:02} UTC", day + 1, seconds / 3600, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(date(951_868_800), "2000-03-01 00:00 UTC");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59 UTC");
    }

    #[test]
    fn stolen_time_is_the_eighth_column() {
        let times = CpuTimes::parse("cpu  10 1 20 300 5 0 7 40 6 0\ncpu0 1 2 3\n");
        assert_eq!(times, CpuTimes { all: 383, steal: 40 });
        assert_eq!(CpuTimes::parse(""), CpuTimes::default());
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 106\nmodel name\t: A CPU: fast\n";
        assert_eq!(field(text, "model name"), Some("A CPU: fast"));
        assert_eq!(field(text, "name"), None);
    }
}
