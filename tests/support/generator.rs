//! An exact number of UDP packets of known flows, as fast as the kernel can: it runs the generator's program on copies
//! of one frame and sends what comes out ("live frames" of BPF_PROG_TEST_RUN, Linux 5.18).
//!
//! Packet i belongs to flow `(first_flow + i) % flows`; flow f has the source address 10.128.0.1 + f / 1000 and the
//! source port 1024 + f % 1000. Use one generator at a time: two on two cores overflow the veth ring.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aya::maps::Array;
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{PerfEvent, TestRun, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::frames;
use crate::lab::{FOREIGN_MAC, GENERATOR_MAC, Namespace};

/// Frames without their check sequence: the shortest and what fits a live frame's page.
pub const FRAME_LENGTHS: std::ops::RangeInclusive<usize> = 60..=3000;

/// Frames the kernel makes before it sends them.
const BATCH: u32 = 64;
/// Frames of one system call: at 2 Mpps a call then takes half a second.
const CHUNK: u64 = 1 << 20;

/// The kernel half, with its idle programs.
pub(crate) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generator-ebpf"));

/// What the generator sends.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorOptions {
    /// Destination address of the frames. Nobody's by default, so that the stack drops them early.
    pub destination_mac: [u8; 6],
    /// Destination address and port of the packets.
    pub destination: SocketAddrV4,
    /// How many flows.
    pub flows: u64,
    /// The first packet's flow.
    pub first_flow: u64,
    /// Octets of a frame without its check sequence: 60 is a "64-octet packet".
    pub frame_length: usize,
    /// The CPU to send from. The receiving end works on the same one, which is why nothing is lost in between.
    pub cpu: usize,
}

impl Default for GeneratorOptions {
    fn default() -> Self {
        Self {
            destination_mac: FOREIGN_MAC,
            destination: SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 9),
            flows: 1,
            first_flow: 0,
            frame_length: *FRAME_LENGTHS.start(),
            cpu: 0,
        }
    }
}

impl GeneratorOptions {
    /// Octets of each IP packet.
    pub fn packet_octets(&self) -> u64 {
        (self.frame_length - frames::ETHERNET_LENGTH) as u64
    }
}

/// A generator on one interface.
pub struct Generator<'a> {
    namespace: &'a Namespace,
    options: GeneratorOptions,
    program: Ebpf,
    interface: u32,
    frame: Vec<u8>,
    sent: u64,
}

/// What one call has sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sent {
    /// Frames sent: exactly those asked for.
    pub packets: u64,
    /// The time it took.
    pub elapsed: Duration,
    /// The processor time of it: making the packets, and what happens to them at the receiving end, up to where a
    /// program or the stack drops them or hands them to another thread.
    pub processor: Duration,
}

impl Sent {
    /// Packets per second.
    pub fn rate(&self) -> f64 {
        self.packets as f64 / self.elapsed.as_secs_f64()
    }
}

impl<'a> Generator<'a> {
    /// Loads the program. Frames reach the other end of a veth pair only if that has an XDP program or GRO.
    pub fn new(namespace: &'a Namespace, interface: &str, options: GeneratorOptions) -> Result<Self> {
        ensure!(options.flows > 0, "no flows to generate");
        ensure!(FRAME_LENGTHS.contains(&options.frame_length), "frame length {}", options.frame_length);
        let interface = namespace.enter(|| {
            let socket: OwnedFd = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
            name_to_index(socket, interface).with_context(|| format!("no interface {interface}"))
        })??;
        let mut program = EbpfLoader::new()
            .override_global("FLOWS", &options.flows, true)
            .override_global("FIRST_FLOW", &options.first_flow, true)
            .override_global("INTERFACE", &interface, true)
            .load(OBJECT)
            .context("cannot load the generator's program")?;
        generate(&mut program)?.load()?;
        Ok(Self { namespace, options, program, interface, frame: template(&options), sent: 0 })
    }

    /// Sends so many packets, going on with the flows where the last call stopped.
    pub fn send(&mut self, packets: u64) -> Result<Sent> {
        let namespace = self.namespace;
        let begin = Instant::now();
        let processor = namespace.enter(|| self.send_inside(packets))??;
        Ok(Sent { packets, elapsed: begin.elapsed(), processor })
    }

