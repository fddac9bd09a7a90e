//! Packets: three bytes of length, one number, the payload; and the numbers and texts inside.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::MysqlError;

/// A payload of this length goes on in the next packet.
const FULL: usize = 0xff_ff_ff;
/// No row of call records and no greeting is longer.
const MAX_PAYLOAD: usize = 4 << 20;

/// Receives a payload.
pub(super) async fn receive(
    stream: &mut (impl AsyncReadExt + Unpin),
    sequence: &mut u8,
) -> Result<Vec<u8>, MysqlError> {
    let head = stream.read_u32_le().await?;
    let [l0, l1, l2, number] = head.to_le_bytes();
    let length = u32::from_le_bytes([l0, l1, l2, 0]) as usize;
    if number != *sequence {
        return Err(MysqlError::Protocol("packets out of order"));
    }
    if length > MAX_PAYLOAD {
        return Err(MysqlError::Protocol("a packet too long"));
    }
    *sequence = sequence.wrapping_add(1);
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

/// Sends a payload.
pub(super) async fn send(
    stream: &mut (impl AsyncWriteExt + Unpin),
    sequence: &mut u8,
    payload: &[u8],
) -> Result<(), MysqlError> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() < FULL);
    let length = length.ok_or(MysqlError::Protocol("a question too long"))?;
    let [l0, l1, l2, _] = length.to_le_bytes();
    stream.write_all(&[l0, l1, l2, *sequence]).await?;
    *sequence = sequence.wrapping_add(1);
    stream.write_all(payload).await?;
    stream.flush().await?;
    Ok(())
}

/// A payload that is read from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A text that ends with a zero byte, or with the payload.
    pub(super) fn text(&mut self) -> &'a [u8] {
        let end = memchr::memchr(0, self.0).unwrap_or(self.0.len());
        let text = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        text
    }

    /// A number that says by its first byte how long it is.
    pub(super) fn number(&mut self) -> Option<u64> {
        let width = match self.byte()? {
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            small @ 0..=0xfa => return Some(u64::from(small)),
            _ => return None,
        };
        let mut value = [0; 8];
        value[..width].copy_from_slice(self.bytes(width)?);
        Some(u64::from_le_bytes(value))
    }

    /// Bytes with their length before them.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(usize::try_from(length).ok()?)
    }
}
