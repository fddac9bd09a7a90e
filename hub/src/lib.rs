//! The vendor's end of Demarc: takes tunnels, stores aggregated reports, signs receipts.
//!
//! The program is thin; everything that it does stands here, so that tests can reach it.

pub mod backups;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod config;
pub mod enroll;
pub mod files;
pub mod health;
mod heap;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod intake;
pub mod keys;
pub mod limit;
pub mod lookup;
pub mod metrics;
pub mod pages;
pub mod peer;
pub mod presence;
pub mod registry;
pub mod renew;
pub mod server;
pub mod store;
pub mod support;
pub mod support_ca;
pub mod tls;
pub mod tunnel;
