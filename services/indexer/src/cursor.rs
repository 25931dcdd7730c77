//! Cursors of the event stream: a block of each chain, and how many reorganisations of it the consumer knows of.
//! Opaque to those who keep them.

use alloy_primitives::{B256, hex, keccak256};

use crate::db::Layer;
use crate::reconcile::follow::At;

/// First byte of a cursor; another layout gets another number.
const VERSION: u8 = 2;
/// The layout before, without the knowledge of reorganisations and nodes: read as one that knows of none.
const VERSION_BEFORE: u8 = 1;
/// Enough to tell networks apart; it guards against mistakes, not against attackers.
const NETWORK_BYTES: usize = 8;
const BLOCK_BYTES: usize = 1 + 8 + 32;
const HEAD_BYTES: usize = 1 + NETWORK_BYTES;
const BYTES_BEFORE: usize = HEAD_BYTES + 2 * BLOCK_BYTES;
const BYTES: usize = BYTES_BEFORE + 3 * 8;

/// Where a consumer stands on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The last block applied; none before the first.
    pub at: Option<At>,
    /// The last reorganisation that the consumer was told of.
    pub reorg: i64,
}

/// Where a consumer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// On L1.
    pub l1: Position,
    /// On L2.
    pub l2: Position,
    /// The last change of a node.
    pub node_change: i64,
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
    pub fn of(&self, layer: Layer) -> Position {
        match layer {
            Layer::L1 => self.l1,
            Layer::L2 => self.l2,
        }
    }

    /// Moves on a chain.
    pub fn set(&mut self, layer: Layer, position: Position) {
        match layer {
            Layer::L1 => self.l1 = position,
            Layer::L2 => self.l2 = position,
        }
    }

    /// As text.
    pub fn encode(&self, network: &str) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&tag(network));
        for position in [self.l1, self.l2] {
            let At { number, hash } = position.at.unwrap_or(At { number: 0, hash: B256::ZERO });
            bytes.push(u8::from(position.at.is_some()));
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(hash.as_slice());
        }
        for known in [self.l1.reorg, self.l2.reorg, self.node_change] {
            bytes.extend_from_slice(&known.to_be_bytes());
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
        let bytes = hex::decode(text).map_err(|_| Malformed::Form)?;
        let known = match (bytes.first(), bytes.len()) {
            (Some(&VERSION), BYTES) => &bytes[BYTES_BEFORE..],
            (Some(&VERSION_BEFORE), BYTES_BEFORE) => &[0; 3 * 8][..],
            _ => return Err(Malformed::Form),
        };
        if bytes[1..HEAD_BYTES] != tag(network) {
            return Err(Malformed::OtherNetwork);
        }
        let (l1, l2) = bytes[HEAD_BYTES..BYTES_BEFORE].split_at(BLOCK_BYTES);
        let number = |place: usize| -> Result<i64, Malformed> {
            let bytes = known[place * 8..(place + 1) * 8].try_into().map_err(|_| Malformed::Form)?;
            Ok(i64::from_be_bytes(bytes))
        };
        Ok(Self {
            l1: Position { at: block(l1)?, reorg: number(0)? },
            l2: Position { at: block(l2)?, reorg: number(1)? },
            node_change: number(2)?,
        })
    }
}

fn block(bytes: &[u8]) -> Result<Option<At>, Malformed> {
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

    fn position(number: u64, byte: u8, reorg: i64) -> Position {
        Position { at: Some(At { number, hash: B256::repeat_byte(byte) }), reorg }
    }

    #[test]
    fn a_cursor_survives_its_text() {
        let nowhere = Position::default();
        for (l1, l2, node_change) in [
            (nowhere, nowhere, 0),
            (position(7, 1, 3), nowhere, i64::MAX),
            (nowhere, position(0, 2, 0), 5),
            (position(u64::MAX, 3, i64::MAX), position(9, 4, 1), 1),
        ] {
            let cursor = Cursor { l1, l2, node_change };
            assert_eq!(Cursor::decode("devnet", &cursor.encode("devnet")), Ok(cursor));
        }
        assert_eq!(Cursor::decode("devnet", ""), Ok(Cursor::default()));
    }

    #[test]
    fn a_cursor_of_the_layout_before_knows_of_no_reorganisation() {
        let now = Cursor { l1: position(7, 1, 3), l2: position(8, 2, 4), node_change: 5 };
        let mut bytes = hex::decode(now.encode("devnet")).expect("hex");
        bytes.truncate(BYTES_BEFORE);
        bytes[0] = VERSION_BEFORE;
        let before = Cursor { l1: position(7, 1, 0), l2: position(8, 2, 0), node_change: 0 };
        assert_eq!(Cursor::decode("devnet", &hex::encode(bytes)), Ok(before));
    }

    #[test]
    fn a_cursor_of_another_network_and_other_texts_are_refused() {
        let cursor = Cursor::default().encode("devnet");
        assert_eq!(Cursor::decode("sepolia", &cursor), Err(Malformed::OtherNetwork));
        for text in ["x", "00", &cursor[2..], &format!("{cursor}00"), &cursor.replacen("02", "09", 1)] {
            assert_eq!(Cursor::decode("devnet", text), Err(Malformed::Form), "{text}");
        }
    }
}
