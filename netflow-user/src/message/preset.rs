//! Presets: what collectors that trip over something legal are spared.
//!
//! In: what records and options data are to hold. Out: the same without the traps of a collector, each written down
//! where it is avoided. Where a collector reads the default as it is, its preset changes nothing, and says so.

use super::{MessageError, SamplingMethod, TemplateOptions};

/// A collector by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Preset {
    /// nfdump's nfcapd.
    Nfdump,
    /// pmacct's nfacctd.
    Pmacct,
    /// goflow2.
    Goflow2,
    /// ElastiFlow.
    Elastiflow,
    /// Wireshark and tshark.
    Wireshark,
    /// SiLK.
    Silk,
    /// ntopng behind nProbe.
    Ntopng,
    /// Akvorado.
    Akvorado,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Nfdump,
        Self::Pmacct,
        Self::Goflow2,
        Self::Elastiflow,
        Self::Wireshark,
        Self::Silk,
        Self::Ntopng,
        Self::Akvorado,
    ];

    /// What the operator calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nfdump => "nfdump",
            Self::Pmacct => "pmacct",
            Self::Goflow2 => "goflow2",
            Self::Elastiflow => "elastiflow",
            Self::Wireshark => "wireshark",
            Self::Silk => "silk",
            Self::Ntopng => "ntopng",
            Self::Akvorado => "akvorado",
        }
    }

    /// The preset of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// Takes out what the collector does not stand.
    ///
    /// # Errors
    /// What was asked for and would be lost there.
    pub fn apply(self, mut options: TemplateOptions) -> Result<TemplateOptions, MessageError> {
        match self {
            Self::Nfdump => {
                // TRAP-3: it counts flow records only, so that each record of options data is a "sequence failure" to it.
                // What it reads stays: the rate of sampling and the table of interfaces.
                options.options.statistics = None;
                options.options.exporter_name = None;
                options.options.flow_keys = false;
                options.options.anonymised = Vec::new();
                options.options.rate_only = true;
                options.options.without_types = true;
            }
            Self::Pmacct => {
                // TRAP-16: 1.7.7 shows control bits of two octets as 0.
                options.low_tcp_control_bits = true;
                self.refuse_biflow(&options)?;
            }
            Self::Goflow2 => {
                // TRAP-6: it takes samplingPacketInterval, which is 1, for the rate.
                options.options.rate_only = true;
                self.refuse_biflow(&options)?;
            }
            Self::Akvorado => {
                // It drops the flows of an exporter that tells no rate ("sampling rate missing").
                if options.options.sampling.is_none() {
                    options.options.sampling = Some(SamplingMethod::Count);
                    options.options.rate_only = true;
                }
                options.options.rate_of_one = true;
            }
            // Their traps are avoided by the default: TRAP-9, 11, 17 of the logstash codec; TRAP-25 of tshark, withdrawals;
            // TRAP-22 of converters from v9 to IPFIX, as SiLK's; total counts, which nProbe took for delta counts.
            Self::Elastiflow | Self::Wireshark | Self::Silk | Self::Ntopng => {}
        }
        Ok(options)
    }

    /// TRAP-26: reverse elements are dropped, and half of the traffic with them.
    fn refuse_biflow(self, options: &TemplateOptions) -> Result<(), MessageError> {
        if options.biflow {
            return Err(MessageError::BiflowForPreset { preset: self.name() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::message::{OptionsKinds, Protocol, Reported, TemplateSet};

    fn options(protocol: Protocol) -> TemplateOptions {
        let options = OptionsKinds {
            sampling: Some(SamplingMethod::Count),
            interfaces: true,
            flow_keys: true,
            exporter_name: Some("edge".to_owned()),
            statistics: Some(Reported::default()),
            ..OptionsKinds::default()
        };
        TemplateOptions { options, ..TemplateOptions::new(protocol) }
    }

    /// Template ids, and the octets of IPFIX control bits.
    fn of(preset: Option<Preset>, protocol: Protocol) -> (Vec<u16>, Vec<u16>, Vec<u16>) {
        let options = options(protocol);
        let options = preset.map_or(Ok(options.clone()), |preset| preset.apply(options.clone())).unwrap();
        let set = TemplateSet::new(&options).unwrap();
        let fields = set.templates().iter().flat_map(|template| &template.fields);
        (
            set.templates().iter().map(|template| template.id).collect(),
            fields.filter(|field| field.id() == 6).map(|field| field.length).collect(),
            set.options_templates().iter().map(|template| template.id).collect(),
        )
    }

    #[test]
    fn each_preset_takes_out_the_trap_of_its_collector() {
        // TRAP-3, TRAP-6, TRAP-16
        let (ids, lengths, options) = of(Some(Preset::Nfdump), Protocol::Ipfix);
        assert_eq!((ids, lengths, options), (vec![256, 257], vec![2, 2], vec![516, 522]));
        let (ids, lengths, _) = of(Some(Preset::Pmacct), Protocol::Ipfix);
        assert!(ids[0] >= 264 && lengths == [1, 1]);
        let (_, _, options) = of(Some(Preset::Goflow2), Protocol::Ipfix);
        assert!(options.contains(&516) && !options.contains(&517), "{options:?}");
    }

    #[test]
    fn a_preset_of_a_collector_without_a_trap_changes_nothing() {
        for protocol in [Protocol::Ipfix, Protocol::NetflowV9] {
            let rest = &Preset::ALL[3..7];
            assert!(rest.iter().all(|preset| of(Some(*preset), protocol) == of(None, protocol)));
        }
        // v9 has one octet of control bits for everyone.
        assert_eq!(of(Some(Preset::Pmacct), Protocol::NetflowV9), of(None, Protocol::NetflowV9));
    }

    #[test]
    fn akvorado_is_told_a_rate_where_nothing_is_sampled_and_the_real_one_where_something_is() {
        for (sampling, told) in [(None, vec![516]), (Some(SamplingMethod::Count), vec![516, 517])] {
            let options = OptionsKinds { sampling, ..OptionsKinds::default() };
            let options = TemplateOptions { options, ..TemplateOptions::new(Protocol::Ipfix) };
            let set = TemplateSet::new(&Preset::Akvorado.apply(options).unwrap()).unwrap();
            assert_eq!(set.options_templates().iter().map(|template| template.id).collect::<Vec<_>>(), told);
        }
    }

    #[test]
    fn biflows_are_refused_where_half_of_them_would_vanish() {
        // TRAP-26
        let biflows = TemplateOptions { biflow: true, ..options(Protocol::Ipfix) };
        let refused = Preset::ALL.into_iter().filter(|preset| preset.apply(biflows.clone()).is_err());
        assert_eq!(refused.collect::<Vec<_>>(), [Preset::Pmacct, Preset::Goflow2]);
    }

    #[test]
    fn presets_are_found_by_their_names() {
        assert!(Preset::ALL.iter().all(|preset| Preset::by_name(preset.name()) == Some(*preset)));
        assert_eq!(Preset::by_name("fprobe"), None);
    }
}
