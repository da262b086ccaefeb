//! What the operator asks for: rules for address families, for every interface or for one.

use std::{fmt, str::FromStr};

/// What a rule is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// MAC addresses.
    Mac,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Mac];

    /// Bits of an address.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
            Self::Mac => 48,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Mac => "mac",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Mac => "MAC",
        })
    }
}

/// What becomes of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    /// It stays.
    #[default]
    None,
    /// Its first bits stay, the others become zero.
    Truncate(u8),
    /// The prefix-preserving permutation.
    CryptoPan,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("unchanged"),
            Self::Truncate(bits) => write!(f, "cut to /{bits}"),
            Self::CryptoPan => f.write_str("by Crypto-PAn"),
        }
    }
}

/// One rule: `[INTERFACE:]FAMILY=METHOD`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The interface it is for; `None`: all that have no rule of their own.
    pub interface: Option<String>,
    /// The addresses.
    pub family: Family,
    /// What becomes of them.
    pub method: Method,
}

/// Why a rule is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// It is written otherwise.
    #[error("write [INTERFACE:]FAMILY=METHOD, for example ipv4=crypto-pan, ipv6=/48 or eth0:ipv4=/16")]
    Form,
    /// An unknown family.
    #[error("there are no addresses '{given}'; there are ipv4, ipv6 and mac")]
    Family {
        /// As given.
        given: String,
    },
    /// An unknown method.
    #[error("there is no method '{given}'; there are crypto-pan, /BITS and none")]
    Method {
        /// As given.
        given: String,
    },
    /// More bits than an address has.
    #[error("{family} addresses have {bits} bits, /{given} is not possible", bits = family.bits())]
    Bits {
        /// Of these addresses.
        family: Family,
        /// As given.
        given: String,
    },
    /// Crypto-PAn is defined for IP addresses.
    #[error("crypto-pan is for IP addresses; mac=/24 keeps the manufacturer of a MAC address")]
    CryptoPanOfMac,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        // Names of interfaces may hold '=', but neither ':' nor '/'.
        let (addresses, method) = text.rsplit_once('=').ok_or(RuleError::Form)?;
        let (interface, family) = match addresses.rsplit_once(':') {
            Some(("", _)) => return Err(RuleError::Form),
            Some((interface, family)) => (Some(interface.to_owned()), family),
            None => (None, addresses),
        };
        let family = Family::ALL
            .into_iter()
            .find(|known| known.word() == family)
            .ok_or_else(|| RuleError::Family { given: family.to_owned() })?;
        Ok(Self { interface, family, method: parse_method(family, method)? })
    }
}

fn parse_method(family: Family, text: &str) -> Result<Method, RuleError> {
    match text {
        "none" => Ok(Method::None),
        "crypto-pan" if family == Family::Mac => Err(RuleError::CryptoPanOfMac),
        "crypto-pan" => Ok(Method::CryptoPan),
        _ => {
            let given =
                text.strip_prefix('/').filter(|bits| bits.bytes().all(|digit| digit.is_ascii_digit()));
            let given = given.filter(|bits| !bits.is_empty());
            let Some(given) = given else { return Err(RuleError::Method { given: text.to_owned() }) };
            let bits = given.parse().ok().filter(|bits| *bits <= family.bits());
            bits.map(Method::Truncate).ok_or_else(|| RuleError::Bits { family, given: given.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        let cases = [
            ("ipv4=crypto-pan", None, Family::Ipv4, Method::CryptoPan),
            ("ipv4=/24", None, Family::Ipv4, Method::Truncate(24)),
            ("ipv6=/0", None, Family::Ipv6, Method::Truncate(0)),
            ("ipv6=/128", None, Family::Ipv6, Method::Truncate(128)),
            ("mac=/24", None, Family::Mac, Method::Truncate(24)),
            ("eth0:ipv4=/16", Some("eth0"), Family::Ipv4, Method::Truncate(16)),
            ("eth0.100:ipv6=none", Some("eth0.100"), Family::Ipv6, Method::None),
            ("a=b:ipv6=crypto-pan", Some("a=b"), Family::Ipv6, Method::CryptoPan),
        ];
        for (text, interface, family, method) in cases {
            let rule = Rule { interface: interface.map(str::to_owned), family, method };
            assert_eq!(text.parse::<Rule>().unwrap(), rule, "{text}");
        }
    }

    #[test]
    fn other_rules_are_refused_in_one_line() {
        // ANON-4
        let cases = [
            ("ipv4", "write [INTERFACE:]FAMILY=METHOD"),
            (":ipv4=/8", "write [INTERFACE:]FAMILY=METHOD"),
            ("", "write [INTERFACE:]FAMILY=METHOD"),
            ("ip=/8", "there are no addresses 'ip'"),
            ("ipv4=", "there is no method ''"),
            ("ipv4=/", "there is no method '/'"),
            ("ipv4=/+8", "there is no method '/+8'"),
            ("ipv4=24", "there is no method '24'"),
            ("ipv4=/33", "IPv4 addresses have 32 bits, /33"),
            ("ipv6=/129", "IPv6 addresses have 128 bits"),
            ("mac=/49", "MAC addresses have 48 bits"),
            ("ipv4=/999999999999", "IPv4 addresses have 32 bits"),
            ("mac=crypto-pan", "crypto-pan is for IP addresses"),
        ];
        for (text, beginning) in cases {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.starts_with(beginning) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
