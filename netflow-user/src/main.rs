//! `netflow`: the one binary. Exit 0: stopped as asked; 1: failed while running; 2: bad command line.

use std::process::ExitCode;

use clap::Parser as _;
use netflow_user::{
    cli::{Cli, Command},
    run_command,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = match &cli.command {
        Command::Run(run) => &run.output.log,
        Command::Collect(collect) => &collect.log,
        Command::Read(read) => &read.output.log,
    };
    netflow_user::start_log(log);
    run_command(cli.command)
}
