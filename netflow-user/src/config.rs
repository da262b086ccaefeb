//! What was decided: values that are already right. The one reader of `cli`.

mod collectors;
mod control;
mod error;
mod export;
mod metrics;
mod needs;
mod sources;

use std::{env, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

pub use self::{
    collectors::{CollectorGroup, CollectorMode},
    control::AskConfig,
    error::ConfigError,
    export::ExportConfig,
    metrics::MetricsConfig,
    sources::{Changed, Reread, Sources},
};
use crate::{
    agent::OnOverload,
    cli,
    collect::{Format, ListenUrl},
    drain::Place,
    filter::{Filter, FilterError},
    flow_cache::Timeouts,
    interface::Selection,
    kernel::{Direction, Flip, LoadOptions, Measure, OwnExport, XdpMode, default_kernel_memory},
    measured::Measured,
    privileges::User,
    record::anonymisation::{Key, Policy},
    transport::Target,
};

/// `netflow run`.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Interfaces by name and glob; none means that of the default route.
    pub interfaces: Selection,
    /// XDP mode.
    pub xdp_mode: XdpMode,
    /// Which packets; `None`: by the number of interfaces.
    pub direction: Option<Direction>,
    /// Tap mode although the host uses the interface.
    pub tap_anyway: bool,
    /// Promiscuous mode.
    pub promiscuous: bool,
    /// What the kernel program is told.
    pub load: LoadOptions,
    /// What to do when the kernel's maps fill up.
    pub on_overload: OnOverload,
    /// Time between drains.
    pub drain_interval: Duration,
    /// How a generation is frozen.
    pub flip: Flip,
    /// Where it is drained.
    pub drain_place: Place,
    /// Flow cache.
    pub flows: FlowsConfig,
    /// Records say where their packets go.
    pub routes: bool,
    /// What records do not show.
    pub anonymisation: Option<Policy>,
    /// Export.
    pub export: ExportConfig,
    /// Where the books are written.
    pub ledger_file: Option<PathBuf>,
    /// Where questions are answered.
    pub control: crate::control::Place,
    /// Where metrics are served.
    pub metrics: Option<MetricsConfig>,
    /// Files that a reload reads again, where they are.
    pub read_again: Vec<PathBuf>,
    /// Whom the agent runs as, if that is said.
    pub user: Option<User>,
}

/// `netflow read`.
#[derive(Clone, Debug)]
pub struct ReadConfig {
    /// The capture.
    pub file: PathBuf,
    /// What is measured.
    pub measure: Measure,
    /// Which packets are metered.
    pub filter: Option<Arc<Filter>>,
    /// Flow cache.
    pub flows: FlowsConfig,
    /// What records do not show.
    pub anonymisation: Option<Policy>,
    /// Export.
    pub export: ExportConfig,
    /// Where the books are written.
    pub ledger_file: Option<PathBuf>,
}

/// `netflow doctor`.
#[derive(Clone, Debug)]
pub struct DoctorConfig {
    /// What `netflow run` would be given.
    pub run: RunConfig,
    /// Findings are printed as JSON.
    pub json: bool,
}

/// `netflow collect`.
#[derive(Clone, Debug)]
pub struct CollectConfig {
    /// Files to read instead of listening.
    pub files: Vec<PathBuf>,
    /// Where to listen.
    pub listen: Vec<ListenUrl>,
    /// How to print.
    pub format: Format,
}

/// When flows end.
#[derive(Clone, Copy, Debug)]
pub struct FlowsConfig {
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Flows in the cache.
    pub cache_size: NonZeroU32,
}

