//! Values with units.

use std::{num::NonZeroU32, time::Duration};

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for example 500ms, 15s or 30m"))
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_size::parse_size(text).map_err(|error| format!("{error}; write for example 1472, 64KiB or 1GiB"))
}

pub(super) fn entries(text: &str) -> Result<NonZeroU32, String> {
    let number = parse_size::parse_size(text)
        .map_err(|error| format!("{error}; write for example 262144, 256Ki or 1M"))?;
    u32::try_from(number)
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| "from 1 to 4294967295 is possible".to_owned())
}
