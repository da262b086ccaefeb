//! The configuration once more, from where it came from: for a reload.

use std::{env, ffi::OsString, fmt};

use super::RunConfig;
use crate::{
    agent::chain,
    cli::{self, Cli, Command, Effective, Typed},
};

/// Where the configuration of `netflow run` came from: a command line, the environment, and a file that may say
/// something else by now.
#[derive(Clone, Debug)]
pub struct Sources {
    arguments: Vec<OsString>,
    /// As they are in force.
    effective: Vec<Effective>,
}

/// One option whose values are others than they were.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The option's long name.
    pub option: String,
    /// Values before.
    pub from: Vec<String>,
    /// Values now.
    pub to: Vec<String>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |values: &[String]| match values {
            [] => "none".to_owned(),
            values => values.join(" "),
        };
        write!(f, "{} is {} (was {})", self.option, words(&self.to), words(&self.from))
    }
}

/// A configuration that was read again.
#[derive(Debug)]
pub struct Reread {
    /// All of it.
    pub config: RunConfig,
    /// What is another than before.
    pub changed: Vec<Changed>,
    effective: Vec<Effective>,
}

impl Sources {
    /// Those of a configuration that is in force.
    pub fn new(arguments: Vec<OsString>, effective: Vec<Effective>) -> Self {
        Self { arguments, effective }
    }

    /// Reads them again.
    ///
    /// # Errors
    /// What cannot be, in one line.
    pub fn read(&self) -> Result<Reread, String> {
        let typed = cli::read(&self.arguments, |variable| env::var_os(variable));
        let Typed { cli: Cli { command }, effective, .. } = typed.map_err(|error| error.to_string())?;
        let Command::Run(run) = command else { return Err("it is no configuration of `run`".to_owned()) };
        let config = RunConfig::new(*run).map_err(|error| chain(&error))?;
        let changed = self.effective.iter().filter_map(|before| {
            let now = effective.iter().find(|now| now.option == before.option)?;
            (now.values != before.values).then(|| Changed {
                option: now.option.clone(),
                from: before.values.clone(),
                to: now.values.clone(),
            })
        });
        Ok(Reread { changed: changed.collect(), config, effective })
    }

    /// What was read is in force now.
    pub fn accept(&mut self, reread: &Reread) {
        self.effective.clone_from(&reread.effective);
    }
}
