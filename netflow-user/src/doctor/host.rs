//! The host: kernel, privileges, limits, memory, clocks, socket buffers.

use std::{fs, path::Path};

use rustix::process::{Resource, getrlimit};

use super::{finding::Finding, wall_clock};
use crate::kernel::{KernelVersion, Sizes, missing_capabilities};

/// What was found of the host; `None` is what could not be read.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) release: String,
    pub(super) version: Option<KernelVersion>,
    pub(super) btf: bool,
    /// net.core.bpf_jit_enable.
    pub(super) jit: Option<u64>,
    /// Names of capabilities that are missing.
    pub(super) missing: Option<String>,
    /// Octets that may be locked.
    pub(super) locked: Option<u64>,
    /// Octets that are available, and all.
    pub(super) memory: Option<(u64, u64)>,
    /// What the maps will take, and what was asked for.
    pub(super) sizes: Sizes,
    /// Entries and slots that were asked for.
    pub(super) asked: (u32, u32),
    /// Flows that the cache holds.
    pub(super) cache_size: u32,
    pub(super) clock_source: Option<String>,
    /// Whether something keeps the wall clock right.
    pub(super) synchronised: Option<bool>,
    /// net.core.rmem_max and wmem_max.
    pub(super) receive_buffer: Option<u64>,
    pub(super) send_buffer: Option<u64>,
    /// A message of it was lost to a full buffer: UDP RcvbufErrors and SndbufErrors of this namespace.
    pub(super) buffer_errors: Option<(u64, u64)>,
}

/// Octets of a flow in the cache, the index included.
const CACHED_FLOW: u64 = 144;
/// The send buffer that a UDP session asks for.
const SEND_BUFFER: u64 = 512 * 1024;
/// What a collector on this host should be able to ask for.
const RECEIVE_BUFFER: u64 = 4 << 20;

impl Host {
    /// Looks.
    pub(super) fn look(sizes: Sizes, asked: (u32, u32), cache_size: u32) -> Self {
        let memory = text("/proc/meminfo");
        let memory = |name| kibibytes(memory.as_deref()?, name);
        Self {
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            version: KernelVersion::running(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            jit: number("/proc/sys/net/core/bpf_jit_enable"),
            missing: missing_capabilities(),
            locked: getrlimit(Resource::Memlock).current,
            memory: memory("MemAvailable").zip(memory("MemTotal")),
            sizes,
            asked,
            cache_size,
            clock_source: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            synchronised: wall_clock::is_synchronised(),
            receive_buffer: number("/proc/sys/net/core/rmem_max"),
            send_buffer: number("/proc/sys/net/core/wmem_max"),
            buffer_errors: text("/proc/self/net/snmp").as_deref().and_then(buffer_errors),
        }
    }

    /// Judges it.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = vec![self.kernel(), self.jit(), self.capabilities()];
        if !self.btf {
            findings.push(Finding::warning("BTF", "/sys/kernel/btf/vmlinux is missing: tools such as bpftool show maps and programs of this kernel without names"));
        } else {
            findings.push(Finding::ok("BTF", "the kernel describes its types"));
        }
        findings.extend(self.locked_memory());
        findings.push(self.memory());
        findings.push(self.clock_source());
        findings.push(self.wall_clock());
        findings.extend(self.buffers());
        findings
    }

    fn kernel(&self) -> Finding {
        let release = &self.release;
        match self.version {
            None => Finding::unknown("kernel", format!("the release '{release}' is no number")),
            Some(version) if version < KernelVersion::OLDEST => Finding::fault(
                "kernel",
                format!("Linux {release} is too old: the meter needs {} or newer", KernelVersion::OLDEST),
            ),
            Some(version) if version < KernelVersion::TCX => {
                let lacks = if version < KernelVersion::XDP_FRAGMENTS {
                    "XDP for frames of several buffers (5.18) and TC by links (6.6)"
                } else {
                    "TC by links (6.6)"
                };
                Finding::warning("kernel", format!("Linux {release} works without {lacks}"))
            }
            Some(_) => Finding::ok("kernel", format!("Linux {release} has all that the meter uses")),
        }
    }

    fn jit(&self) -> Finding {
        match self.jit {
            Some(0) => Finding::warning(
                "BPF JIT",
                "off: each packet is metered by an interpreter, several times slower",
            )
            .with("sysctl -w net.core.bpf_jit_enable=1"),
            Some(2) => Finding::warning("BPF JIT", "on, and it writes every program into the kernel's log")
                .with("sysctl -w net.core.bpf_jit_enable=1"),
            Some(_) => Finding::ok("BPF JIT", "on"),
            None => Finding::unknown(
                "BPF JIT",
                "net.core.bpf_jit_enable cannot be read here: root can, outside of network namespaces",
            ),
        }
    }