impl RunConfig {
    /// Decides.
    ///
    /// # Errors
    /// What cannot be, in one line.
    pub fn new(run: cli::Run) -> Result<Self, ConfigError> {
        let drain_interval = run.drain_interval;
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&drain_interval) {
            return Err(ConfigError::DrainInterval { given: drain_interval });
        }
        if run.map_size.get() > 1 << 24 {
            return Err(ConfigError::MapSize { given: run.map_size.get() });
        }
        if run.flow_table_size > 1 << 24 {
            return Err(ConfigError::FlowTableSize { given: run.flow_table_size });
        }
        let interfaces = Selection::new(&run.interface, &run.exclude_interface)?;
        let named = run.config.clone().or_else(|| env::var_os("NETFLOW_CONFIG").map(PathBuf::from));
        let read_again = [named, Some(cli::DEFAULT_FILE.into()), run.anonymise.anonymisation_key.clone()];
        let anonymisation = anonymisation(run.anonymise)?;
        let tap = run.tap || run.tap_anyway;
        let on_overload = match run.on_overload {
            cli::OnOverload::Count => OnOverload::Count,
            cli::OnOverload::Sample => OnOverload::Sample,
        };
        // The program is made to sample, at first every packet, where it may have to.
        let sampling = match (on_overload, run.sampling.as_str()) {
            (OnOverload::Sample, "off") => "random:1",
            (_, sampling) => sampling,
        };
        let measured = Measured::new(&run.measured, sampling)?;
        let export = ExportConfig::new(run.export, &measured, run.export_rate, run.output.format)?
            .reporting(&run.flows)
            .announcing(anonymisation.as_ref());
        Ok(Self {
            interfaces,
            xdp_mode: match run.xdp_mode {
                cli::XdpMode::Auto => XdpMode::Auto,
                cli::XdpMode::Native => XdpMode::Native,
                cli::XdpMode::Tc => XdpMode::Tc,
                cli::XdpMode::Generic => XdpMode::Generic,
            },
            direction: match run.direction {
                Some(cli::Direction::Ingress) => Some(Direction::Ingress),
                Some(cli::Direction::Egress) => Some(Direction::Egress),
                Some(cli::Direction::Both) => Some(Direction::Both),
                // What is dropped goes no further; what a mirror port sends is nobody's traffic.
                None if tap => Some(Direction::Ingress),
                None => None,
            },
            tap_anyway: run.tap_anyway,
            promiscuous: match run.promiscuous {
                cli::Promiscuous::Auto => tap,
                cli::Promiscuous::On => true,
                cli::Promiscuous::Off => false,
            },
            load: LoadOptions {
                map_size: run.map_size.get(),
                flow_table: run.flow_table_size,
                kernel_memory: run.kernel_memory.unwrap_or_else(default_kernel_memory),
                precise_clock: run.clock == cli::Clock::Precise,
                tap,
                explain: run.output.log.log_level >= crate::log::Level::Debug,
                measure: measured.measure,
                filter: filter(run.filter.as_deref())?,
                own_connections: export.destinations.iter().any(Target::has_connections),
                own_export: match run.exclude_own_export {
                    cli::ExcludeOwnExport::On => OwnExport::LeftOutWhereSent,
                    cli::ExcludeOwnExport::Off => OwnExport::Metered,
                },
            },
            on_overload,
            drain_interval,
            flip: Flip::default(),
            drain_place: Place::default(),
            flows: FlowsConfig::new(&run.flows)?,
            routes: run.routes == cli::Routes::On,
            export,
            anonymisation,
            ledger_file: run.output.ledger_file,
            control: control::place(run.control_socket),
            metrics: MetricsConfig::new(run.metrics.as_deref())?,
            read_again: read_again.into_iter().flatten().collect(),
            user: run.user.as_deref().map(User::find).transpose()?,
        })
    }
}

impl DoctorConfig {
    /// Decides.
    ///
    /// # Errors
    /// What cannot be, in one line.
    pub fn new(doctor: cli::Doctor) -> Result<Self, ConfigError> {
        Ok(Self { run: RunConfig::new(doctor.run)?, json: doctor.json })
    }
}

impl ReadConfig {
    /// Decides.
    ///
    /// # Errors
    /// What cannot be, in one line.
    pub fn new(read: cli::Read) -> Result<Self, ConfigError> {
        let measured = Measured::new(&read.measured, "off")?;
        let anonymisation = anonymisation(read.anonymise)?.map(Policy::without_interfaces).transpose()?;
        Ok(Self {
            file: read.file,
            measure: measured.measure,
            filter: filter(read.filter.as_deref())?,
            flows: FlowsConfig::new(&read.flows)?,
            export: ExportConfig::new(read.export, &measured, read.export_rate, read.output.format)?
                .reporting(&read.flows)
                .announcing(anonymisation.as_ref()),
            anonymisation,
            ledger_file: read.output.ledger_file,
        })
    }
}

impl CollectConfig {
    /// Decides.
    ///
    /// # Errors
    /// What is no address to listen on.
    pub fn new(collect: cli::Collect) -> Result<Self, ConfigError> {
        Ok(Self {
            files: collect.files,
            listen: collect.listen.iter().map(|url| ListenUrl::parse(url)).collect::<Result<_, _>>()?,
            format: format(collect.format),
        })
    }
}

impl FlowsConfig {
    fn new(flows: &cli::Flows) -> Result<Self, ConfigError> {
        Ok(Self {
            timeouts: Timeouts::new(flows.idle_timeout, flows.active_timeout, flows.end_linger)?,
            cache_size: flows.cache_size,
        })
    }
}

fn filter(expression: Option<&str>) -> Result<Option<Arc<Filter>>, FilterError> {
    expression.map(|expression| Filter::compile(expression).map(Arc::new)).transpose()
}

/// Reads the key, once.
fn anonymisation(anonymise: cli::Anonymise) -> Result<Option<Policy>, ConfigError> {
    let key = anonymise.anonymisation_key.as_deref().map(Key::read).transpose()?;
    Ok(Policy::new(anonymise.anonymise, key)?)
}

fn format(format: cli::Format) -> Format {
    match format {
        cli::Format::Table => Format::table(),
        cli::Format::Json => Format::Json,
    }
}
