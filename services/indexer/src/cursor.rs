//! Cursors of the event stream: a block of each chain, opaque to those who keep them.

use alloy_primitives::{B256, hex, keccak256};

use crate::db::Layer;
use crate::reconcile::follow::At;

/// First byte of a cursor; another layout gets another number.
const VERSION: u8 = 1;
/// Enough to tell networks apart; it guards against mistakes, not against attackers.
const NETWORK_BYTES: usize = 8;
const POSITION_BYTES: usize = 1 + 8 + 32;
const BYTES: usize = 1 + NETWORK_BYTES + 2 * POSITION_BYTES;

/// Where a consumer stands: the last block applied of each chain, none before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// On L1.
    pub l1: Option<At>,
    /// On L2.
    pub l2: Option<At>,
}

/// A text that is no cursor of this network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not of our form.
    #[error("this is no cursor")]
    Form,
    /// Made for another network.
    #[error("this cursor is of another network")]
    OtherNetwork,
}

impl Cursor {
    /// The position on a chain.
    pub fn of(&self, layer: Layer) -> Option<At> {
        match layer {
            Layer::L1 => self.l1,
            Layer::L2 => self.l2,
        }
    }

    /// Moves on a chain.
    pub fn set(&mut self, layer: Layer, at: Option<At>) {
        match layer {
            Layer::L1 => self.l1 = at,
            Layer::L2 => self.l2 = at,
        }
    }

    /// As text.
    pub fn encode(&self, network: &str) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&tag(network));
        for at in [self.l1, self.l2] {
            let At { number, hash } = at.unwrap_or(At { number: 0, hash: B256::ZERO });
            bytes.push(u8::from(at.is_some()));
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(hash.as_slice());
        }
        hex::encode(bytes)
    }

    /// From text; the empty one is the beginning.
    ///
    /// # Errors
    /// When it is not a cursor of this network.
    pub fn decode(network: &str, text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut bytes = [0; BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| Malformed::Form)?;
        let (head, positions) = bytes.split_at(1 + NETWORK_BYTES);
        if head[0] != VERSION {
            return Err(Malformed::Form);
        }
        if head[1..] != tag(network) {
            return Err(Malformed::OtherNetwork);
        }
        let (l1, l2) = positions.split_at(POSITION_BYTES);
        Ok(Self { l1: position(l1)?, l2: position(l2)? })
    }
}

fn position(bytes: &[u8]) -> Result<Option<At>, Malformed> {
    let (number, hash) = bytes[1..].split_at(8);
    let number = u64::from_be_bytes(number.try_into().map_err(|_| Malformed::Form)?);
    match bytes[0] {
        0 => Ok(None),
        1 => Ok(Some(At { number, hash: B256::from_slice(hash) })),
        _ => Err(Malformed::Form),
    }
}

fn tag(network: &str) -> [u8; NETWORK_BYTES] {
    let mut tag = [0; NETWORK_BYTES];
    tag.copy_from_slice(&keccak256(network)[..NETWORK_BYTES]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let at = |number, byte| Some(At { number, hash: B256::repeat_byte(byte) });
        for (l1, l2) in [(None, None), (at(7, 1), None), (None, at(0, 2)), (at(u64::MAX, 3), at(9, 4))] {
            let cursor = Cursor { l1, l2 };
            assert_eq!(Cursor::decode("devnet", &cursor.encode("devnet")), Ok(cursor));
        }
        assert_eq!(Cursor::decode("devnet", ""), Ok(Cursor::default()));
    }

    #[test]
    fn a_cursor_of_another_network_and_other_texts_are_refused() {
        let cursor = Cursor::default().encode("devnet");
        assert_eq!(Cursor::decode("sepolia", &cursor), Err(Malformed::OtherNetwork));
        for text in ["x", "00", &cursor[2..], &format!("{cursor}00"), &cursor.replacen("01", "09", 1)] {
            assert_eq!(Cursor::decode("devnet", text), Err(Malformed::Form), "{text}");
        }
    }
}
