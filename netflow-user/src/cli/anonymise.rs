//! Options of anonymisation.

use std::path::PathBuf;

use clap::Args;

use crate::record::anonymisation::Rule;

/// What records do not show.
#[derive(Debug, Args)]
#[command(next_help_heading = "Records")]
pub struct Anonymise {
    /// What becomes of addresses, may be repeated: FAMILY=METHOD or INTERFACE:FAMILY=METHOD, of ipv4, ipv6 or mac and
    /// crypto-pan, /BITS or none
    #[arg(long, value_name = "RULE", hide_short_help = true)]
    pub anonymise: Vec<Rule>,
    /// Key of crypto-pan: a file of 32 octets or 64 hexadecimal digits that only its owner may read
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub anonymisation_key: Option<PathBuf>,
}
