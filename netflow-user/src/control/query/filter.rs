//! Conditions in words of elements: `protocolIdentifier=tcp`, `host=10.0.0.0/8|192.0.2.1`, `octetDeltaCount>=1000`.

use std::{fmt, net::IpAddr, str::FromStr};

use netflow_common::{Address, FlowKey};

use super::{
    Cell, QueryError,
    word::{self, Kind, Word},
};
use crate::record::FlowRecord;

/// Operators, the longer ones before those that they begin with.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::Not),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("=", Operator::Is),
    (">", Operator::Above),
    ("<", Operator::Below),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Is,
    Not,
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// An address with the bits of it that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                self.address == leading_bits(address, self.length)
            }
            _ => false,
        }
    }

    /// Whether one end of a flow does.
    pub fn has_end_of(&self, key: &FlowKey) -> bool {
        let is_in = |address: &Address| self.contains(word::ip(key, address));
        is_in(&key.source_address) || is_in(&key.destination_address)
    }
}

impl FromStr for Prefix {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let value = || QueryError::Value { word: "an address", given: text.to_owned() };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| value())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(length) => length
                .parse()
                .ok()
                .filter(|length| *length <= most)
                .ok_or_else(|| QueryError::PrefixLength { given: text.to_owned() })?,
        };
        Ok(Self { address: leading_bits(address, length), length })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        write!(f, "{}", self.address)?;
        if self.length < whole { write!(f, "/{}", self.length) } else { Ok(()) }
    }
}

/// An address with so many leading bits, the others zero.
pub fn leading_bits(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Number(u64),
    Prefix(Prefix),
}

#[derive(Clone, Debug)]
struct Condition {
    word: Word,
    operator: Operator,
    values: Vec<Value>,
}

/// Conditions, all of which hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    conditions: Vec<Condition>,
}

impl Filter {
    /// Reads conditions; each text may have several, with commas between them.
    ///
    /// # Errors
    /// What is not understood.
    pub fn new(texts: &[String]) -> Result<Self, QueryError> {
        let conditions = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
        let conditions =
            conditions.filter(|text| !text.is_empty()).map(condition).collect::<Result<_, _>>()?;
        Ok(Self { conditions })
    }

    /// The flows of an address, at either end.
    pub fn of_host(prefix: Prefix) -> Self {
        let word = word::WORDS.into_iter().find(|word| word.name == "host");
        let condition =
            |word| Condition { word, operator: Operator::Is, values: vec![Value::Prefix(prefix)] };
        Self { conditions: word.map(condition).into_iter().collect() }
    }

    /// What the conditions are about.
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        self.conditions.iter().map(|condition| &condition.word)
    }

    /// Whether a flow is meant.
    pub fn matches(&self, flow: &FlowRecord) -> bool {
        self.conditions.iter().all(|condition| condition.holds(flow))
    }
}

fn condition(text: &str) -> Result<Condition, QueryError> {
    let no_condition = || QueryError::Condition { given: text.to_owned() };
    let at = text.find(['!', '=', '<', '>']).ok_or_else(no_condition)?;
    let (name, rest) = text.split_at(at);
    let (sign, operator) =
        OPERATORS.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(no_condition)?;
    let word = word::find(name.trim())?;
    let is_order = !matches!(operator, Operator::Is | Operator::Not);
    if is_order && word.kind == Kind::Address {
        return Err(no_condition());
    }
    let values = rest[sign.len()..].split('|').map(|value| word_value(&word, value.trim()));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    if is_order && values.len() > 1 {
        return Err(no_condition());
    }
    Ok(Condition { word, operator, values })
}

fn word_value(word: &Word, text: &str) -> Result<Value, QueryError> {
    let wrong = || QueryError::Value { word: word.name, given: text.to_owned() };
    match word.kind {
        Kind::Address => Ok(Value::Prefix(text.parse().map_err(|error| match error {
            QueryError::Value { .. } => wrong(),
            other => other,
        })?)),
        Kind::Protocol => word::protocol(text).map(Value::Number).ok_or_else(wrong),
        Kind::Number => {
            let number =
                text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
            number.map(Value::Number).map_err(|_| wrong())
        }
    }
}

impl Condition {
    fn holds(&self, flow: &FlowRecord) -> bool {
        let cells = [Some((self.word.of)(flow)), self.word.or.map(|or| or(flow))];
        let mut cells = cells.into_iter().flatten();
        match self.operator {
            // No value of either end is one of these.
            Operator::Not => cells.all(|cell| !self.values.iter().any(|value| is(cell, value))),
            operator => cells.any(|cell| self.values.iter().any(|value| compares(cell, operator, value))),
        }
    }
}

fn is(cell: Cell, value: &Value) -> bool {
    match (cell, value) {
        (Cell::Number(number), Value::Number(value)) => number == *value,
        (Cell::Address(address), Value::Prefix(prefix)) => prefix.contains(address),
        _ => false,
    }
}

fn compares(cell: Cell, operator: Operator, value: &Value) -> bool {
    match (operator, cell, value) {
        (Operator::AtLeast, Cell::Number(number), Value::Number(value)) => number >= *value,
        (Operator::AtMost, Cell::Number(number), Value::Number(value)) => number <= *value,
        (Operator::Above, Cell::Number(number), Value::Number(value)) => number > *value,
        (Operator::Below, Cell::Number(number), Value::Number(value)) => number < *value,
        (_, cell, value) => is(cell, value),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use netflow_common::{FlowCounters, FlowKey};

    use super::*;
    use crate::{record::FlowEndReason, time::Instant};

    fn flow() -> FlowRecord {
        let end = |address: &str, port| (address.parse::<IpAddr>().unwrap(), port);
        let key = FlowKey::of_session(6, end("10.1.2.3", 49_152), end("192.0.2.7", 443));
        let counters = FlowCounters { packets: 3, octets: 1500, ..FlowCounters::default() };
        FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &Instant::default())
    }

    #[test]
    fn conditions_hold_or_do_not() {
        let cases = [
            ("protocolIdentifier=tcp", true),
            ("protocolIdentifier=17|6", true),
            ("protocolIdentifier!=tcp", false),
            ("host=10.0.0.0/8", true),
            ("host=192.0.2.7", true),
            ("host!=192.0.2.7", false),
            ("host!=192.0.2.8", true),
            ("sourceAddress=192.0.2.7", false),
            ("sourceIPv6Address=::/0", false),
            ("destinationIPv4Address=192.0.2.0/24, port=443", true),
            ("port=444|49152", true),
            ("octetDeltaCount>=1500,packetDeltaCount<4", true),
            ("octetDeltaCount>1500", false),
            ("octetDeltaCount<=0x5dc", true),
            ("", true),
        ];
        for (text, holds) in cases {
            assert_eq!(Filter::new(&[text.to_owned()]).unwrap().matches(&flow()), holds, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_its_words() {
        for (text, says) in [
            ("tcp", "no condition"),
            ("colour=red", "'colour' is not known"),
            ("port=http", "no value of port"),
            ("host=10.0.0.0/33", "prefix length"),
            ("host=here", "no value of host"),
            ("host>10.0.0.1", "no condition"),
            ("port<1|2", "no condition"),
        ] {
            let error = Filter::new(&[text.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_prefix_of_no_bits_has_every_address_of_its_version() {
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("255.1.1.1".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
        let six: Prefix = "2001:db8::5/32".parse().unwrap();
        assert!(six.contains("2001:db8:ffff::1".parse().unwrap()));
    }
}
