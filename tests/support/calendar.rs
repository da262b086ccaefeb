//! Dates as judges write them, in UTC.

use anyhow::{Context, Result};

/// Milliseconds since 1970 of a date (month and day from 1) and a time of day, `13:45:07.494`. Further decimals are
/// cut off.
pub fn unix_millis(year: u64, month: u64, day: u64, time: &str) -> Result<u64> {
    // Years that begin in March: the leap day comes last.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // From 1 March of the year 0 to 1 January 1970.
    let days = days.checked_sub(719_468).context("before 1970")?;
    let (time, fraction) = time.split_once('.').context("no decimals")?;
    let mut parts = time.split(':').map(str::parse::<u64>);
    let mut part = || parts.next().context("no time of day");
    let seconds = days * 86_400 + part()?? * 3600 + part()?? * 60 + part()??;
    Ok(seconds * 1000 + fraction.get(..3).context("no milliseconds")?.parse::<u64>()?)
}

/// Milliseconds since 1970 of `2011-03-18T19:06:07.097`.
pub fn unix_millis_of(text: &str) -> Result<u64> {
    let (date, time) = text.split_once('T').context("no time of day")?;
    let mut parts = date.split('-').map(str::parse::<u64>);
    let mut part = || parts.next().context("no date");
    unix_millis(part()??, part()??, part()??, time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn dates_are_milliseconds_since_1970() {
        assert_eq!(unix_millis_of("1970-01-01T00:00:00.000").unwrap(), 0);
        assert_eq!(unix_millis_of("1999-03-11T13:45:07.494000000").unwrap(), 921_159_907_494);
        assert_eq!(unix_millis_of("2024-02-29T23:59:59.999").unwrap(), 1_709_251_199_999);
        assert!(unix_millis_of("1969-12-31T23:59:59.999").is_err());
        assert!(unix_millis_of("2024-02-29").is_err());
    }
}
