//! Values as the collector prints them, from what the decoder crate read.

use std::fmt;
use std::net::IpAddr;

use netflow_parser::variable_versions::field_value::DurationValue;
use netflow_parser::{DataNumber, FieldValue};
use serde::{Serialize, Serializer};

use super::element::Element;

/// Seconds from 1900, where NTP's time starts, to 1970 (RFC 5905 figure 4).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// One value of a Data Record.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// unsigned8 to unsigned64, boolean (1 true, 2 false), reduced sizes.
    Unsigned(u64),
    /// signed8 to signed64.
    Signed(i64),
    /// float64.
    Float(f64),
    /// ipv4Address or ipv6Address.
    Address(IpAddr),
    /// macAddress.
    Mac([u8; 6]),
    /// A dateTime.
    Time(Timestamp),
    /// string, without control characters.
    Text(String),
    /// Anything else.
    Octets(Vec<u8>),
}

impl Value {
    /// The decoder's value, read as `element` means it.
    pub(super) fn new(element: Element, decoded: FieldValue) -> Self {
        match decoded {
            FieldValue::DataNumber(number) => from_number(number),
            FieldValue::Float64(number) => Self::Float(number),
            FieldValue::Ip4Addr(address) => Self::Address(IpAddr::V4(address)),
            FieldValue::Ip6Addr(address) => Self::Address(IpAddr::V6(address)),
            FieldValue::MacAddr(address) => Self::Mac(address),
            FieldValue::String(text) => Self::Text(text.value),
            FieldValue::Vec(octets) => Self::Octets(octets),
            FieldValue::Duration(value) if element.is_time() => Self::Time(Timestamp::new(&value)),
            other => {
                let mut octets = Vec::new();
                // Writing into a Vec does not fail; a value the crate cannot write prints as nothing.
                let _ = other.write_be_bytes(&mut octets);
                Self::Octets(octets)
            }
        }
    }

    /// The number, if it is one without a sign.
    pub fn as_unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            _ => None,
        }
    }
}

fn from_number(number: DataNumber) -> Value {
    match number {
        DataNumber::I8(number) => Value::Signed(number.into()),
        DataNumber::I16(number) => Value::Signed(number.into()),
        DataNumber::I24(number) | DataNumber::I32(number) => Value::Signed(number.into()),
        DataNumber::I64(number) => Value::Signed(number),
        // Reduced sizes of 5, 6 and 7 octets (RFC 7011 section 6.2), which the crate leaves unread.
        DataNumber::Vec(octets) if octets.len() < 8 => {
            Value::Unsigned(octets.iter().fold(0, |number, &octet| number << 8 | u64::from(octet)))
        }
        DataNumber::Vec(octets) => Value::Octets(octets),
        DataNumber::U128(number) => Value::Octets(number.to_be_bytes().to_vec()),
        DataNumber::I128(number) => Value::Octets(number.to_be_bytes().to_vec()),
        unsigned => Value::Unsigned(unsigned.as_u64().unwrap_or(u64::MAX)),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Mac([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::Time(time) => time.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Octets(octets) => {
                f.write_str("0x")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Signed(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            other => serializer.collect_str(other),
        }
    }
}

/// A point in time in the unit it was sent in, printed as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp {
    seconds: u64,
    nanos: u32,
    digits: u8,
}

impl Timestamp {
    /// Milliseconds since 1970.
    pub fn from_millis(millis: u64) -> Self {
        let nanos = u32::try_from(millis % 1000 * 1_000_000).unwrap_or(0);
        Self { seconds: millis / 1000, nanos, digits: 3 }
    }

    /// Milliseconds since 1970, rounded down.
    pub fn millis(self) -> u64 {
        self.seconds.saturating_mul(1000).saturating_add(u64::from(self.nanos / 1_000_000))
    }

    fn new(value: &DurationValue) -> Self {
        match *value {
            DurationValue::Seconds { value, .. } => Self { seconds: value, nanos: 0, digits: 0 },
            DurationValue::Millis { value, .. } => Self::from_millis(value),
            DurationValue::MicrosNtp { seconds, fraction } => {
                // The lowest 11 bits of the fraction carry nothing (RFC 7011 section 6.1.9).
                Self::from_ntp(seconds, fraction & !0x7ff, 6)
            }
            DurationValue::NanosNtp { seconds, fraction } => Self::from_ntp(seconds, fraction, 9),
        }
    }

    /// Rounds to the unit: a fraction of 2^-32 cannot hold a decimal one exactly.
    fn from_ntp(seconds: u32, fraction: u32, digits: u8) -> Self {
        let unit = 10u64.pow(u32::from(digits));
        let units = (u64::from(fraction) * unit + (1 << 31)) >> 32;
        let nanos = units % unit * (1_000_000_000 / unit);
        let seconds = u64::from(seconds).saturating_sub(NTP_TO_UNIX) + units / unit;
        Self { seconds, nanos: u32::try_from(nanos).unwrap_or(0), digits }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds / 86_400);
        let (hour, minute, second) = (self.seconds / 3600 % 24, self.seconds / 60 % 60, self.seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.digits > 0 {
            let width = usize::from(self.digits);
            let fraction = self.nanos / 10u32.pow(9 - u32::from(self.digits));
            write!(f, ".{fraction:0width$}")?;
        }
        f.write_str("Z")
    }
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_rfc_3339_in_their_own_unit() {
        let cases = [
            (Timestamp::from_millis(0), "1970-01-01T00:00:00.000Z"),
            (Timestamp::from_millis(951_782_399_999), "2000-02-28T23:59:59.999Z"),
            (Timestamp::from_millis(951_868_799_001), "2000-02-29T23:59:59.001Z"),
            (Timestamp::from_millis(1_767_225_590_000), "2025-12-31T23:59:50.000Z"),
            (
                Timestamp::new(&DurationValue::Seconds { value: 4_107_542_400, width: 4 }),
                "2100-03-01T00:00:00Z",
            ),
            // 0.123456789 s as a fraction of 2^-32, rounded as an exporter would.
            (Timestamp::from_ntp(3_976_214_400, 530_242_871, 9), "2026-01-01T00:00:00.123456789Z"),
            (Timestamp::from_ntp(3_976_214_400, 530_242_871 & !0x7ff, 6), "2026-01-01T00:00:00.123456Z"),
            (Timestamp::from_ntp(3_976_214_400, u32::MAX, 9), "2026-01-01T00:00:01.000000000Z"),
        ];
        for (time, text) in cases {
            assert_eq!(time.to_string(), text);
        }
        assert!(Timestamp::from_millis(u64::MAX).to_string().ends_with('Z'), "no end of time");
    }

    #[test]
    fn a_number_of_reduced_size_is_a_number() {
        assert_eq!(from_number(DataNumber::Vec(vec![1, 0, 0, 0, 2])), Value::Unsigned(0x1_0000_0002));
        assert_eq!(from_number(DataNumber::U24(0xabcde)), Value::Unsigned(0xabcde));
        assert_eq!(from_number(DataNumber::I8(-1)), Value::Signed(-1));
    }
}
