//! `netflow run` with a fault, for tests that must notice it: the first argument names the fault, the second the CPU
//! to run on, the rest is the command line of `netflow`.

use std::env;
use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser as _;
use netflow_user::Decided;
use netflow_user::cli::{Cli, Command};
use netflow_user::config::{RunConfig, Sources};
use netflow_user::drain::Place;
use netflow_user::kernel::Flip;
use rustix::thread::{CpuSet, sched_setaffinity};

fn main() -> Result<ExitCode> {
    let mut arguments = env::args();
    let program = arguments.next().context("no program name")?;
    let fault = arguments.next().context("no fault")?;
    let cpu = arguments.next().context("no CPU")?;

    let Command::Run(run) = Cli::parse_from([program].into_iter().chain(arguments)).command else {
        bail!("only `run` can have a fault");
    };
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    let mut config = RunConfig::new(*run)?;
    // On the CPU of the packets a program never stands still half-way, so that there would be nothing to notice.
    config.drain_place = Place::AnyCpu;
    config.flip = match fault.as_str() {
        "live" => Flip::Live,
        "no-wait" => Flip::NoWait,
        "none" => Flip::Wait,
        other => bail!("no such fault: {other}"),
    };
    let mut cpus = CpuSet::new();
    cpus.set(cpu.parse()?);
    sched_setaffinity(None, &cpus)?;
    let sources = Sources::new(Vec::new(), Vec::new());
    Ok(Decided::Run(Box::new(config), sources).run(|line| eprintln!("{line}")))
}
