//! The vendor's end of Demarc: takes tunnels, stores aggregated reports, signs receipts.
//!
//! The program is thin; everything that it does stands here, so that tests can reach it.

pub mod ca;
pub mod clock;
pub mod config;
pub mod keys;
pub mod peer;
pub mod store;
pub mod tls;
