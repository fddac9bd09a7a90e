//! Frames: a four-byte big-endian length, then that many bytes of JSON.

use serde::{Serialize, de::DeserializeOwned};
use tokio_util::codec::LengthDelimitedCodec;

/// The longest frame from agent to hub. A report travels inside a JSON string, which escapes its quotes.
pub const MAX_TO_HUB: usize = 512 * 1024;
/// The longest frame from hub to agent.
pub const MAX_TO_AGENT: usize = 64 * 1024;

/// A codec that refuses longer frames before it makes room for them.
pub fn codec(max_frame: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(max_frame).new_codec()
}

/// The JSON form of a message: what stands in the ledger, and the payload of the frame.
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages have only string keys and finite numbers")
}

/// A frame is not a message.
#[derive(Debug, thiserror::Error)]
#[error("not a message that this side knows (byte {place})")]
pub struct UnknownMessage {
    /// Where reading stopped, counted from 1. What the peer wrote is not repeated.
    pub place: usize,
}

/// Reads a message from a frame's payload.
///
/// # Errors
/// When the bytes are not one of the messages of that direction.
pub fn decode<M: DeserializeOwned>(payload: &[u8]) -> Result<M, UnknownMessage> {
    serde_json::from_slice(payload).map_err(|error| UnknownMessage { place: error.column() })
}
