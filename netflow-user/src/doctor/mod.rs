//! `netflow doctor`: looks whether this host, its interfaces and the collectors are as the agent needs them, before it runs
//! or while it does.
//!
//! In: what `netflow run` would be given. Out: findings, each with a remedy. This room changes nothing: it loads programs
//! into maps of its own and attaches none, connects and sends nothing, and removes the one file that it makes.

mod collectors;
mod finding;
mod host;
mod interfaces;
mod loop_back;
mod offloads;
mod probe;
mod wall_clock;

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

pub use self::finding::{Finding, Report, Verdict};
use crate::{
    config::DoctorConfig,
    control::{self, Place},
    kernel, metrics,
};

/// Looks at everything and prints what was found; whether there is no fault.
///
/// # Errors
/// Standard output takes nothing.
pub async fn run(config: DoctorConfig) -> io::Result<bool> {
    let report = look(&config).await;
    let mut out = io::stdout().lock();
    if config.json {
        report.write_json(&mut out)?;
    } else {
        writeln!(out, "{report}")?;
    }
    out.flush()?;
    Ok(report.count(Verdict::Fault) == 0)
}

async fn look(config: &DoctorConfig) -> Report {
    let run = &config.run;
    let sizes = kernel::planned(&run.load);
    let host = host::Host::look(sizes, (run.load.map_size, run.load.flow_table), run.flows.cache_size.get());
    let mut findings = host.judge();
    if kernel::missing_capabilities().is_none() {
        findings.extend(probe::look(&run.load));
    } else {
        findings
            .push(Finding::unknown("meter", "whether its programs load can be tried with privileges only"));
    }
    findings.extend(interfaces::look(run, sizes.cpus).await);
    findings.extend(collectors::look(&run.export).await);
    findings.extend(running_agent(config));
    findings.extend(metrics_address(config));
    findings.extend(loop_back::look(&run.export).await);
    Report { findings }
}

/// Whether an agent runs already and answers where this one would.
fn running_agent(config: &DoctorConfig) -> Option<Finding> {
    let path = match &config.run.control {
        Place::None => return None,
        Place::Default => Path::new(control::DEFAULT_PATH),
        Place::At(path) => path.as_path(),
    };
    let shown = path.display();
    Some(match UnixStream::connect(path) {
        Ok(_) => {
            Finding::ok("agent", format!("one runs and answers at {shown}; `netflow show ledger` asks it"))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Finding::unknown("agent", format!("{shown} may not be asked: {error}"))
        }
        Err(_) => Finding::ok("agent", format!("none answers at {shown}")),
    })
}

/// An agent that runs already has the place where this one would serve its metrics.
fn metrics_address(config: &DoctorConfig) -> Option<Finding> {
    let address = config.run.metrics?.address;
    Some(match metrics::Listener::open(address) {
        Ok(_) => Finding::ok("metrics", format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Finding::warning(
            "metrics",
            format!("{address} is taken: an agent runs already, or another program has it"),
        )
        .with(format!("curl -s http://{address}/metrics | head -3")),
        Err(error) => Finding::warning("metrics", format!("cannot be served at {address}: {error}"))
            .with("netflow run --metrics ADDRESS:PORT ..."),
    })
}
