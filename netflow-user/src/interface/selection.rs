//! Which of the known links are metered: names, globs, exclusions, and the lowest device of a stack.
//!
//! In: what was typed, and the links as they are. Out: a [`Verdict`] on one of them. Pure.

use std::collections::BTreeMap;

use glob::Pattern;

use super::{Interface, link::Layer};

/// The known links by ifIndex.
pub(super) type Links = BTreeMap<u32, Interface>;

/// A selection that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// No glob.
    #[error("'{glob}' is no pattern of names; write for example 'eth*', 'en?' or 'lan[0-3]'")]
    Glob {
        /// As given.
        glob: String,
        /// What is wrong with it.
        #[source]
        source: glob::PatternError,
    },
    /// The same name twice.
    #[error("-i {name} is given twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// A name that is also excluded.
    #[error("-i {name} names what --exclude-interface '{exclusion}' excludes")]
    Contradiction {
        /// As given with `-i`.
        name: String,
        /// As given with `--exclude-interface`.
        exclusion: String,
    },
}

/// The interfaces that the operator asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    names: Vec<String>,
    globs: Vec<Pattern>,
    exclusions: Vec<Pattern>,
}

/// What a selection says of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Named literally.
    Named,
    /// A glob takes it.
    Matched,
    /// An exclusion names it.
    Excluded,
    /// A glob would take it, but its packets are metered where they come from.
    OnTop(OnTop),
    /// Nothing asks for it.
    Unasked,
}

/// Why an interface is not the lowest of its stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OnTop {
    /// It builds on this device.
    Of(String),
    /// It is made of other devices, of this one for example, or of none yet.
    Ports(Option<String>),
    /// It is a tunnel: its packets are in those of another device.
    Tunnel,
}

impl std::fmt::Display for OnTop {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Of(name) => write!(text, "it builds on {name}"),
            Self::Ports(Some(name)) => write!(text, "its packets come from its ports, {name} for one"),
            Self::Ports(None) => text.write_str("its packets come from its ports"),
            Self::Tunnel => text.write_str("its packets come inside those of another interface"),
        }
    }
}

impl Selection {
    /// Reads what was given with `-i` (a name, or a glob where it has one of `*?[`) and `--exclude-interface`.
    ///
    /// # Errors
    /// No glob, a name that is given twice, or that is excluded.
    pub fn new(interfaces: &[String], exclusions: &[String]) -> Result<Self, SelectionError> {
        let exclusions = exclusions.iter().map(|text| pattern(text)).collect::<Result<Vec<_>, _>>()?;
        let mut selection = Self { exclusions, ..Self::default() };
        for text in interfaces {
            if text.contains(['*', '?', '[']) {
                selection.globs.push(pattern(text)?);
            } else if selection.names.contains(text) {
                return Err(SelectionError::Twice { name: text.clone() });
            } else if let Some(exclusion) = selection.exclusion(text) {
                let exclusion = exclusion.as_str().to_owned();
                return Err(SelectionError::Contradiction { name: text.clone(), exclusion });
            } else {
                selection.names.push(text.clone());
            }
        }
        Ok(selection)
    }

    /// Those that were named literally.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.globs.is_empty()
    }

    /// Whether it may come to more than one interface.
    pub fn is_several(&self) -> bool {
        self.names.len() > 1 || !self.globs.is_empty()
    }

    /// The same with one name more: that of the default route, where nothing was asked for.
    #[must_use]
    pub fn with(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    fn exclusion(&self, name: &str) -> Option<&Pattern> {
        self.exclusions.iter().find(|exclusion| exclusion.matches(name))
    }

    /// What is to be done with an interface among the links that there are.
    pub(super) fn verdict(&self, interface: &Interface, links: &Links) -> Verdict {
        if self.exclusion(&interface.name).is_some() {
            Verdict::Excluded
        } else if self.names.contains(&interface.name) {
            Verdict::Named
        } else if interface.loopback
            || !interface.ethernet
            || !self.globs.iter().any(|glob| glob.matches(&interface.name))
        {
            // The loopback device has what programs of this host say to each other: only by its name.
            Verdict::Unasked
        } else {
            on_top(interface, links).map_or(Verdict::Matched, Verdict::OnTop)
        }
    }
}

impl std::fmt::Display for Selection {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self.names.iter().map(String::as_str).chain(self.globs.iter().map(Pattern::as_str));
        text.write_str(&words.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" or "))
    }
}

fn pattern(text: &str) -> Result<Pattern, SelectionError> {
    Pattern::new(text).map_err(|source| SelectionError::Glob { glob: text.to_owned(), source })
}

/// Why an interface is not the lowest of its stack; `None` if it is.
pub(super) fn on_top(interface: &Interface, links: &Links) -> Option<OnTop> {
    if let Some(lower) = interface.lower {
        let name = links.get(&lower).map(|lower| lower.name.clone());
        return Some(OnTop::Of(name.unwrap_or_else(|| format!("interface {lower}"))));
    }
    let port = links.values().find(|other| other.controller == Some(interface.index));
    if port.is_some() || interface.layered == Some(Layer::Controller) {
        return Some(OnTop::Ports(port.map(|port| port.name.clone())));
    }
    (interface.layered == Some(Layer::Tunnel)).then_some(OnTop::Tunnel)
}

