//! Something measured several times.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Octets.
    Octets,
    /// Mebibytes.
    Mebibytes,
    /// Packets.
    Packets,
    /// Records.
    Records,
    /// Packets per second.
    PacketsPerSecond,
    /// Records per second (of one core's time, where a part says so).
    RecordsPerSecond,
    /// Bits per second.
    BitsPerSecond,
    /// A hundredth.
    Percent,
    /// How many times as much.
    Times,
}

impl Unit {
    /// As it stands behind a number.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Octets => "octets",
            Self::Mebibytes => "MiB",
            Self::Packets => "packets",
            Self::Records => "records",
            Self::PacketsPerSecond => "packets/s",
            Self::RecordsPerSecond => "records/s",
            Self::BitsPerSecond => "bit/s",
            Self::Percent => "%",
            Self::Times => "times",
        }
    }
}

/// Something measured several times, in the order of measuring. Never empty.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measurement {
    unit: Unit,
    minimum: f64,
    median: f64,
    maximum: f64,
    samples: Vec<f64>,
}

impl Measurement {
    /// Of these samples; `None` where there is none.
    pub fn of(unit: Unit, samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let samples: Vec<f64> = samples.into_iter().collect();
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let (minimum, maximum) = (*sorted.first()?, *sorted.last()?);
        Some(Self { unit, minimum, median: median(&sorted), maximum, samples })
    }

    /// What it is measured in.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The least of the samples.
    pub fn minimum(&self) -> f64 {
        self.minimum
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.median
    }

    /// The greatest.
    pub fn maximum(&self) -> f64 {
        self.maximum
    }

    /// All, in the order of measuring.
    pub fn samples(&self) -> &[f64] {
        &self.samples
    }

    /// What is left of each sample without the other's of the same round: of interleaved runs.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Option<Self> {
        Self::of(self.unit, self.samples.iter().zip(&other.samples).map(|(one, other)| one - other))
    }
}

impl fmt::Display for Measurement {
    /// The median, and behind it minimum and maximum where there are several samples.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", number(self.median))?;
        if self.samples.len() > 1 {
            write!(f, " ({} to {})", number(self.minimum), number(self.maximum))?;
        }
        Ok(())
    }
}

/// Of a sorted slice that is not empty.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// A number with about three digits that say something, thousands apart.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    // What is rounded up to 100 is written as 100 is.
    let decimals = if magnitude >= 99.95 || magnitude == 0.0 {
        0
    } else if magnitude >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    format!("{sign}{}{fraction}", thousands(digits))
}

fn thousands(digits: &str) -> String {
    let mut apart = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_median_is_the_sample_in_the_middle_or_between_two() {
        let odd = Measurement::of(Unit::Nanoseconds, [9.0, 1.0, 5.0]).unwrap();
        assert_eq!((odd.minimum(), odd.median(), odd.maximum()), (1.0, 5.0, 9.0));
        let even = Measurement::of(Unit::Nanoseconds, [4.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!((even.minimum(), even.median(), even.maximum()), (1.0, 3.0, 9.0));
        assert_eq!(even.samples(), [4.0, 1.0, 2.0, 9.0]);
    }

    #[test]
    fn without_samples_there_is_no_measurement() {
        assert_eq!(Measurement::of(Unit::Octets, []), None);
    }

    #[test]
    fn differences_are_taken_round_by_round() {
        let one = Measurement::of(Unit::Nanoseconds, [30.0, 50.0, 31.0]).unwrap();
        let other = Measurement::of(Unit::Nanoseconds, [20.0, 40.0, 20.0]).unwrap();
        assert_eq!(one.minus(&other).unwrap().samples(), [10.0, 10.0, 11.0]);
    }

    #[test]
    fn numbers_have_three_digits_and_thousands_apart() {
        let cases = [
            (0.0, "0"),
            (0.004, "0.00"),
            (7.345, "7.34"),
            (17.35, "17.4"),
            (9.999, "10.0"),
            (99.99, "100"),
            (123.45, "123"),
            (1234.5, "1,234"),
            (-1_234_567.0, "-1,234,567"),
            (-12.0, "-12.0"),
            (100_000.0, "100,000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_measurement_is_shown_by_its_median_and_range() {
        let three = Measurement::of(Unit::Nanoseconds, [9.0, 1.0, 5.0]).unwrap();
        assert_eq!(three.to_string(), "5.00 (1.00 to 9.00)");
        assert_eq!(Measurement::of(Unit::Nanoseconds, [9.0]).unwrap().to_string(), "9.00");
    }
}
