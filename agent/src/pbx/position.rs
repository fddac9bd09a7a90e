//! How far a file was read, in a form that survives restarts, rotations and truncations.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many of a file's first bytes make its fingerprint.
pub const PREFIX: usize = 1024;

/// How far a source was read. The store keeps it in the same transaction as the rows that it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The device that the file lies on.
    pub device: u64,
    /// The file's inode on it.
    pub inode: u64,
    /// How many bytes were consumed; a row begins there.
    pub offset: u64,
    /// How many bytes the fingerprint covers: at most [`PREFIX`], and never more than `offset`.
    pub prefix_len: u32,
    /// SHA-256 of the file's first `prefix_len` bytes. An inode number is used again after a file was deleted, and a
    /// truncated file keeps its own: the fingerprint tells what the number cannot.
    #[serde(with = "hex")]
    pub prefix_hash: [u8; 32],
    /// The file's time of change when it was last read, in nanoseconds since 1970: a rotated file that changed later
    /// holds rows that were not read.
    #[serde(default)]
    pub modified: i64,
    /// The `end` of the last row: decides the hour that autumn repeats where a row has no uniqueid.
    #[serde(default)]
    pub last_end: Option<i64>,
    /// A fingerprint of the last row when its account code was `Master`, which Asterisk writes twice.
    #[serde(default)]
    pub twice: Option<u64>,
    /// Files read before this one, newest first, to which a program that keeps its file open may still write.
    #[serde(default)]
    pub older: Vec<Mark>,
}

impl Position {
    /// Takes over the fingerprint of a file with that beginning, as far as it was read.
    pub fn take_fingerprint(&mut self, head: &[u8]) {
        let read = usize::try_from(self.offset).unwrap_or(PREFIX).min(PREFIX);
        let prefix = &head[..head.len().min(read)];
        (self.prefix_len, self.prefix_hash) = (prefix.len() as u32, fingerprint(prefix));
    }

    /// How far the file itself was read.
    pub fn mark(&self) -> Mark {
        Mark {
            device: self.device,
            inode: self.inode,
            offset: self.offset,
            prefix_len: self.prefix_len,
            prefix_hash: self.prefix_hash,
        }
    }
}

/// How far one file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The device that the file lies on.
    pub device: u64,
    /// The file's inode on it.
    pub inode: u64,
    /// How many bytes were consumed; a row begins there.
    pub offset: u64,
    /// How many bytes the fingerprint covers.
    pub prefix_len: u32,
    /// SHA-256 of the file's first `prefix_len` bytes.
    #[serde(with = "hex")]
    pub prefix_hash: [u8; 32],
}

impl Mark {
    /// Whether a file that begins with these bytes is the one that was read.
    ///
    /// Nothing is known of a file of which nothing was read: every file matches.
    pub fn matches(&self, head: &[u8]) -> bool {
        head.get(..self.prefix_len as usize).is_some_and(|prefix| fingerprint(prefix) == self.prefix_hash)
    }
}

/// The fingerprint of a file's first bytes.
pub fn fingerprint(prefix: &[u8]) -> [u8; 32] {
    Sha256::digest(prefix).into()
}

mod hex {
    use data_encoding::HEXLOWER;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| D::Error::custom("a fingerprint is 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_being_stored() {
        let position = Position {
            device: 1,
            inode: 2,
            offset: 300,
            prefix_len: 3,
            prefix_hash: fingerprint(b"abc"),
            last_end: Some(5),
            older: vec![Mark { inode: 1, ..Mark::default() }],
            ..Position::default()
        };
        let text = serde_json::to_string(&position).expect("plain data");
        assert_eq!(serde_json::from_str::<Position>(&text).expect("what was just written"), position);
        assert!(
            position.mark().matches(b"abcd") && !position.mark().matches(b"ab") && !position.mark().matches(b"abd")
        );
    }
}
