//! What is sent where, as it was decided.

use std::{num::NonZeroU32, time::Duration};

use netflow_common::SamplingMode;

use super::{CollectorGroup, ConfigError, collectors};
use crate::{
    cli,
    collect::Format,
    kernel::Measure,
    measured::Measured,
    message::{
        Anonymised, DEFAULT_KEY, Group, Groups, InformationElement, KeyElement, LARGEST_INTERVAL,
        MessageError, OptionsKinds, Preset, Protocol, Reported, SamplingMethod, TemplateChoice,
        TemplateOptions, TemplateSet, V5Packer, V5PackerConfig,
    },
    record::anonymisation::{Announcement, Policy},
    time::MonotonicNanos,
    transport::{DEFAULT_LIMIT_IPV4, ExportProtocol, JsonTarget, Target},
};

/// What is sent where.
#[derive(Clone, Debug)]
pub struct ExportConfig {
    /// Collectors; none means the built-in one.
    pub destinations: Vec<Target>,
    /// Those of them that share the records; the others have all of them.
    pub collector_groups: Vec<CollectorGroup>,
    /// Protocol for the built-in collector.
    pub protocol: ExportProtocol,
    /// Observation Domain ID or Source ID.
    pub observation_domain_id: u32,
    /// Template refresh by time.
    pub template_refresh: Duration,
    /// Template refresh by messages.
    pub template_refresh_messages: NonZeroU32,
    /// Options data refresh.
    pub options_refresh: Duration,
    /// Statistics are sent at this interval, and say these timeouts.
    pub statistics: Option<(Duration, Reported)>,
    /// The collector that messages are made for, where it has a preset.
    pub preset: Option<Preset>,
    /// Largest message; `None` is the transport's default.
    pub message_size: Option<usize>,
    /// The Flow Key, for the templates.
    pub key: Vec<KeyElement>,
    /// Groups of further fields.
    pub groups: Groups,
    /// Fields of the operator's choice, in place of those that every record has.
    pub template: Option<TemplateChoice>,
    /// Both directions of a flow are one record.
    pub biflow: bool,
    /// Enterprise number of this exporter's own elements.
    pub enterprise_number: Option<NonZeroU32>,
    /// How packets are sampled, and that one in so many is metered at the start.
    pub sampling: Option<(SamplingMethod, NonZeroU32)>,
    /// Options data say what this exporter is called.
    pub exporter_name: Option<String>,
    /// Options data name the interfaces.
    pub interface_table: bool,
    /// Elements whose values are anonymised.
    pub anonymised: Vec<Anonymised>,
    /// Records per second and destination.
    pub rate: Option<u64>,
    /// How the built-in collector prints.
    pub format: Format,
}

impl ExportConfig {
    pub(super) fn new(
        export: cli::Export,
        measured: &Measured,
        rate: u64,
        format: cli::Format,
    ) -> Result<Self, ConfigError> {
        let protocol = match export.protocol {
            cli::Protocol::Ipfix => ExportProtocol::Ipfix,
            cli::Protocol::V9 => ExportProtocol::NetflowV9,
            cli::Protocol::V5 => ExportProtocol::NetflowV5,
        };
        let message_size = match export.message_size {
            None => None,
            Some(octets @ 512..=65_507) => Some(octets as usize),
            Some(octets) => return Err(ConfigError::MessageSize { octets }),
        };
        let (destinations, collector_groups) =
            collectors::read(&export.collector, &export.collector_mode, protocol)?;
        let config = Self {
            destinations,
            collector_groups,
            protocol,
            observation_domain_id: export.observation_domain,
            template_refresh: export.template_refresh,
            template_refresh_messages: export.template_refresh_packets,
            options_refresh: export.options_refresh,
            preset: None,
            statistics: (!export.statistics_interval.is_zero())
                .then_some((export.statistics_interval, Reported::default())),
            sampling: sampling(&measured.measure),
            interface_table: export.interface_table,
            exporter_name: export.exporter_name.clone(),
            anonymised: Vec::new(),
            message_size,
            key: measured.key.clone(),
            groups: measured.groups,
            template: measured.template.clone(),
            biflow: measured.biflow,
            enterprise_number: measured.enterprise_number,
            rate: (rate > 0).then_some(rate),
            format: super::format(format),
        };
        let is_stdout = |target: &&Target| matches!(target, Target::Json(JsonTarget::Stdout));
        if config.destinations.iter().filter(is_stdout).count() > 1 {
            return Err(ConfigError::StandardOutputTwice);
        }
        // What a protocol cannot say is better known now than at the first record.
        for target in &config.destinations {
            if let Some(given) = target.preset().filter(|name| Preset::by_name(name).is_none()) {
                return Err(ConfigError::Preset { given: given.to_owned() });
            }
            config.of(target).check(target.protocol())?;
        }
        if config.destinations.is_empty() {
            config.check(config.protocol)?;
        }
        Ok(config)
    }

    /// The same for one destination: with its preset.
    #[must_use]
    pub fn of(&self, target: &Target) -> Self {
        Self { preset: target.preset().and_then(Preset::by_name), ..self.clone() }
    }