/// The interfaces below one, down to the lowest, as far as they are known.
pub(super) fn below(index: u32, links: &Links) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let mut looked_at = vec![index];
    while let Some(upper) = looked_at.pop() {
        let ports = links.values().filter(|other| other.controller == Some(upper)).map(|port| port.index);
        let lower = links.get(&upper).and_then(|upper| upper.lower);
        for under in ports.chain(lower) {
            if under != index && !found.contains(&under) {
                found.push(under);
                looked_at.push(under);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn selection(interfaces: &[&str], exclusions: &[&str]) -> Selection {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Selection::new(&owned(interfaces), &owned(exclusions)).unwrap()
    }

    /// A host: two ports of a bond with a VLAN on it, a bridge of a veth and the VLAN, a macvlan, tunnels.
    fn host() -> Links {
        let bare = |index, name: &str| Interface::test(index, name);
        let (controller, tunnel) = (Some(Layer::Controller), Some(Layer::Tunnel));
        let links = [
            bare(1, "lo"),
            Interface { controller: Some(4), ..bare(2, "eth0") },
            Interface { controller: Some(4), ..bare(3, "eth1") },
            Interface { layered: controller, ..bare(4, "bond0") },
            Interface { lower: Some(4), controller: Some(6), ..bare(5, "bond0.100") },
            Interface { layered: controller, ..bare(6, "br0") },
            Interface { controller: Some(6), ..bare(7, "veth7") },
            Interface { layered: controller, ..bare(8, "br1") },
            bare(9, "eth2"),
            Interface { lower: Some(9), ..bare(10, "macvlan0") },
            Interface { lower: Some(9), layered: tunnel, ..bare(11, "vxlan0") },
            Interface { layered: tunnel, ..bare(12, "gre1") },
            // A controller of a kind that nothing here knows.
            bare(13, "odd0"),
            Interface { controller: Some(13), ..bare(14, "eth3") },
        ];
        links.into_iter().map(|link| (link.index, link)).collect()
    }

    fn taken(selection: &Selection) -> Vec<String> {
        let links = host();
        let takes =
            |link: &&Interface| matches!(selection.verdict(link, &links), Verdict::Named | Verdict::Matched);
        links.values().filter(takes).map(|link| link.name.clone()).collect()
    }

    #[test]
    fn globs_take_the_lowest_devices_and_names_any() {
        let cases: [(&[&str], &[&str], &[&str]); 13] = [
            (&["*"], &[], &["eth0", "eth1", "veth7", "eth2", "eth3"]),
            (&["*"], &["veth*", "eth[12]"], &["eth0", "eth3"]),
            (&["eth*"], &[], &["eth0", "eth1", "eth2", "eth3"]),
            (&["eth?"], &["eth0"], &["eth1", "eth2", "eth3"]),
            (&["eth[01]", "veth*"], &[], &["eth0", "eth1", "veth7"]),
            (&["eth[!01]"], &[], &["eth2", "eth3"]),
            (&["b*"], &[], &[]),
            (&["*lan*"], &[], &[]),
            (&["l*"], &[], &[]),
            (&["lo"], &[], &["lo"]),
            (&["bond0.100", "br0", "gre1", "vxlan0"], &[], &["bond0.100", "br0", "vxlan0", "gre1"]),
            (&["eth2", "eth*"], &["eth1"], &["eth0", "eth2", "eth3"]),
            (&["ETH0", "eth", "*x"], &[], &[]),
        ];
        for (interfaces, exclusions, expected) in cases {
            assert_eq!(taken(&selection(interfaces, exclusions)), expected, "{interfaces:?} {exclusions:?}");
        }
    }

    #[test]
    fn what_a_glob_passes_over_has_a_reason() {
        let links = host();
        let all = selection(&["*"], &[]);
        let reason = |index| match all.verdict(&links[&index], &links) {
            Verdict::OnTop(why) => why.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(4), "its packets come from its ports, eth0 for one");
        assert_eq!(reason(5), "it builds on bond0");
        assert_eq!(reason(8), "its packets come from its ports");
        assert_eq!(reason(11), "it builds on eth2");
        assert_eq!(reason(12), "its packets come inside those of another interface");
        assert_eq!(reason(13), "its packets come from its ports, eth3 for one");
    }

    #[test]
    fn a_stack_is_followed_to_its_lowest_devices() {
        let links = host();
        let mut under = below(6, &links);
        under.sort_unstable();
        assert_eq!(under, [2, 3, 4, 5, 7]);
        assert_eq!(below(11, &links), [9]);
        assert!(below(9, &links).is_empty());
        // A loop, which the kernel does not make, ends.
        let mut looped = host();
        looped.get_mut(&9).unwrap().lower = Some(10);
        assert_eq!(below(9, &looped), [10]);
    }

    #[test]
    fn selections_that_make_no_sense_are_refused() {
        let refused = |interfaces: &[&str], exclusions: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            Selection::new(&owned(interfaces), &owned(exclusions)).unwrap_err().to_string()
        };
        assert!(refused(&["eth[0"], &[]).starts_with("'eth[0' is no pattern of names"));
        assert!(refused(&["eth0"], &["***"]).starts_with("'***' is no pattern"));
        assert_eq!(refused(&["a", "b", "a"], &[]), "-i a is given twice");
        assert_eq!(refused(&["eth0"], &["e*"]), "-i eth0 names what --exclude-interface 'e*' excludes");
        assert_eq!(selection(&["eth0", "wl*"], &[]).to_string(), "'eth0' or 'wl*'");
    }
}
