//! Writes what packages have beside the binary: man pages, and completions of shells, all from the definitions of the command
//! line. `manuals DIRECTORY` makes `man/*.1`, `bash/netflow`, `zsh/_netflow`, `fish/netflow.fish` and `netflow.toml` there.

use std::{error::Error, fs, path::PathBuf};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};
use netflow_user::cli::{Cli, defaults};

fn main() -> Result<(), Box<dyn Error>> {
    let directory: PathBuf = std::env::args_os().nth(1).ok_or("usage: manuals DIRECTORY")?.into();
    let man = directory.join("man");
    fs::create_dir_all(&man)?;
    // Subcommands have pages of their own: netflow-run(1).
    clap_mangen::generate_to(Cli::command(), &man)?;
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let place = directory.join(name);
        fs::create_dir_all(&place)?;
        generate_to(shell, &mut Cli::command(), "netflow", &place)?;
    }
    fs::write(directory.join("netflow.toml"), defaults())?;
    Ok(())
}
