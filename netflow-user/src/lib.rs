//! The agent, room by room in the order of the data path:
//! packet -> map -> drain -> flow cache -> record -> message -> transport.

pub mod capture;
pub mod filter;
pub mod interface;
pub mod kernel;

pub mod drain;
pub mod flow_cache;
pub mod record;
pub mod route;

pub mod message;
pub mod transport;

pub mod collect;

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod doctor;
pub mod framing;
pub mod key;
pub mod ledger;
pub mod log;
pub mod measured;
pub mod metrics;
pub mod privileges;
pub mod time;

use std::process::ExitCode;

use crate::config::{AskConfig, CollectConfig, DoctorConfig, ReadConfig, RunConfig, Sources};

/// A command with its configuration.
pub enum Decided {
    /// `netflow run`, and where its configuration came from.
    Run(Box<RunConfig>, Sources),
    /// `netflow read`.
    Read(Box<ReadConfig>),
    /// `netflow collect`.
    Collect(CollectConfig),
    /// `netflow show` and whatever else asks a running agent.
    Ask(AskConfig),
    /// `netflow doctor`.
    Doctor(Box<DoctorConfig>),
    /// `netflow top`.
    Top(control::Top),
}

impl Decided {
    /// Runs it to its end; an error is one line, handed to `say`.
    pub fn run(self, say: impl Fn(&str)) -> ExitCode {
        match &self {
            Self::Ask(config) => {
                return ended(control::ask_and_print(&config.socket, &config.request, config.is_json), say);
            }
            Self::Top(config) => return ended(control::top(config), say),
            Self::Run(..) | Self::Read(_) | Self::Collect(_) | Self::Doctor(_) => {}
        }
        // Before there is another thread.
        let parted = match &self {
            Self::Run(config, _) => match privileges::part(&config.needs()) {
                Ok(parted) => Some(parted),
                Err(error) => {
                    say(&agent::chain(&error));
                    return ExitCode::FAILURE;
                }
            },
            Self::Read(_) | Self::Collect(_) | Self::Ask(_) | Self::Doctor(_) | Self::Top(_) => None,
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                say(&format!("cannot start threads: {error}"));
                return ExitCode::FAILURE;
            }
        };
        if let Self::Doctor(config) = self {
            let looked = runtime.block_on(doctor::run(*config));
            runtime.shutdown_background();
            return match looked {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => ended(Err(error), say),
            };
        }
        let result = runtime.block_on(async {
            match self {
                Self::Run(config, sources) => match &parted {
                    Some(parted) => agent::run(*config, sources, parted).await,
                    None => Ok(()),
                },
                Self::Read(config) => agent::read(*config).await,
                Self::Collect(config) => agent::collect(config).await,
                Self::Ask(_) | Self::Doctor(_) | Self::Top(_) => Ok(()),
            }
        });
        // A thread that writes to an output that takes nothing does not keep the process.
        runtime.shutdown_background();
        if let Some(parted) = parted {
            parted.end();
        }
        ended(result, say)
    }
}

fn ended<E: std::error::Error>(result: Result<(), E>, say: impl Fn(&str)) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&agent::chain(&error));
            ExitCode::FAILURE
        }
    }
}
