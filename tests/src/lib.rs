//! Starts the real programs, feeds them real call records, and stands in for everybody that may turn hostile.

// A panic is how a test fails: the message and the line are what its reader needs.
#![allow(clippy::unwrap_used)]

pub mod appliance;
pub mod asterisk;
pub mod authority;
pub mod cdr;
pub mod cgroup;
pub mod clock;
pub mod data;
pub mod desk;
pub mod driven;
pub mod emulated;
pub mod flood;
pub mod hostile_agent;
pub mod hostile_hub;
pub mod http;
pub mod http_proxy;
pub mod hub;
pub mod lab;
pub mod machine;
pub mod mariadb;
pub mod oracle;
pub mod packed;
pub mod page;
pub mod pages;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod relay;
pub mod repository;
pub mod site;
pub mod terminal;
pub mod traces;
pub mod traffic;
pub mod wait;
