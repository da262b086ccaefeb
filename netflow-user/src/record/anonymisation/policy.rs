//! All rules together: which method holds for an address family at an interface.

use std::fmt;

use super::{
    Key,
    rule::{Family, Method, Rule},
};

/// Rules that contradict one another, or a key that does not go with them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnonymisationError {
    /// Two rules for the same.
    #[error("--anonymise says twice what becomes of {family} addresses{at}", at = At(interface.as_deref()))]
    Twice {
        /// These addresses.
        family: Family,
        /// At this interface.
        interface: Option<String>,
    },
    /// Crypto-PAn without a key.
    #[error("--anonymise with crypto-pan needs a key: name its file with --anonymisation-key")]
    NoKey,
    /// A key that nothing uses.
    #[error("--anonymisation-key is for crypto-pan, which no --anonymise rule asks for")]
    UnusedKey,
    /// A rule for an interface where there is none.
    #[error("--anonymise {interface}:... is not possible: a capture file has no interfaces")]
    NoInterfaces {
        /// Its name.
        interface: String,
    },
}

struct At<'a>(Option<&'a str>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |interface| write!(f, " at {interface}"))
    }
}

/// A method for each address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Methods([Method; Family::ALL.len()]);

impl Methods {
    pub(super) fn of(&self, family: Family) -> Method {
        self.0[family as usize]
    }

    fn set(&mut self, family: Family, method: Method) {
        self.0[family as usize] = method;
    }
}

/// One element that the policy is about: what an Anonymization Record (RFC 6235 section 6.1) says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// informationElementId (303).
    pub element_id: u16,
    /// anonymizationFlags (285).
    pub flags: u16,
    /// anonymizationTechnique (286).
    pub technique: u16,
}

impl Announcement {
    /// anonymizationFlags: stability class "stable". Key and lengths come from the command line, the same for
    /// every session and collector.
    pub const STABLE: u16 = 0b11;
    /// anonymizationTechnique: Undefined, no statement. Interfaces whose methods differ share one Template.
    pub const UNDEFINED: u16 = 0;
    /// anonymizationTechnique: None, the values are real.
    pub const NONE: u16 = 1;
    /// anonymizationTechnique: Precision Degradation/Truncation.
    pub const TRUNCATION: u16 = 2;
    /// anonymizationTechnique: Structured Permutation, which keeps prefixes.
    pub const STRUCTURED_PERMUTATION: u16 = 6;
}

/// The elements of a family's addresses; `true`: prefix lengths, which a permutation leaves as they are.
const fn elements(family: Family) -> &'static [(u16, bool)] {
    match family {
        // sourceIPv4Address, destinationIPv4Address, ipNextHopIPv4Address, sourceIPv4Prefix,
        // destinationIPv4Prefix; sourceIPv4PrefixLength, destinationIPv4PrefixLength
        Family::Ipv4 => {
            &[(8, false), (12, false), (15, false), (44, false), (45, false), (9, true), (13, true)]
        }
        // The same of IPv6.
        Family::Ipv6 => {
            &[(27, false), (28, false), (62, false), (170, false), (169, false), (29, true), (30, true)]
        }
        // sourceMacAddress, destinationMacAddress
        Family::Mac => &[(56, false), (80, false)],
    }
}

/// Rules that go together, at least one, and the key that they need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    general: Methods,
    /// Families that a rule for all interfaces names.
    named_families: Vec<Family>,
    /// The methods at interfaces that have rules of their own, general ones filled in.
    interfaces: Vec<(String, Methods)>,
    key: Option<Key>,
}