    fn capabilities(&self) -> Finding {
        match &self.missing {
            None => Finding::ok("privileges", "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are there"),
            Some(missing) => Finding::fault(
                "privileges",
                format!("this user lacks {missing}, without which `netflow run` cannot load or attach"),
            )
            .with("sudo netflow doctor"),
        }
    }

    fn locked_memory(&self) -> Option<Finding> {
        // Newer kernels count maps as memory of the control group.
        self.version.filter(|version| *version < KernelVersion { major: 5, minor: 11 })?;
        let needed = self.sizes.kernel_memory;
        Some(match self.locked {
            Some(limit) if limit < needed => Finding::warning(
                "locked memory",
                format!("{} may be locked and maps take {}; the agent lifts the limit where it may (CAP_SYS_RESOURCE)", mebibytes(limit), mebibytes(needed)),
            )
            .with("ulimit -l unlimited"),
            _ => Finding::ok("locked memory", "the limit takes the maps"),
        })
    }

    fn memory(&self) -> Finding {
        let Sizes { cpus, map_size, flow_table, kernel_memory } = self.sizes;
        let cache = u64::from(self.cache_size) * CACHED_FLOW;
        let text = format!(
            "flow table and maps of {cpus} CPUs take {} of the kernel, a full flow cache {}",
            mebibytes(kernel_memory),
            mebibytes(cache)
        );
        let (asked_map, asked_table) = self.asked;
        match self.memory {
            None => Finding::unknown("memory", format!("{text}; /proc/meminfo cannot be read")),
            Some((available, _)) if kernel_memory + cache > available => {
                Finding::fault("memory", format!("{text}, but only {} are available", mebibytes(available)))
                    .with(format!("netflow run --kernel-memory {}MiB ...", (available / 4) >> 20))
            }
            Some((_, all)) if map_size < asked_map || flow_table < asked_table => Finding::warning(
                "memory",
                format!("{text}: the limit makes them smaller than asked for, {flow_table} slots and {map_size} entries per CPU and generation"),
            )
            .with(format!("netflow run --kernel-memory {}MiB ...", (all / 4) >> 20)),
            Some((available, _)) => {
                Finding::ok("memory", format!("{text}; {} are available", mebibytes(available)))
            }
        }
    }

    fn clock_source(&self) -> Finding {
        match self.clock_source.as_deref() {
            None => Finding::unknown("clock", "the kernel's clock source cannot be read"),
            Some(slow @ ("hpet" | "acpi_pm" | "jiffies" | "refined-jiffies")) => Finding::warning(
                "clock",
                format!("the kernel's clock is {slow}, which is slow to read: --clock precise would cost a microsecond a packet"),
            )
            .with("cat /sys/devices/system/clocksource/clocksource0/available_clocksource"),
            Some(source) => Finding::ok("clock", format!("the kernel's clock is {source}")),
        }
    }

    fn wall_clock(&self) -> Finding {
        match self.synchronised {
            Some(true) => Finding::ok("wall clock", "synchronised"),
            Some(false) => Finding::warning(
                "wall clock",
                "nothing keeps it right (no NTP): times in records are this host's own",
            )
            .with("timedatectl set-ntp true"),
            None => Finding::unknown("wall clock", "the kernel does not say whether it is synchronised"),
        }
    }

    fn buffers(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.send_buffer {
            Some(limit) if limit < SEND_BUFFER / 2 => findings.push(
                Finding::warning(
                    "send buffer",
                    format!("net.core.wmem_max is {limit}: a burst of messages waits in steps of that"),
                )
                .with(format!("sysctl -w net.core.wmem_max={SEND_BUFFER}")),
            ),
            Some(limit) => findings.push(Finding::ok("send buffer", format!("net.core.wmem_max is {limit}"))),
            None => findings.push(Finding::unknown("send buffer", "net.core.wmem_max cannot be read")),
        }
        match self.receive_buffer {
            Some(limit) if limit < RECEIVE_BUFFER => findings.push(Finding::ok(
                "receive buffer",
                format!("net.core.rmem_max is {limit}; for a collector on this host {RECEIVE_BUFFER} is better (sysctl -w net.core.rmem_max={RECEIVE_BUFFER})"),
            )),
            Some(limit) => findings.push(Finding::ok("receive buffer", format!("net.core.rmem_max is {limit}"))),
            None => findings.push(Finding::unknown("receive buffer", "net.core.rmem_max cannot be read")),
        }
        match self.buffer_errors {
            Some((receive, send)) if receive > 0 || send > 0 => findings.push(
                Finding::warning(
                    "UDP",
                    format!("of datagrams of this host {receive} were lost to full receive buffers and {send} to full send buffers since it started"),
                )
                .with("nstat -az UdpRcvbufErrors UdpSndbufErrors"),
            ),
            Some(_) => findings.push(Finding::ok("UDP", "no datagram was lost to a full buffer since the host started")),
            None => {}
        }
        findings
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &str) -> Option<u64> {
    text(path)?.parse().ok()
}

/// A line of /proc/meminfo, in octets.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|number| number << 10)
}

