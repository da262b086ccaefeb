//! The agent as a whole, in networks of its own: what it meters live, and what arrives.
#![allow(clippy::unwrap_used, reason = "tests")]

mod biflow;
mod churn;
mod collectors;
mod conservation;
mod control;
mod faults;
mod filter;
mod full_disk;
mod full_spool;
mod groups;
mod metrics;
mod observation_points;
mod own_export;
mod pacing;
mod reload;
mod rotation;
mod routes;
mod spool;
mod sys_up_time;
mod timeouts;
mod top;
mod traffic_control;
mod way_out;
