//! The project's own verbs: `cargo xtask VERB`. This file knows their names, each verb lives in its own.

mod bench;
mod bpf_toolchain;
mod ci;
mod conformance;
mod counts;
mod package;
mod process;
mod run;
mod setup;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask VERB

  setup                 find or install what builds the kernel program
  run [-- ARGS]         set up, build, run `netflow run` (or `netflow ARGS`, if ARGS begin with a subcommand)
  build                 set up, build the release binary
  test [FILTER]...      set up, install what the tests need, run all tests; kernel tests as root
  kernel-tests [FILTER]...  only the tests that need root
  tidy                  the project's own checks: file sizes, dependencies between rooms, the kernel object
  conformance           each requirement of the standards on an exporter, and the test that shows it
  bench [--quick] [--only PART,...] [--output DIR]
                        measure what metering and exporting cost on this machine, beside other exporters, as root
  counts [--update]     instructions of the kernel's programs and of the agent's stages, against the recorded ones
  package [--check]     a Debian package, a static tarball, the root of a container, in target/package; --check
                        boots a clean Debian and installs, upgrades and purges there, and starts the others, as root
  vm                    boot Debian's 5.10 and 6.1 kernels in qemu, load every program there, meter packets
  ci                    format, clippy, tidy, documentation, then test";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match verb(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn verb(arguments: &[String]) -> Result<ExitCode> {
    let Some((verb, rest)) = arguments.split_first() else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    let takes_arguments =
        matches!(verb.as_str(), "run" | "test" | "kernel-tests" | "bench" | "counts" | "package");
    if !takes_arguments && let Some(unexpected) = rest.first() {
        bail!("`{verb}` takes no arguments, found `{unexpected}`");
    }
    match verb.as_str() {
        "setup" => setup::setup().map(drop)?,
        "build" => run::build().map(drop)?,
        "run" => return run::run(rest),
        "test" => test::all(rest)?,
        "kernel-tests" => test::privileged_only(rest)?,
        "tidy" => tidy::tidy()?,
        "conformance" => conformance::conformance()?,
        "bench" => return bench::bench(rest),
        "counts" => counts::counts(rest)?,
        "package" => package::package(rest)?,
        "vm" => vm::vm()?,
        "ci" => ci::ci()?,
        "help" | "-h" | "--help" => println!("{USAGE}"),
        unknown => {
            eprintln!("xtask: no verb `{unknown}`\n\n{USAGE}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
