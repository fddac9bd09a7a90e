//! What `demarc setup` is made of: what was found, what is asked, the file that follows from both.

pub mod access;
pub mod answers;
pub mod database;
pub mod digest;
pub mod draft;
pub mod findings;
pub mod question;
pub mod reach;
pub mod sample;
pub mod service;
pub mod terminal;
pub mod unit;
