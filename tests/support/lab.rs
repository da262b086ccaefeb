//! Two network namespaces with a veth pair: packets are sent from one, the agent and its judges run in the other.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{self, Command};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::process::{Finished, Process, command, run};

/// The sending interface, in the generator's namespace.
pub const GENERATOR_INTERFACE: &str = "g0";
/// Its address.
pub const GENERATOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The metered interface, in the monitor's namespace.
pub const MONITOR_INTERFACE: &str = "m0";
/// Its address.
pub const MONITOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Nobody's address: frames to it reach XDP, and the stack drops them right behind it.
pub const FOREIGN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// How long a packet sent may take to arrive, on a machine that is busy.
const ARRIVAL: Duration = Duration::from_secs(20);

const DIRECTORY: &str = "/run/netns";
const PREFIX: &str = "nft-";

/// A network namespace of this test's own.
pub struct Namespace {
    name: String,
}

/// The network of a test.
pub struct Lab {
    /// Where packets come from: `g0`, 10.77.0.1/16.
    pub generator: Namespace,
    /// Where they are metered: `m0`, 10.77.0.2/16. IPv6 is off but on the loopback interface.
    pub monitor: Namespace,
}

/// How the pair is made.
#[derive(Clone, Copy, Debug)]
pub struct LabOptions {
    /// Generic receive offload at the monitor: without it or an XDP program there, redirected frames vanish.
    pub gro_in_monitor: bool,
    /// Of both ends. Native XDP without fragments goes up to 3498 on a veth.
    pub mtu: u32,
    /// Receive queues of the monitor; not more than there are CPUs.
    pub rx_queues: u32,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self { gro_in_monitor: false, mtu: 1500, rx_queues: 1 }
    }
}

/// What an interface has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterfaceCounters {
    /// Packets received.
    pub rx_packets: u64,
    /// Their octets, with the Ethernet header.
    pub rx_octets: u64,
    /// Packets dropped on reception.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Their octets.
    pub tx_octets: u64,
    /// Packets dropped on sending.
    pub tx_dropped: u64,
}

impl Lab {
    /// Makes the network; it goes with the value. Needs root.
    pub fn new(options: LabOptions) -> Result<Self> {
        if !geteuid().is_root() {
            bail!("this test makes network namespaces: run it as root (cargo xtask test does)");
        }
        static REMOVE_STALE: Once = Once::new();
        REMOVE_STALE.call_once(remove_stale_namespaces);

        let number = next_number();
        let lab = Self {
            generator: Namespace::named(format!("{PREFIX}{}-{number}-gen", process::id()))?,
            monitor: Namespace::named(format!("{PREFIX}{}-{number}-mon", process::id()))?,
        };
        let (g0, m0) = (GENERATOR_INTERFACE, MONITOR_INTERFACE);
        ip(&["link", "add", g0, "netns", lab.generator.name(), "type", "veth"], |rest| {
            rest.args(["peer", "name", m0, "netns", lab.monitor.name()]);
        })?;
        let ends = [
            (&lab.generator, g0, GENERATOR_MAC, "10.77.0.1", MONITOR_MAC, "10.77.0.2"),
            (&lab.monitor, m0, MONITOR_MAC, "10.77.0.2", GENERATOR_MAC, "10.77.0.1"),
        ];
        for (namespace, interface, mac, address, other_mac, other_address) in ends {
            let mtu = options.mtu.to_string();
            namespace.ip(&["link", "set", interface, "address", &mac_text(mac), "mtu", &mtu, "up"])?;
            namespace.ip(&["addr", "add", &format!("{address}/16"), "dev", interface])?;
            let neighbour = ["neigh", "replace", other_address, "lladdr", &mac_text(other_mac)];
            namespace.ip(&[&neighbour[..], &["dev", interface, "nud", "permanent"]].concat())?;
            let gro = if interface == m0 && options.gro_in_monitor { "on" } else { "off" };
            let offloads = ["tx", "off", "tso", "off", "gso", "off", "gro", gro];
            namespace.run("ethtool", &[&["-K", interface], &offloads[..]].concat())?;
        }
        if options.rx_queues != 1 {
            lab.monitor.run("ethtool", &["-L", m0, "rx", &options.rx_queues.to_string()])?;
        }
        Ok(lab)
    }

    /// Waits until the monitor's interface has received so many packets since the lab was made: all of them have
    /// been through XDP then. More than that is an error.
    pub fn wait_for_packets(&self, packets: u64) -> Result<()> {
        let deadline = Instant::now() + ARRIVAL;
        loop {
            let received = self.monitor.counters(MONITOR_INTERFACE)?.rx_packets;
            if received == packets {
                return Ok(());
            }
            if received > packets || Instant::now() > deadline {
                bail!("{MONITOR_INTERFACE} has received {received} packets, not {packets}");
            }
        }
    }
}

impl Namespace {
    /// Makes a namespace without interfaces but the loopback one.
    pub fn new() -> Result<Self> {
        Self::named(format!("{PREFIX}{}-{}-own", process::id(), next_number()))
    }

    fn named(name: String) -> Result<Self> {
        ip(&["netns", "add", &name], |_| {})?;
        let namespace = Self { name };
        // Before interfaces come up: router solicitations would join the counts. Judges may listen on ::1.
        namespace.enter(|| {
            for (interface, off) in [("all", "1"), ("default", "1"), ("lo", "0")] {
                let file = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
                // Absent where the kernel has no IPv6.
                if Path::new(&file).exists() {
                    fs::write(&file, off).with_context(|| file)?;
                }
            }
            anyhow::Ok(())
        })??;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in here. `ip netns exec` would mount a fresh /sys, without pinned BPF objects.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = command("nsenter", [&format!("--net={DIRECTORY}/{}", self.name), program]);
        command.args(arguments);
        command
    }

