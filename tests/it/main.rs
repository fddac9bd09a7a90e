//! The end-to-end tests: real programs, real call records, hostile peers. Each module breaks at one promise.

// A panic is how a test fails: the message and the line are what its reader needs.
#![allow(clippy::unwrap_used)]

mod backup;
mod browser;
mod canaries;
mod cgroups;
mod config;
mod confinement;
mod controls;
mod escape;
mod exactly_once;
mod freepbx;
mod fusionpbx;
mod health;
mod hostile_agent;
mod hostile_hub;
mod hostile_relay;
mod laboratory;
mod manager;
mod off_is_off;
mod old_kernels;
mod outages;
mod owners_pages;
mod packages;
mod pipeline;
mod proxied;
mod real_asterisk;
mod real_kernel;
mod record_files;
mod recordings;
mod records;
mod setup;
mod sound;
mod sources;
mod stalled;
mod support;
mod updates;
mod watched;
mod web;
mod web_attacked;
mod web_role;