impl Policy {
    /// Puts rules together; `None` where there are none.
    ///
    /// # Errors
    /// They contradict one another, or key and methods do not go together.
    pub fn new(rules: Vec<Rule>, key: Option<Key>) -> Result<Option<Self>, AnonymisationError> {
        for (i, rule) in rules.iter().enumerate() {
            if rules[..i]
                .iter()
                .any(|other| (&other.interface, other.family) == (&rule.interface, rule.family))
            {
                return Err(AnonymisationError::Twice {
                    family: rule.family,
                    interface: rule.interface.clone(),
                });
            }
        }
        match (rules.iter().any(|rule| rule.method == Method::CryptoPan), &key) {
            (true, None) => return Err(AnonymisationError::NoKey),
            (false, Some(_)) => return Err(AnonymisationError::UnusedKey),
            _ => {}
        }
        if rules.is_empty() {
            return Ok(None);
        }
        let mut policy =
            Self { general: Methods::default(), named_families: Vec::new(), interfaces: Vec::new(), key };
        let (general, of_interfaces): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| rule.interface.is_none());
        for rule in general {
            policy.general.set(rule.family, rule.method);
            policy.named_families.push(rule.family);
        }
        for rule in of_interfaces {
            let Some(name) = rule.interface else { continue };
            let place = policy.interfaces.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                policy.interfaces.push((name, policy.general));
                policy.interfaces.len() - 1
            });
            policy.interfaces[place].1.set(rule.family, rule.method);
        }
        Ok(Some(policy))
    }

    /// Refuses rules for interfaces, where packets come from a file.
    ///
    /// # Errors
    /// There is one.
    pub fn without_interfaces(self) -> Result<Self, AnonymisationError> {
        match self.interfaces.into_iter().next() {
            Some((interface, _)) => Err(AnonymisationError::NoInterfaces { interface }),
            None => Ok(Self { interfaces: Vec::new(), ..self }),
        }
    }

    /// Interfaces that have rules of their own.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.interfaces.iter().map(|(name, _)| name.as_str())
    }

    /// IP address families that are exported as they are although no rule says so.
    pub fn unnamed(&self) -> impl Iterator<Item = Family> {
        [Family::Ipv4, Family::Ipv6].into_iter().filter(|family| !self.named_families.contains(family))
    }

    /// What the options records of RFC 6235 say, of every element that may be changed. A Template is shared by all
    /// interfaces: where their methods differ, nothing is said of the technique.
    pub fn announcements(&self) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        for family in Family::ALL {
            let all = [self.general].into_iter().chain(self.interfaces.iter().map(|(_, methods)| *methods));
            let all: Vec<Method> = all.map(|methods| methods.of(family)).collect();
            for (element_id, is_length) in elements(family) {
                let mut techniques = all.iter().map(|method| technique(*method, *is_length));
                let first = techniques.next().unwrap_or(Announcement::NONE);
                let technique =
                    if techniques.all(|other| other == first) { first } else { Announcement::UNDEFINED };
                let flags = if technique > Announcement::NONE { Announcement::STABLE } else { 0 };
                if technique != Announcement::NONE {
                    announcements.push(Announcement { element_id: *element_id, flags, technique });
                }
            }
        }
        announcements
    }

    pub(super) fn general(&self) -> Methods {
        self.general
    }

    pub(super) fn at(&self, interface: &str) -> Option<Methods> {
        self.interfaces.iter().find(|(name, _)| name == interface).map(|(_, methods)| *methods)
    }

    pub(super) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}

fn technique(method: Method, is_length: bool) -> u16 {
    match method {
        Method::None => Announcement::NONE,
        Method::Truncate(_) => Announcement::TRUNCATION,
        Method::CryptoPan if is_length => Announcement::NONE,
        Method::CryptoPan => Announcement::STRUCTURED_PERMUTATION,
    }
}

