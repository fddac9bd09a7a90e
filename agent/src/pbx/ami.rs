//! Asterisk's manager interface (AMI): a witness of call records, and how the PBX is right now.
//!
//! `message` splits bytes into messages, `conversation` decides what they mean and what to say next, `cdr` reads the event of a
//! call record, `task` moves bytes and rows. There is no replay: what happens while nobody is connected is never told of.

pub mod cdr;
pub mod conversation;
pub mod facts;
pub mod message;
pub mod request;
pub mod rights;
pub mod task;
mod tray;
pub mod trouble;

pub use conversation::Conversation;
pub use facts::Facts;
pub use message::{Message, Splitter};
pub use trouble::Trouble;
