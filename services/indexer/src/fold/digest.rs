//! The digest chain: one hash for everything that is indexed up to a block, equal wherever the same was indexed.
//!
//! `digest(n) = SHA-256(digest(before) ‖ block hash ‖ for each log: index, transaction index, address, topics, data)`,
//! with every length written out. Blocks without logs of ours leave no trace, so that it does not matter which of
//! them an installation looked at.

use alloy_primitives::{Address, B256};
use sha2::{Digest as _, Sha256};

/// One log as it is hashed.
#[derive(Debug, Clone, Copy)]
pub struct Hashed<'a> {
    /// Place in the block.
    pub log_index: i32,
    /// Place of the transaction in the block.
    pub transaction_index: i32,
    /// Emitting contract.
    pub address: Address,
    /// Topics.
    pub topics: &'a [B256],
    /// What is not indexed.
    pub data: &'a [u8],
}

/// The digest of one block being made.
#[derive(Debug, Clone)]
pub struct Link(Sha256);

impl Link {
    /// Begins the link of a block after the digest of the block with logs before it; zeros before the first.
    pub fn after(previous: B256, block_hash: B256) -> Self {
        Self(Sha256::new_with_prefix(previous).chain_update(block_hash))
    }

    /// Adds the next log of the block.
    pub fn add(&mut self, log: Hashed<'_>) {
        let Hashed { log_index, transaction_index, address, topics, data } = log;
        self.0.update(log_index.to_be_bytes());
        self.0.update(transaction_index.to_be_bytes());
        self.0.update(address);
        self.0.update([u8::try_from(topics.len()).unwrap_or(u8::MAX)]);
        topics.iter().for_each(|topic| self.0.update(topic));
        self.0.update((data.len() as u64).to_be_bytes());
        self.0.update(data);
    }

    /// The digest.
    pub fn finish(self) -> B256 {
        B256::from_slice(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(log_index: i32, data: &[u8]) -> Hashed<'_> {
        Hashed { log_index, transaction_index: 0, address: Address::repeat_byte(1), topics: &[], data }
    }

    fn digest(previous: B256, logs: &[Hashed<'_>]) -> B256 {
        let mut link = Link::after(previous, B256::repeat_byte(9));
        logs.iter().for_each(|log| link.add(*log));
        link.finish()
    }

    #[test]
    fn every_part_of_a_block_and_what_came_before_changes_the_digest() {
        let whole = digest(B256::ZERO, &[log(0, b"ab"), log(1, b"c")]);
        let others = [
            digest(B256::repeat_byte(1), &[log(0, b"ab"), log(1, b"c")]),
            digest(B256::ZERO, &[log(0, b"ab")]),
            digest(B256::ZERO, &[log(0, b"a"), log(1, b"bc")]),
            digest(B256::ZERO, &[log(0, b"ab"), log(2, b"c")]),
        ];
        assert!(others.iter().all(|other| *other != whole));
        assert_eq!(whole, digest(B256::ZERO, &[log(0, b"ab"), log(1, b"c")]));
    }
}
