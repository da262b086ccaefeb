//! Programs not written here that say what the agent exported.

mod nfcapd;
mod tshark;

pub use self::nfcapd::{Nfcapd, NfcapdSummary, NfcapdVerdict};
pub use self::tshark::{Tshark, TsharkCapture};
