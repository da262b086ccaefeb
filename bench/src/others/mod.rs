//! Part f: what metering costs others who use the interface: throughput of TCP, and how long a datagram and its answer take.

mod traffic;

use std::{path::Path, time::Duration};

use ::tests::{
    agent::{AgentProcess, Signal},
    idle::Idle,
    lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE},
};
use anyhow::Result;

use crate::{
    Context, Measurement, Outcome, Plot, Series, Table, Target, Unit, live::exporter::COLLECTOR,
    outcome::PlotKind, sink::Sink,
};

/// What is attached to the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SetUp {
    Nothing,
    /// A program that does nothing, at native XDP.
    IdleIngress,
    /// The same, and one at TC for what is sent.
    IdleBoth,
    /// The agent, as it is by default.
    NetflowIngress,
    /// The agent with `--direction both`.
    NetflowBoth,
}

impl SetUp {
    const ALL: [Self; 5] =
        [Self::Nothing, Self::IdleIngress, Self::NetflowIngress, Self::IdleBoth, Self::NetflowBoth];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing attached",
            Self::IdleIngress => "empty program, received (native XDP)",
            Self::IdleBoth => "empty programs, received and sent (native XDP, TC)",
            Self::NetflowIngress => "netflow, received",
            Self::NetflowBoth => "netflow, received and sent",
        }
    }

    /// The empty programs at the same places.
    const fn idle(self) -> Option<Self> {
        match self {
            Self::NetflowIngress => Some(Self::IdleIngress),
            Self::NetflowBoth => Some(Self::IdleBoth),
            _ => None,
        }
    }
}

/// What a set-up let through, round by round.
struct Samples {
    set_up: SetUp,
    bits_per_second: Vec<f64>,
    microseconds: Vec<f64>,
}

/// Whatever is attached, until it is detached.
enum Attached {
    Programs(#[expect(dead_code, reason = "keeps them attached")] Vec<Idle>),
    Agent(AgentProcess),
}

/// The CPU of the client and of the softirqs that follow it.
const CLIENT_CPU: usize = 0;
/// The CPU of the server, and of the agent.
const SERVER_CPU: usize = 1;

/// Runs the part.
///
/// # Errors
/// The network cannot be made, or no traffic goes through it.
pub fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome { method: method(), ..Outcome::default() };
    let (seconds, exchanges) = if context.quick { (1, 4000) } else { (2, 20_000) };
    let round_trip = Duration::from_secs(SetUp::ALL.len() as u64 * (seconds + 1));
    let mut all =
        SetUp::ALL.map(|set_up| Samples { set_up, bits_per_second: Vec::new(), microseconds: Vec::new() });
    // The first round warms up, and is thrown away where others follow.
    let rounds = context.rounds(2, 10);
    for round in 0..rounds {
        if round > 1 && !context.has_time_for(round_trip) {
            break;
        }
        for samples in &mut all {
            let (bits_per_second, microseconds) =
                measure(&context.binary, samples.set_up, seconds, exchanges)?;
            if round > 0 {
                samples.bits_per_second.extend(bits_per_second);
                samples.microseconds.push(microseconds);
            } else if bits_per_second.is_none() && samples.set_up == SetUp::Nothing {
                outcome.not_run.push("throughput: iperf3 is not here (apt-get install iperf3)".to_owned());
            }
        }
    }
    report(&all, &mut outcome);
    Ok(outcome)
}

fn method() -> String {
    format!(
        "A veth pair in namespaces of its own, offloads as they are by default (checksums, TSO and GSO on). TCP: iperf3, one connection, its \
         client on CPU {CLIENT_CPU}, its server behind the metered interface on CPU {SERVER_CPU}. Latency: datagrams of 64 octets and their \
         answers, one after the other, both ends on CPU {CLIENT_CPU}, so that no wake-up of another CPU is in it; the median of a round. The agent is \
         on CPU {SERVER_CPU}. Set-ups take turns; the first round is thrown away. A veth with native XDP takes TSO away from its peer: compare \
         with the empty program, whose own cost stands beside it."
    )
}

/// Bits per second (nothing where iperf3 is missing), and microseconds of an exchange.
fn measure(agent: &Path, set_up: SetUp, seconds: u64, exchanges: u32) -> Result<(Option<f64>, f64)> {
    let lab = Lab::new(LabOptions::default())?;
    for (namespace, interface) in [(&lab.generator, GENERATOR_INTERFACE), (&lab.monitor, MONITOR_INTERFACE)] {
        namespace.run("ethtool", &["-K", interface, "tx", "on", "tso", "on", "gso", "on"])?;
    }
    let _sink = Sink::start(&lab.monitor, COLLECTOR.parse()?)?;
    let attached = attach(agent, &lab, set_up)?;
    let microseconds = traffic::exchange(&lab, CLIENT_CPU, exchanges)?;
    let bits_per_second = traffic::throughput(&lab, CLIENT_CPU, SERVER_CPU, seconds)?;
    if let Attached::Agent(agent) = attached {
        agent.stop(Signal::INT)?;
    }
    Ok((bits_per_second, microseconds))
}

