//! `netflow-bench`: runs the parts that were asked for and writes what came out. `cargo xtask bench` builds and starts it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Parser;
use netflow_bench::{
    Context, Outcome, Part,
    machine::{Machine, NoiseWatch},
    memory,
    parts::PARTS,
    report::{self, PartResult, Results},
};

/// A day: longer than any part.
const NO_LIMIT: Duration = Duration::from_secs(86_400);

#[derive(Parser)]
#[command(name = "netflow-bench", about = "Measures what metering and exporting cost on this machine")]
struct Arguments {
    /// Fewer cases and rounds: all parts together take less than three minutes
    #[arg(long)]
    quick: bool,
    /// Only these parts, of a to f
    #[arg(long, value_delimiter = ',', value_name = "PART,...")]
    only: Vec<char>,
    /// Where results.md, results.json and the plots are written
    #[arg(long, value_name = "DIR", default_value = "bench")]
    output: PathBuf,
    /// Write the results into README too
    #[arg(long)]
    readme: bool,
    /// Print what a flow takes of a cache of so many, and nothing else
    #[arg(long, hide = true, value_name = "FLOWS")]
    octets_per_flow: Option<u32>,
    /// The release binary of the agent
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netflow-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(flows) = arguments.octets_per_flow {
        let [first, again] = memory::octets_per_flow(flows)?;
        println!("{first} {again}");
        return Ok(());
    }
    let parts = chosen(&arguments.only)?;
    let machine = Machine::here();
    let watch = NoiseWatch::begin();
    let parts: Vec<PartResult> = parts.iter().map(|part| measure(part, arguments)).collect();
    let is_full = !arguments.quick && parts.len() == PARTS.len();
    let results = Results { machine, noise: watch.end(), is_full, parts };
    report::write(&results, &arguments.output)?;
    if arguments.readme {
        report::write_readme(&arguments.output, Path::new("README.md"))?;
    }
    print!("{}", report::markdown(&results));
    eprintln!("written to {}", arguments.output.display());
    Ok(())
}

/// The parts that were asked for, all where none was named.
fn chosen(only: &[char]) -> Result<Vec<Part>> {
    if let Some(unknown) = only.iter().find(|letter| PARTS.iter().all(|part| part.letter != **letter)) {
        bail!("there is no part `{unknown}`: the parts are a to f");
    }
    Ok(PARTS.into_iter().filter(|part| only.is_empty() || only.contains(&part.letter)).collect())
}

/// Runs one part. What fails is said in its place.
fn measure(part: &Part, arguments: &Arguments) -> PartResult {
    eprintln!("{}. {} ...", part.letter, part.title);
    let begin = Instant::now();
    let context = Context {
        quick: arguments.quick,
        until: begin + if arguments.quick { part.quick } else { NO_LIMIT },
        binary: arguments.binary.clone(),
    };
    let outcome = (part.run)(&context).unwrap_or_else(|error| Outcome {
        not_run: vec![format!("{error:#}").replace('\n', " ")],
        ..Outcome::default()
    });
    for line in &outcome.not_run {
        eprintln!("  not run: {line}");
    }
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("  took {seconds:.0} s");
    PartResult { letter: part.letter, title: part.title.to_owned(), seconds, outcome }
}
