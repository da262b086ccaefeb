//! Programs not written here that say what the agent exported.

mod decoded;
mod exported;
mod netflume;
mod nfacctd;
mod nfcapd;
mod panel;
mod pdml;
mod tshark;

pub use self::decoded::DecodedFlow;
pub use self::exported::{AnonymisedElement, ExportedMessage, ExportedRecord, sequence_errors};
pub use self::netflume::{Netflume, NetflumeVerdict};
pub use self::nfacctd::{Nfacctd, NfacctdVerdict};
pub use self::nfcapd::{Nfcapd, NfcapdExporter, NfcapdSummary, NfcapdVerdict};
pub use self::panel::{IPFIX, NETFLOW_V9, Panel, PanelVerdict};
pub use self::pdml::{Layer, layers, tshark_is_here};
pub use self::tshark::{Tshark, TsharkCapture, sums_of_file};
