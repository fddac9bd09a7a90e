//! The on-premise agent of a phone system. It counts calls, keeps content local, and shows everything that leaves.
//!
//! Data flows one way: `pbx` → `call` → `store` → `tally` → `gate` → `outbox` → `link`. ARCHITECTURE.md has the map.

pub mod backup;
pub mod call;
pub mod cgroup;
mod chart;
pub mod cli;
pub mod collector;
pub mod confine;
pub mod control;
pub mod detect;
pub mod figures;
pub mod gate;
pub mod health;
pub mod import;
pub mod ipc;
pub mod link;
pub mod local_report;
pub mod log;
pub mod memory;
pub mod missed_report;
pub mod next_report;
pub mod number;
pub mod outbox;
pub mod own_number_report;
pub mod pbx;
mod printed;
pub mod private;
pub mod queue_report;
pub mod recordings;
pub mod report;
pub mod session;
pub mod settings;
pub mod setup;
mod staged;
pub mod state;
pub mod store;
pub mod supervisor;
pub mod support;
pub mod tally;
pub mod wait_report;
pub mod web;
