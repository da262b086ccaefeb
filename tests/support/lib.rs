//! What tests share: networks to test in, packets to send, judges to ask, captures with known counts, and the agent
//! as a process. Nothing here waits without a limit, and nothing outlives its owner.

pub mod agent;
pub mod calendar;
pub mod captures;
pub mod certificates;
pub mod expressions;
pub mod frame_table;
pub mod frames;
pub mod generator;
pub mod host;
pub mod idle;
pub mod judges;
pub mod lab;
pub mod ledger;
pub mod meter;
pub mod process;
pub mod raw;
pub mod scrape;
pub mod sctp_capture;
pub mod sctp_sink;
pub mod stream_sink;
pub mod terminal;
pub mod trickle;
pub mod tunnels;
pub mod wide;