/// For the log: every method, nothing of the key.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = |f: &mut fmt::Formatter<'_>, methods: Methods| {
            let [ipv4, ipv6, mac] = Family::ALL.map(|family| methods.of(family));
            write!(f, "IPv4 addresses {ipv4}, IPv6 addresses {ipv6}, MAC addresses {mac}")
        };
        methods(f, self.general)?;
        self.interfaces.iter().try_for_each(|(name, own)| {
            write!(f, "; at {name} ")?;
            methods(f, *own)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn policy(rules: &[&str], key: bool) -> Result<Option<Policy>, AnonymisationError> {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Policy::new(rules, key.then(|| Key::of([1; 32])))
    }

    #[test]
    fn no_rules_are_no_policy() {
        assert_eq!(policy(&[], false), Ok(None));
    }

    #[test]
    fn key_and_crypto_pan_go_together() {
        assert_eq!(policy(&["ipv4=crypto-pan"], false), Err(AnonymisationError::NoKey));
        assert_eq!(policy(&["eth0:ipv4=crypto-pan", "ipv4=/8"], false), Err(AnonymisationError::NoKey));
        assert_eq!(policy(&["ipv4=/24"], true), Err(AnonymisationError::UnusedKey));
        assert_eq!(policy(&[], true), Err(AnonymisationError::UnusedKey));
        assert!(policy(&["ipv4=crypto-pan"], true).unwrap().is_some());
    }

    #[test]
    fn two_rules_for_the_same_are_refused() {
        let error = policy(&["ipv4=/24", "ipv6=/24", "ipv4=/8"], false).unwrap_err();
        assert_eq!(error.to_string(), "--anonymise says twice what becomes of IPv4 addresses");
        let error = policy(&["eth0:mac=/24", "eth1:mac=/8", "eth0:mac=/24"], false).unwrap_err();
        assert_eq!(error.to_string(), "--anonymise says twice what becomes of MAC addresses at eth0");
    }

    #[test]
    fn a_capture_file_has_no_interfaces() {
        let error = policy(&["eth0:ipv4=/8"], false).unwrap().unwrap().without_interfaces().unwrap_err();
        assert_eq!(
            error.to_string(),
            "--anonymise eth0:... is not possible: a capture file has no interfaces"
        );
        assert!(policy(&["ipv4=/8"], false).unwrap().unwrap().without_interfaces().is_ok());
    }

    #[test]
    fn a_rule_for_an_interface_beats_the_general_one_in_any_order() {
        for rules in [["eth0:ipv4=/8", "ipv4=/24", "ipv6=/48"], ["ipv6=/48", "ipv4=/24", "eth0:ipv4=/8"]] {
            let policy = policy(&rules, false).unwrap().unwrap();
            assert_eq!(policy.general().of(Family::Ipv4), Method::Truncate(24));
            let own = policy.at("eth0").unwrap();
            assert_eq!(own.of(Family::Ipv4), Method::Truncate(8));
            assert_eq!(own.of(Family::Ipv6), Method::Truncate(48));
            assert_eq!(policy.at("eth1"), None);
        }
    }

    #[test]
    fn the_log_says_the_methods_and_not_the_key() {
        let policy = policy(&["ipv4=crypto-pan", "eth0:ipv6=/48"], true).unwrap().unwrap();
        assert_eq!(
            policy.to_string(),
            "IPv4 addresses by Crypto-PAn, IPv6 addresses unchanged, MAC addresses unchanged; at eth0 IPv4 addresses \
             by Crypto-PAn, IPv6 addresses cut to /48, MAC addresses unchanged"
        );
        assert!(!format!("{policy:?}").contains("1, 1"));
        assert_eq!(policy.unnamed().collect::<Vec<_>>(), [Family::Ipv6]);
    }

    #[test]
    fn announcements_name_technique_and_stability() {
        let of = |rules: &[&str], key, element| {
            let announcements = policy(rules, key).unwrap().unwrap().announcements();
            announcements.into_iter().find(|said| said.element_id == element)
        };
        let said = |element_id, technique, flags| Some(Announcement { element_id, technique, flags });
        assert_eq!(of(&["ipv4=crypto-pan"], true, 8), said(8, 6, 3));
        assert_eq!(of(&["ipv4=crypto-pan"], true, 12), said(12, 6, 3));
        // Prefix lengths survive the permutation, not the truncation.
        assert_eq!(of(&["ipv4=crypto-pan"], true, 9), None);
        assert_eq!(of(&["ipv4=/24"], false, 9), said(9, 2, 3));
        assert_eq!(of(&["ipv4=/24"], false, 15), said(15, 2, 3));
        assert_eq!(of(&["ipv4=/24"], false, 27), None);
        assert_eq!(of(&["ipv6=/48"], false, 28), said(28, 2, 3));
        assert_eq!(of(&["mac=/24"], false, 56), said(56, 2, 3));
    }

    #[test]
    fn nothing_is_said_where_interfaces_differ() {
        let policy = policy(&["ipv4=/24", "eth0:ipv4=none"], false).unwrap().unwrap();
        let announcements = policy.announcements();
        assert!(announcements.iter().all(|said| said.technique == 0 && said.flags == 0));
        assert!(announcements.iter().any(|said| said.element_id == 8));
    }
}
