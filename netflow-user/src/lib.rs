//! The agent, room by room in the order of the data path:
//! packet -> map -> drain -> flow cache -> record -> message -> transport.

pub mod capture;
pub mod clock;
pub mod collect;
pub mod drain;
pub mod flow_cache;
pub mod interface;
pub mod kernel;
pub mod ledger;
pub mod message;
pub mod record;
pub mod time;
pub mod transport;
