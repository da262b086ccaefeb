//! Which collectors share the records, and how: `--collector-mode` and `group=NAME` in their URLs.

use super::ConfigError;
use crate::transport::{ExportProtocol, Target};

/// How the collectors of a group share the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CollectorMode {
    /// Each has all of them.
    #[default]
    Replicate,
    /// Each has its flows: both directions of a flow and all its records go to one.
    Balance,
    /// One batch of records after the other, whichever flows are in it.
    RoundRobin,
    /// The first one that is well has all of them.
    Failover,
}

impl CollectorMode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "replicate" => Self::Replicate,
            "balance" => Self::Balance,
            "round-robin" => Self::RoundRobin,
            "failover" => Self::Failover,
            _ => return None,
        })
    }

    /// Whether it depends on how collectors are, which v5 cannot ask them.
    fn needs_health(self) -> bool {
        matches!(self, Self::RoundRobin | Self::Failover)
    }
}

/// Collectors that share the records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CollectorGroup {
    /// Its name; nothing for those in no group.
    pub name: String,
    /// How they share.
    pub mode: CollectorMode,
    /// Their places among the destinations, in the order they were given.
    pub members: Vec<usize>,
}

/// Takes `group=NAME` out of a URL.
fn split(url: &str) -> (String, Option<String>) {
    let Some((place, options)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut group = None;
    let rest: Vec<&str> = options
        .split('&')
        .filter(|option| match option.strip_prefix("group=") {
            Some(name) => {
                group = Some(name.to_owned());
                false
            }
            None => true,
        })
        .collect();
    let url = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
    (url, group)
}

/// Reads URLs and modes: the destinations, and who shares with whom. A destination that is in no group has all records.
///
/// # Errors
/// A URL or a mode that means nothing, groups without collectors or without a mode.
pub(super) fn read(
    urls: &[String],
    modes: &[String],
    protocol: ExportProtocol,
) -> Result<(Vec<Target>, Vec<CollectorGroup>), ConfigError> {
    let mut groups: Vec<CollectorGroup> = Vec::new();
    for typed in modes {
        let (name, mode) = typed.split_once('=').unwrap_or(("", typed));
        let Some(mode) = CollectorMode::parse(mode) else {
            return Err(ConfigError::CollectorMode { given: typed.clone() });
        };
        if groups.iter().any(|group| group.name == name) {
            return Err(ConfigError::CollectorModeTwice { name: name.to_owned() });
        }
        groups.push(CollectorGroup { name: name.to_owned(), mode, members: Vec::new() });
    }
    let mut destinations = Vec::new();
    for url in urls {
        let (place, group) = split(url);
        let target = Target::parse(&place, protocol)?;
        let found = groups.iter_mut().find(|known| known.name == group.as_deref().unwrap_or_default());
        match (found, group) {
            (Some(group), _) => {
                if group.mode.needs_health() && target.protocol() == ExportProtocol::NetflowV5 {
                    return Err(ConfigError::HealthOfV5 { url: url.clone() });
                }
                group.members.push(destinations.len());
            }
            (None, Some(name)) => return Err(ConfigError::GroupWithoutMode { name }),
            (None, None) => {}
        }
        destinations.push(target);
    }
    if let Some(empty) = groups.iter().find(|group| group.members.is_empty()) {
        return Err(ConfigError::GroupWithoutCollectors { name: empty.name.clone() });
    }
    groups.retain(|group| group.mode != CollectorMode::Replicate);
    Ok((destinations, groups))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn groups(urls: &[&str], modes: &[&str]) -> Result<(Vec<String>, Vec<CollectorGroup>), String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        read(&owned(urls), &owned(modes), ExportProtocol::Ipfix)
            .map(|(targets, groups)| (targets.iter().map(ToString::to_string).collect(), groups))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn those_without_a_group_follow_the_mode_without_a_name() {
        let (targets, found) = groups(&["udp://a", "udp://b:1?protocol=v9"], &["balance"]).unwrap();
        assert_eq!(targets.len(), 2);
        let group = CollectorGroup { name: String::new(), mode: CollectorMode::Balance, members: vec![0, 1] };
        assert_eq!(found, [group]);
        assert_eq!(groups(&["udp://a", "udp://b"], &[]).unwrap().1, []);
        assert_eq!(groups(&["udp://a", "udp://b"], &["replicate"]).unwrap().1, []);
    }

    #[test]
    fn groups_have_names_in_urls() {
        let urls = ["udp://a?group=x&protocol=v9", "udp://b", "tcp://c?group=x", "udp://d?group=y"];
        let (_, found) = groups(&urls, &["x=failover", "y=round-robin"]).unwrap();
        let members: Vec<_> = found.iter().map(|group| (group.mode, group.members.clone())).collect();
        assert_eq!(members, [(CollectorMode::Failover, vec![0, 2]), (CollectorMode::RoundRobin, vec![3])]);
        assert_eq!(split("udp://a?group=x&protocol=v9").0, "udp://a?protocol=v9");
        assert_eq!(split("udp://a?group=x"), ("udp://a".to_owned(), Some("x".to_owned())));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (urls, modes, reason) in [
            (&["udp://a"][..], &["sideways"][..], "'sideways'"),
            (&["udp://a"], &["balance", "failover"], "given twice"),
            (&["udp://a?group=x"], &[], "--collector-mode x="),
            (&["udp://a?group=x"], &["balance"], "--collector-mode x="),
            (&["udp://a?group=x"], &["x=balance", "balance"], "no collector"),
            (&["udp://a"], &["x=balance"], "no collector"),
            (&["udp://a?protocol=v5"], &["failover"], "v5"),
            (&["http://a"], &["balance"], "unknown transport"),
        ] {
            let error = groups(urls, modes).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        }
    }
}