    /// Runs a command in here to its end and demands its success.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Finished> {
        run(self.command(program, arguments))
    }

    /// Starts a process in here.
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Result<Process> {
        Process::spawn(self.command(program, arguments))
    }

    /// Runs `ip` on this namespace.
    pub fn ip(&self, arguments: &[&str]) -> Result<Finished> {
        ip(&["-n", &self.name], |command| {
            command.args(arguments);
        })
    }

    /// Runs a function on a thread of its own in here. Sockets it opens stay in this namespace.
    pub fn enter<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        let namespace = File::open(Path::new(DIRECTORY).join(&self.name))?;
        let inside = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("cannot enter the namespace {}", self.name))?;
            Ok(function())
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The counters of an interface in here.
    pub fn counters(&self, interface: &str) -> Result<InterfaceCounters> {
        let shown = self.ip(&["-s", "-j", "link", "show", interface])?;
        let shown: Value = serde_json::from_str(&shown.stdout)?;
        let count = |direction: &str, what: &str| {
            shown[0]["stats64"][direction][what].as_u64().with_context(|| format!("no {direction} {what}"))
        };
        Ok(InterfaceCounters {
            rx_packets: count("rx", "packets")?,
            rx_octets: count("rx", "bytes")?,
            rx_dropped: count("rx", "dropped")?,
            tx_packets: count("tx", "packets")?,
            tx_octets: count("tx", "bytes")?,
            tx_dropped: count("tx", "dropped")?,
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove_namespace(&self.name);
    }
}

/// Ends the processes that were left in a namespace of ours, then removes it.
fn remove_namespace(name: &str) {
    let left = run(command("ip", ["netns", "pids", name])).map(|finished| finished.stdout);
    for pid in left.unwrap_or_default().split_whitespace() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw)
            && pid != rustix::process::getpid()
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    if let Err(error) = run(command("ip", ["netns", "del", name])) {
        eprintln!("cannot remove the namespace {name}: {error}");
    }
}

/// Removes what tests left that were killed: namespaces named after a process that is no more.
fn remove_stale_namespaces() {
    for entry in fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove_namespace(name);
        }
    }
}

fn ip(arguments: &[&str], more: impl FnOnce(&mut Command)) -> Result<Finished> {
    let mut command = command("ip", arguments);
    more(&mut command);
    run(command)
}

fn next_number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::UdpSocket;

    use super::*;
    use crate::process::COMMAND_TIMEOUT;

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn the_pair_carries_packets_and_is_silent_without() {
        let lab = Lab::new(LabOptions { mtu: 3000, rx_queues: 2, ..LabOptions::default() }).unwrap();
        let before = lab.monitor.counters(MONITOR_INTERFACE).unwrap();
        assert_eq!(before.rx_packets + before.tx_packets, 0);
        let receiver = lab.monitor.enter(|| UdpSocket::bind("10.77.0.2:9")).unwrap().unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let sender = lab.generator.enter(|| UdpSocket::bind("10.77.0.1:0")).unwrap().unwrap();
        for _ in 0..3 {
            sender.send_to(&[7; 2900], "10.77.0.2:9").unwrap();
            assert_eq!(receiver.recv(&mut [0; 4000]).unwrap(), 2900);
        }
        let after = lab.monitor.counters(MONITOR_INTERFACE).unwrap();
        assert_eq!((after.rx_packets, after.tx_packets, after.rx_octets), (3, 0, 3 * (2900 + 8 + 20 + 14)));
        let queues = lab.monitor.run("ethtool", &["-l", MONITOR_INTERFACE]).unwrap().stdout;
        assert_eq!(queues.matches("RX:\t\t2").count(), 2, "{queues}");
        lab.monitor.enter(|| UdpSocket::bind("[::1]:0")).unwrap().unwrap();
    }

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn a_panic_leaves_no_namespace_and_no_process() {
        let names = std::panic::catch_unwind(|| {
            let lab = Lab::new(LabOptions::default()).unwrap();
            let process = lab.monitor.spawn("sleep", &["60"]).unwrap();
            std::panic::resume_unwind(Box::new((lab.monitor.name().to_owned(), process.id())));
        });
        let (name, pid) = *names.unwrap_err().downcast::<(String, u32)>().unwrap();
        assert!(!Path::new(DIRECTORY).join(name).exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn namespaces_of_killed_tests_are_removed_with_what_runs_in_them() {
        let mut gone = Process::spawn(command("true", [""; 0])).unwrap();
        let name = format!("{PREFIX}{}-0-own", gone.id());
        while gone.ended().unwrap().is_none() {
            thread::yield_now();
        }
        let stale = Namespace::named(name.clone()).unwrap();
        let mut process = stale.spawn("sh", &["-c", "echo here >&2; exec sleep 60"]).unwrap();
        process.wait_for_stderr("here", COMMAND_TIMEOUT).unwrap();
        std::mem::forget(stale);
        remove_stale_namespaces();
        assert!(!process.finish(COMMAND_TIMEOUT).unwrap().status.success());
        assert!(!Path::new(DIRECTORY).join(name).exists());
    }
}