    /// Whether the session with a destination can go on where `after` follows this configuration: its messages are made in
    /// the same way. How often something is said again, and how fast records go, makes no difference.
    pub fn is_same_session(&self, after: &Self, target: &Target) -> bool {
        // JSON has no options data, and says nothing of anonymisation.
        let is_told = !matches!(target, Target::Json(_));
        let way = |config: &Self| {
            let options = config.template_options(target.protocol()).ok().flatten().map(|mut options| {
                if let Some(statistics) = &mut options.options.statistics {
                    *statistics = Reported::default();
                }
                if !is_told {
                    options.options.anonymised = Vec::new();
                }
                options
            });
            let v5 = config.v5_options().ok().filter(|_| options.is_none());
            // Where addresses are anonymised the exporter's own is not told either.
            let is_open = !is_told || config.anonymised.is_empty();
            (config.observation_domain_id, config.message_size, is_open, options, v5)
        };
        way(&self.of(target)) == way(&after.of(target))
    }

    fn check(&self, protocol: ExportProtocol) -> Result<(), MessageError> {
        match self.template_options(protocol)? {
            Some(options) => TemplateSet::new(&options).map(drop),
            None => self.v5_options().and_then(V5Packer::new).map(drop),
        }
    }

    /// Statistics say when flows end.
    pub(super) fn reporting(mut self, flows: &cli::Flows) -> Self {
        let seconds = |time: Duration| time.as_millis().div_ceil(1000).try_into().unwrap_or(u16::MAX);
        if let Some((_, reported)) = &mut self.statistics {
            *reported = Reported {
                active_timeout: seconds(flows.active_timeout),
                idle_timeout: seconds(flows.idle_timeout),
            };
        }
        self
    }

    /// Options data say what becomes of addresses (RFC 6235 section 6.1).
    pub(super) fn announcing(mut self, policy: Option<&Policy>) -> Self {
        let announcements = policy.map(Policy::announcements).unwrap_or_default();
        self.anonymised = announcements
            .into_iter()
            .map(|Announcement { element_id, flags, technique }| Anonymised { element_id, flags, technique })
            .collect();
        self
    }

    /// What the records of a destination hold; `None`: v5 has no templates.
    ///
    /// # Errors
    /// What the collector of the preset does not stand.
    pub fn template_options(
        &self,
        protocol: ExportProtocol,
    ) -> Result<Option<TemplateOptions>, MessageError> {
        let Some(protocol) = message_protocol(protocol) else { return Ok(None) };
        let options = TemplateOptions {
            protocol,
            key: self.key.clone(),
            groups: self.groups,
            biflow: self.biflow,
            enterprise_number: self.enterprise_number,
            choice: self.template.clone(),
            low_tcp_control_bits: false,
            options: OptionsKinds {
                sampling: self.sampling.map(|(method, _)| method),
                interfaces: self.interface_table,
                exporter_name: self.exporter_name.clone(),
                // Collectors take the default key in the default records for granted.
                flow_keys: self.key != DEFAULT_KEY || self.template.is_some(),
                statistics: self.statistics.map(|(_, reported)| reported),
                anonymised: self.anonymised.clone(),
                ..OptionsKinds::default()
            },
        };
        match self.preset {
            Some(preset) => preset.apply(options).map(Some),
            None => Ok(Some(options)),
        }
    }

    /// What a v5 session is made of.
    ///
    /// # Errors
    /// What the fixed record has no room for. (Options data of v5 are the rate of sampling and nothing else.)
    pub fn v5_options(&self) -> Result<V5PackerConfig, MessageError> {
        if let Some(group) = self.groups.iter().find(|&group| group != Group::Route) {
            return Err(MessageError::NotInNetflowV5 { what: group.name() });
        }
        if self.biflow {
            return Err(MessageError::NotInNetflowV5 { what: "biflows" });
        }
        if self.template.is_some() {
            return Err(MessageError::NotInNetflowV5 { what: "--template" });
        }
        if let Some((_, given)) = self.sampling.filter(|(_, one_in)| one_in.get() > LARGEST_INTERVAL) {
            return Err(MessageError::SamplingIntervalOfV5 { given });
        }
        let prefix = |address| {
            self.key.iter().find(|part| part.element == address).and_then(|part| part.prefix_length)
        };
        Ok(V5PackerConfig {
            observation_domain_id: self.observation_domain_id,
            sampling: self.sampling.map(|(method, _)| method),
            prefix_lengths: [
                prefix(InformationElement::SOURCE_IPV4_ADDRESS),
                prefix(InformationElement::DESTINATION_IPV4_ADDRESS),
            ],
            sys_up_time_origin: MonotonicNanos(0),
            message_size: DEFAULT_LIMIT_IPV4,
        })
    }
}

/// What collectors are told of sampling.
fn sampling(measure: &Measure) -> Option<(SamplingMethod, NonZeroU32)> {
    let method = match measure.sampling {
        SamplingMode::Off => return None,
        SamplingMode::Count => SamplingMethod::Count,
        SamplingMode::Random => SamplingMethod::Random,
        SamplingMode::FlowHash => SamplingMethod::FlowHash,
    };
    Some((method, measure.sampling_interval))
}

/// The message room's word for the transport's: the two rooms do not know each other.
fn message_protocol(protocol: ExportProtocol) -> Option<Protocol> {
    match protocol {
        ExportProtocol::Ipfix => Some(Protocol::Ipfix),
        ExportProtocol::NetflowV9 => Some(Protocol::NetflowV9),
        ExportProtocol::NetflowV5 => None,
    }
}
