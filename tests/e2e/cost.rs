//! What metering costs: packets per second through a veth pair with the program that passes everything on, and with the
//! agent, at the same place. Sender, receiver and program share one CPU, so that a difference of 1/rate is time in the
//! program (and, for many flows, of the agent's drain, which takes its turns on that CPU).
//!
//! `cargo run -p tests --bin cost`, as root, on a machine with nothing else to do, after `cargo build --release`.

use anyhow::{Context, Result, ensure};
use tests::agent::{self, AgentProcess, Signal};
use tests::generator::{Generator, GeneratorOptions, Passing};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};

const PACKETS: u64 = 20_000_000;
const FLOWS: [u64; 3] = [16, 10_000, 500_000];
const RUNS: usize = 3;

fn main() -> Result<()> {
    println!("{} packets of 64 octets, median of {RUNS} runs; {}", PACKETS, agent::binary()?.display());
    println!(
        "{:>8} {:>14} {:>14} {:>16} {:>10}",
        "flows", "pass, Mpps", "netflow, Mpps", "ns per packet", "lost"
    );
    for flows in FLOWS {
        let (mut passing, mut metering, mut lost) = (Vec::new(), Vec::new(), 0);
        for _ in 0..RUNS {
            passing.push(pass(flows)?);
            let (rate, losses) = meter(flows)?;
            metering.push(rate);
            lost += losses;
        }
        let (pass, meter) = (median(passing), median(metering));
        let nanos = 1e9 / meter - 1e9 / pass;
        println!("{flows:>8} {:>14.2} {:>14.2} {nanos:>16.0} {lost:>10}", pass / 1e6, meter / 1e6);
    }
    Ok(())
}

/// Packets per second through the least program.
fn pass(flows: u64) -> Result<f64> {
    let lab = Lab::new(LabOptions::default())?;
    let _passing = Passing::on(&lab.monitor, MONITOR_INTERFACE)?;
    send(&lab, flows)
}

/// Packets per second through the agent's program, and how many packets it lost.
fn meter(flows: u64) -> Result<(f64, u64)> {
    let lab = Lab::new(LabOptions::default())?;
    // Nobody listens there: a collector would take a part of the machine.
    let arguments = ["-i", MONITOR_INTERFACE, "--xdp-mode", "native", "-c", "udp://127.0.0.1:9995"];
    let agent = AgentProcess::start(&lab.monitor, &arguments)?;
    let rate = send(&lab, flows)?;
    let stopped = agent.stop(Signal::INT)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let lost = stopped.ledger.context("no ledger")?.sum("/packets/lost")?;
    Ok((rate, lost))
}

fn send(lab: &Lab, flows: u64) -> Result<f64> {
    let options = GeneratorOptions { flows, ..GeneratorOptions::default() };
    let mut generator = Generator::new(&lab.generator, GENERATOR_INTERFACE, options)?;
    let rate = generator.send(PACKETS)?.rate();
    let received = lab.monitor.counters(MONITOR_INTERFACE)?.rx_packets;
    ensure!(received == PACKETS, "{received} packets arrived");
    Ok(rate)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
