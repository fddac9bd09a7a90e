//! How a hub behaves: who it claims to be, and what it does where an honest one would answer.

use std::sync::Arc;

use demarc_proto::{Receipt, ToAgent};

use crate::authority::Authority;

/// Who the hub claims to be when a connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// The hub that the site is enrolled at.
    Own,
    /// A certificate of another authority.
    OtherAuthority,
    /// The right authority, another server's name.
    OtherName,
    /// A certificate that is over.
    Expired,
    /// A certificate that begins tomorrow.
    NotYet,
    /// No TLS: an HTTP server's answer in plain text.
    PlainHttp,
    /// Takes the connection and never says a word.
    Mute,
}

/// Makes the answers to a report out of the honest receipt for it.
pub type Forge = dyn Fn(&Receipt, &Authority) -> Vec<ToAgent> + Send + Sync;

/// What is done where an honest hub would answer.
#[derive(Clone)]
pub enum Answer {
    /// What an honest hub answers.
    Proper,
    /// Nothing, for ever.
    Silence,
    /// The connection is reset.
    Reset,
    /// These bytes on the control stream, frames or not; then nothing, and the connection stays up.
    Bytes(Vec<u8>),
    /// These messages.
    Forged(Arc<Forge>),
}

/// How the hub behaves to connections from now on.
#[derive(Clone)]
pub struct Manner {
    /// Who it claims to be.
    pub face: Face,
    /// Where an honest hub says Welcome.
    pub hello: Answer,
    /// Where an honest hub gives a receipt.
    pub report: Answer,
    /// Bytes that are written on the bare TLS connection instead of any HTTP/2 of a library.
    pub raw: Option<Vec<u8>>,
}

impl Manner {
    /// As a hub should be.
    pub fn honest() -> Self {
        Self { face: Face::Own, hello: Answer::Proper, report: Answer::Proper, raw: None }
    }
}