/// RcvbufErrors and SndbufErrors of /proc/net/snmp: a line of names, and one of numbers.
fn buffer_errors(text: &str) -> Option<(u64, u64)> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let of = |name: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(found, _)| *found == name)?.1.parse().ok()
    };
    of("RcvbufErrors").zip(of("SndbufErrors"))
}

fn mebibytes(octets: u64) -> String {
    format!("{} MiB", octets.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    fn good() -> Host {
        Host {
            release: "6.18.1".to_owned(),
            version: Some(KernelVersion { major: 6, minor: 18 }),
            btf: true,
            jit: Some(1),
            missing: None,
            locked: Some(64 << 10),
            memory: Some((8 << 30, 16 << 30)),
            sizes: Sizes { cpus: 2, map_size: 262_144, flow_table: 262_144, kernel_memory: 300 << 20 },
            asked: (262_144, 262_144),
            cache_size: 1_000_000,
            clock_source: Some("tsc".to_owned()),
            synchronised: Some(true),
            receive_buffer: Some(8 << 20),
            send_buffer: Some(1 << 20),
            buffer_errors: Some((0, 0)),
        }
    }

    #[test]
    fn of_a_good_host_nothing_is_amiss() {
        let findings = good().judge();
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:?}");
        assert!(findings.iter().all(|finding| finding.subject != "locked memory"));
    }

    #[test]
    fn what_is_amiss_is_named_and_has_a_remedy() {
        let old = |major, minor| Some(KernelVersion { major, minor });
        let smaller = Sizes { map_size: 1000, ..good().sizes };
        let cases = [
            (Host { version: old(5, 4), ..good() }, Verdict::Fault, "kernel", "too old", false),
            (Host { version: old(5, 15), ..good() }, Verdict::Warning, "kernel", "several buffers", false),
            (Host { version: old(6, 1), ..good() }, Verdict::Warning, "kernel", "TC by links", false),
            (Host { jit: Some(0), ..good() }, Verdict::Warning, "BPF JIT", "interpreter", true),
            (Host { jit: None, ..good() }, Verdict::Unknown, "BPF JIT", "root", false),
            (
                Host { missing: Some("CAP_BPF".to_owned()), ..good() },
                Verdict::Fault,
                "privileges",
                "lacks CAP_BPF",
                true,
            ),
            (Host { version: old(5, 10), ..good() }, Verdict::Warning, "locked memory", "1 MiB may", true),
            (
                Host { memory: Some((200 << 20, 1 << 30)), ..good() },
                Verdict::Fault,
                "memory",
                "only 200 MiB are available",
                true,
            ),
            (Host { sizes: smaller, ..good() }, Verdict::Warning, "memory", "smaller than asked", true),
            (
                Host { clock_source: Some("hpet".to_owned()), ..good() },
                Verdict::Warning,
                "clock",
                "hpet",
                true,
            ),
            (Host { synchronised: Some(false), ..good() }, Verdict::Warning, "wall clock", "NTP", true),
            (Host { send_buffer: Some(4096), ..good() }, Verdict::Warning, "send buffer", "4096", true),
            (
                Host { buffer_errors: Some((3, 0)), ..good() },
                Verdict::Warning,
                "UDP",
                "3 were lost to full receive buffers",
                true,
            ),
        ];
        for (host, verdict, subject, text, has_remedy) in cases {
            let findings = host.judge();
            let found = findings.iter().find(|finding| finding.subject == subject);
            let found = found.unwrap_or_else(|| panic!("nothing of {subject}"));
            assert_eq!((found.verdict, found.remedy.is_some()), (verdict, has_remedy), "{found:?}");
            assert!(found.text.contains(text), "{found:?}");
        }
    }

    #[test]
    fn files_of_proc_are_read() {
        assert_eq!(kibibytes("MemTotal:  24 kB\nMemAvailable: 2 kB\n", "MemAvailable"), Some(2048));
        assert_eq!(kibibytes("MemTotal: many kB", "MemTotal"), None);
        let snmp =
            "Ip: a\nIp: 1\nUdp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 9 3 4\nUdpLite: x\nUdpLite: 1";
        assert_eq!(buffer_errors(snmp), Some((3, 4)));
        assert_eq!(buffer_errors("Udp: RcvbufErrors"), None);
    }
}
