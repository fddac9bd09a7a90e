//! The real hub against scripted agents, honest and hostile.

// A test that cannot go on fails, and nobody sees its items from outside.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod agent;
mod commands;
mod enrollment;
mod hub;
mod lifecycle;
mod reports;
mod sessions;
mod support;
mod support_ca;
mod tunnels;
