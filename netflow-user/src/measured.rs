//! What is measured of packets: from words to the measures of the kernel program and the fields of templates.
//!
//! In: what was typed. Out: a [`Measured`], or one line that says what it cannot be.

use std::num::NonZeroU32;

use netflow_common::{Group as MeasuredGroup, SamplingMode, Tunnel};

use crate::{
    cli,
    flow_cache::Reversible as _,
    kernel::Measure,
    key::{KeyChoice, KeyError},
    message::{ChoiceError, Group, Groups, KeyElement, TemplateChoice},
};

/// Tunnels by the operator's names.
const TUNNELS: [(&str, &[Tunnel]); 5] = [
    ("ip-in-ip", &[Tunnel::IpInIp]),
    ("gre", &[Tunnel::Gre, Tunnel::GreEthernet]),
    ("vxlan", &[Tunnel::Vxlan]),
    ("geneve", &[Tunnel::Geneve]),
    ("gtp-u", &[Tunnel::GtpU]),
];

/// What cannot be measured.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MeasuredError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A tunnel.
    #[error(
        "--decapsulate {given}: not a tunnel; none, all, or a list of ip-in-ip, gre, vxlan, geneve, gtp-u is"
    )]
    Tunnel {
        /// The word.
        given: String,
    },
    /// A group.
    #[error("--group {given}: not a group; {names} are", names = group_names())]
    Group {
        /// The word.
        given: String,
    },
    /// A template of the operator's own.
    #[error(transparent)]
    Template(#[from] ChoiceError),
    /// Sampling by flow takes each direction by itself.
    #[error(
        "--biflow cannot pair what --sampling flow:N leaves: it chooses each direction by itself; count:N or random:N"
    )]
    BiflowSampledByFlow,
    /// The counterpart of a key must be a key.
    #[error(
        "--biflow needs a key with the same of source and destination: addresses with equal prefix lengths, both ports or none"
    )]
    BiflowKey,
    /// Sampling.
    #[error(
        "--sampling {given}: not a method; off, count:N, random:N or flow:N is, with N from 1 to 4294967295"
    )]
    Sampling {
        /// The word.
        given: String,
    },
}

/// What was decided.
#[derive(Clone, Debug)]
pub struct Measured {
    /// For the kernel program, and for what stands in its place.
    pub measure: Measure,
    /// The Flow Key, for the templates.
    pub key: Vec<KeyElement>,
    /// Further fields.
    pub groups: Groups,
    /// Fields of the operator's choice, in place of those that every record has.
    pub template: Option<TemplateChoice>,
    /// Flows are paired.
    pub biflow: bool,
    /// For elements of this exporter's own.
    pub enterprise_number: Option<NonZeroU32>,
}

impl Measured {
    /// Decides. `sampling` is `off` for captures.
    ///
    /// # Errors
    /// The word that means nothing.
    pub fn new(measured: &cli::Measured, sampling: &str) -> Result<Self, MeasuredError> {
        let tunnels = tunnels(&measured.decapsulate)?;
        let mut key: KeyChoice = measured.key.parse()?;
        if tunnels != 0 {
            key = key.with_tunnels();
        }
        let groups = groups(&measured.group)?;
        let choose = |text: &String| TemplateChoice::parse(text, measured.enterprise_number);
        let template = measured.template.as_ref().map(choose).transpose()?;
        // What a field of the template shows has to be measured.
        let chosen = template.as_ref().map_or_else(Groups::default, |choice| choice.groups(&key.elements));
        let (sampling, sampling_interval) = self::sampling(sampling)?;
        if measured.biflow {
            if sampling == SamplingMode::FlowHash {
                return Err(MeasuredError::BiflowSampledByFlow);
            }
            if let Some(masks) = key.masks
                && masks.iter().any(|mask| mask.reversed().as_ref() != Some(mask))
            {
                return Err(MeasuredError::BiflowKey);
            }
        }
        Ok(Self {
            measure: Measure {
                join_fragments: measured.fragments == cli::Fragments::Join,
                groups: groups
                    .iter()
                    .chain(chosen.iter())
                    .fold(key.groups, |bits, group| bits | measured_bit(group)),
                tunnels,
                mark_initial_syn: measured.biflow,
                key_masks: key.masks,
                sampling,
                sampling_interval,
            },
            key: key.elements,
            groups,
            template,
            biflow: measured.biflow,
            enterprise_number: measured.enterprise_number,
        })
    }
}