fn attach(agent: &Path, lab: &Lab, set_up: SetUp) -> Result<Attached> {
    let monitor = &lab.monitor;
    let ingress = || Idle::passing(monitor, MONITOR_INTERFACE);
    let direction = match set_up {
        SetUp::Nothing => return Ok(Attached::Programs(Vec::new())),
        SetUp::IdleIngress => return Ok(Attached::Programs(vec![ingress()?])),
        SetUp::IdleBoth => {
            let egress = Idle::passing_at_egress(monitor, MONITOR_INTERFACE)?;
            return Ok(Attached::Programs(vec![ingress()?, egress]));
        }
        SetUp::NetflowIngress => "ingress",
        SetUp::NetflowBoth => "both",
    };
    let (cpu, url) = (SERVER_CPU.to_string(), format!("udp://{COLLECTOR}"));
    let program = agent.to_string_lossy();
    let arguments = ["-i", MONITOR_INTERFACE, "-c", &url, "--direction", direction];
    let words = ["-c", &cpu, &program];
    Ok(Attached::Agent(AgentProcess::start_program(Path::new("taskset"), monitor, &words, &arguments)?))
}

fn report(all: &[Samples], outcome: &mut Outcome) {
    let throughput =
        |samples: &Samples| Measurement::of(Unit::BitsPerSecond, samples.bits_per_second.iter().copied());
    let latency =
        |samples: &Samples| Measurement::of(Unit::Microseconds, samples.microseconds.iter().copied());
    let mut table = Table::new(
        "",
        &[
            "",
            "TCP, bit/s",
            "% of the empty program's",
            "exchange of datagrams, µs",
            "empty program's in % of it",
        ],
    );
    for samples in all {
        let idle = samples.set_up.idle().and_then(|idle| all.iter().find(|other| other.set_up == idle));
        let ratio = idle.and_then(|idle| percent(&samples.bits_per_second, &idle.bits_per_second));
        // A rate, too: exchanges a second against those of the empty program.
        let rate = idle.and_then(|idle| percent(&idle.microseconds, &samples.microseconds));
        if samples.set_up.idle().is_some() {
            let name = samples.set_up.name();
            let target = |what: &str, value: &Option<Measurement>| {
                let target = Target::at_least(
                    format!("{name}: {what} to the empty program's"),
                    98.0,
                    Unit::Percent,
                    value.as_ref().map(Measurement::median),
                );
                match value {
                    Some(value) => target.because(format!(
                        "rounds of the same set-up went from {:.1} to {:.1} %; what the program adds to a packet is in a, and its drain \
                         shares the two processors with both ends of the connection",
                        value.minimum(),
                        value.maximum()
                    )),
                    None => target,
                }
            };
            outcome.targets.extend([target("TCP throughput", &ratio), target("exchanges a second", &rate)]);
        }
        table.row(
            samples.set_up.name(),
            [throughput(samples).into(), ratio.into(), latency(samples).into(), rate.into()],
        );
    }
    outcome.tables.push(table);
    let bars: Vec<Series> = all
        .iter()
        .filter_map(|samples| Some(Series::bar(samples.set_up.name(), throughput(samples)?.median() / 1e9)))
        .collect();
    if !bars.is_empty() {
        outcome.plots.push(Plot {
            name: "others".to_owned(),
            title: "TCP through a metered interface".to_owned(),
            x_label: String::new(),
            y_label: "Gbit/s".to_owned(),
            kind: PlotKind::Bars,
            series: bars,
        });
    }
}

/// One in hundredths of another, round by round.
fn percent(one: &[f64], other: &[f64]) -> Option<Measurement> {
    Measurement::of(Unit::Percent, one.iter().zip(other).map(|(one, other)| 100.0 * one / other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(set_up: SetUp, bits_per_second: f64, microseconds: f64) -> Samples {
        Samples { set_up, bits_per_second: vec![bits_per_second], microseconds: vec![microseconds] }
    }

    #[test]
    fn the_agent_is_compared_with_empty_programs_at_the_same_places() {
        let all = [
            samples(SetUp::Nothing, 20e9, 8.0),
            samples(SetUp::IdleIngress, 10e9, 10.0),
            samples(SetUp::NetflowIngress, 9.9e9, 10.0),
            samples(SetUp::IdleBoth, 8e9, 10.0),
            samples(SetUp::NetflowBoth, 6e9, 12.5),
        ];
        let mut outcome = Outcome::default();
        report(&all, &mut outcome);
        let measured: Vec<_> = outcome.targets.iter().map(|target| (target.measured, target.met)).collect();
        assert_eq!(
            measured,
            [
                (Some(99.0), Some(true)),
                (Some(100.0), Some(true)),
                (Some(75.0), Some(false)),
                (Some(80.0), Some(false))
            ]
        );
        assert_eq!(outcome.tables[0].rows.len(), 5);
    }
}