    fn send_inside(&mut self, packets: u64) -> Result<Duration> {
        let mut cpus = CpuSet::new();
        cpus.set(self.options.cpu);
        sched_setaffinity(None, &cpus).with_context(|| format!("cannot run on CPU {}", self.options.cpu))?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, self.frame.len() as u32, 0, self.interface, 0, 0];
        let begin = thread_time();
        let mut left = packets;
        while left > 0 {
            let chunk = left.min(CHUNK);
            generate(&mut self.program)?
                .test_run(TestRunOptions {
                    data_in: Some(&self.frame),
                    ctx_in: Some(bytemuck::cast_slice(&context)),
                    repeat: u32::try_from(chunk)?,
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::new()
                })
                .context("cannot send live frames")?;
            left -= chunk;
        }
        let processor = thread_time().saturating_sub(begin);
        self.sent += packets;
        // The kernel reports success whatever the program returned, and for a run that was interrupted nothing.
        let frames: Array<_, u64> = Array::try_from(self.program.map("FRAMES").context("no map FRAMES")?)?;
        let made = frames.get(&0, 0)?;
        if made != self.sent {
            bail!("the generator made {made} frames instead of {}", self.sent);
        }
        Ok(processor)
    }

    /// What it sends.
    pub fn options(&self) -> &GeneratorOptions {
        &self.options
    }
}

/// The processor time that this thread has had.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn generate(program: &mut Ebpf) -> Result<&mut Xdp> {
    Ok(program.program_mut("generate").context("no program in the object")?.try_into()?)
}

/// A CPU whose programs often stand still for 20 microseconds in the midst of a packet, as under slow interrupts or a
/// busy hypervisor: what goes wrong only then goes wrong in seconds. Ends when dropped.
pub struct Standstills(#[expect(dead_code, reason = "keeps the program attached")] Ebpf);

impl Standstills {
    /// Of them in a second: with those of 20 microseconds, a fifth of the time.
    const FREQUENCY: u64 = 10_000;

    /// Begins.
    pub fn on(cpu: usize) -> Result<Self> {
        let mut object = EbpfLoader::new().load(OBJECT).context("cannot load the generator's object")?;
        let program: &mut PerfEvent =
            object.program_mut("stand_still").context("no program in the object")?.try_into()?;
        program.load()?;
        let event = PerfEventConfig::Software(SoftwareEvent::CpuClock);
        let scope = PerfEventScope::AllProcessesOneCpu { cpu: u32::try_from(cpu)? };
        program.attach(event, scope, SamplePolicy::Frequency(Self::FREQUENCY), false)?;
        Ok(Self(object))
    }
}

/// The frame that all others are copies of.
fn template(options: &GeneratorOptions) -> Vec<u8> {
    let source = SocketAddr::from((Ipv4Addr::new(10, 128, 0, 1), 1024));
    let headers = frames::ETHERNET_LENGTH + 20 + 8;
    let mut packet =
        frames::udp(source, options.destination.into(), &vec![0; options.frame_length - headers]);
    // Its source differs from flow to flow: no UDP checksum.
    packet[26..28].fill(0);
    frames::ethernet(options.destination_mac, GENERATOR_MAC, frames::ETHERTYPE_IPV4, &packet)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::judges::Tshark;
    use crate::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn every_packet_generated_arrives() {
        const PACKETS: u64 = 2_000_000;
        let lab = Lab::new(LabOptions { gro_in_monitor: true, ..LabOptions::default() }).unwrap();
        let options = GeneratorOptions { flows: 10_000, ..GeneratorOptions::default() };
        let mut generator = Generator::new(&lab.generator, GENERATOR_INTERFACE, options).unwrap();
        let sent = generator.send(PACKETS).unwrap();
        println!("{:.0} packets/s", sent.rate());
        assert_eq!(sent.packets, PACKETS);
        let counters = lab.monitor.counters(MONITOR_INTERFACE).unwrap();
        assert_eq!((counters.rx_packets, counters.rx_octets), (PACKETS, PACKETS * 60));
    }

    #[test]
    #[ignore = "needs root and network namespaces"]
    fn packets_cycle_through_the_flows_with_right_checksums() {
        let lab = Lab::new(LabOptions { gro_in_monitor: true, ..LabOptions::default() }).unwrap();
        let options = GeneratorOptions { flows: 2001, first_flow: 1999, ..GeneratorOptions::default() };
        let mut generator = Generator::new(&lab.generator, GENERATOR_INTERFACE, options).unwrap();
        let tshark = Tshark::start(&lab.monitor, MONITOR_INTERFACE, "udp").unwrap();
        generator.send(1).unwrap();
        generator.send(3).unwrap();
        let capture = tshark.stop().unwrap();
        let rows = capture.fields(&["ip.src", "udp.srcport", "ip.len", "ip.checksum.status"]).unwrap();
        let expected = [
            ["10.128.0.2", "2023", "46", "1"],
            ["10.128.0.3", "1024", "46", "1"],
            ["10.128.0.1", "1024", "46", "1"],
            ["10.128.0.1", "1025", "46", "1"],
        ];
        assert_eq!(rows, expected.map(|row| row.map(|value| vec![value.to_owned()]).to_vec()));
    }
}