fn tunnels(text: &str) -> Result<u32, MeasuredError> {
    let bits = |tunnels: &[Tunnel]| tunnels.iter().fold(0, |bits, tunnel| bits | tunnel.bit());
    match text {
        "none" => Ok(0),
        "all" => Ok(bits(&Tunnel::ALL)),
        list => list.split(',').map(str::trim).try_fold(0, |all, word| {
            let known = TUNNELS.iter().find(|(name, _)| *name == word);
            let (_, tunnels) = known.ok_or_else(|| MeasuredError::Tunnel { given: word.to_owned() })?;
            Ok(all | bits(tunnels))
        }),
    }
}

fn groups(names: &[String]) -> Result<Groups, MeasuredError> {
    let by_name = |name: &String| {
        Group::by_name(name.trim()).ok_or_else(|| MeasuredError::Group { given: name.clone() })
    };
    names.iter().map(by_name).collect()
}

/// What the kernel program has to measure for a group of fields.
fn measured_bit(group: Group) -> u32 {
    let measured = match group {
        Group::L2 => MeasuredGroup::Layer2,
        Group::Frag | Group::Fragments => MeasuredGroup::Fragments,
        Group::Size => MeasuredGroup::Size,
        Group::Tcp => MeasuredGroup::Tcp,
        Group::Tos | Group::Dscp => MeasuredGroup::ClassOfService,
        Group::Ttl => MeasuredGroup::Ttl,
        Group::Opts => MeasuredGroup::Options,
        Group::Mpls => MeasuredGroup::Mpls,
        Group::Spi => MeasuredGroup::Spi,
        Group::Igmp => MeasuredGroup::Igmp,
        Group::Obspoint | Group::Vrf | Group::Route | Group::Tunnel | Group::Encapsulation => return 0,
    };
    measured.bit()
}

fn sampling(text: &str) -> Result<(SamplingMode, NonZeroU32), MeasuredError> {
    if text == "off" {
        return Ok((SamplingMode::Off, NonZeroU32::MIN));
    }
    let fail = || MeasuredError::Sampling { given: text.to_owned() };
    let (method, interval) = text.split_once(':').ok_or_else(fail)?;
    let mode = match method {
        "count" => SamplingMode::Count,
        "random" => SamplingMode::Random,
        "flow" => SamplingMode::FlowHash,
        _ => return Err(fail()),
    };
    Ok((mode, interval.parse().map_err(|_| fail())?))
}

fn group_names() -> String {
    Group::ALL.map(Group::name).join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn tunnels_are_told_by_name() {
        assert_eq!(tunnels("none").unwrap(), 0);
        assert_eq!(tunnels("gre, vxlan").unwrap(), 1 << 2 | 1 << 3 | 1 << 4);
        assert_eq!(tunnels("all").unwrap(), 0b111_1110);
        assert!(tunnels("ipsec").unwrap_err().to_string().contains("--decapsulate ipsec"));
    }

    #[test]
    fn sampling_is_a_method_and_a_number() {
        assert_eq!(sampling("off").unwrap().0, SamplingMode::Off);
        assert_eq!(sampling("random:100").unwrap(), (SamplingMode::Random, NonZeroU32::new(100).unwrap()));
        for bad in ["", "count", "count:0", "count:-1", "time:7", "flow:4294967296"] {
            assert!(sampling(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_that_are_measured_in_the_kernel_have_a_bit_there() {
        for group in Group::ALL {
            let tunnels = matches!(group, Group::Tunnel | Group::Encapsulation);
            assert_eq!(measured_bit(group) != 0, group.is_measured() && !tunnels, "{}", group.name());
        }
    }
}
