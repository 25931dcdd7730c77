//! What approvals are bound to: one digest for exactly one intent.
//!
//! Each kind begins with words of its own and every part of variable length with its length, so that no two intents
//! share their bytes. SHA-256, and never signed by a key: an approval is a row of an authenticated caller.

use alloy_primitives::{Address, B256, U256};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// A transaction. Nonce and fees are left out: a replacement within the bounds needs no new round, anything else
/// does. The value is the highest that was approved, because the bridge fee is quoted later.
pub fn digest(
    network: &str,
    chain_id: u64,
    account: Address,
    contract: Address,
    value_max: U256,
    calldata: &[u8],
) -> B256 {
    Parts::of("transaction")
        .text(network)
        .bytes(&chain_id.to_be_bytes())
        .bytes(account.as_slice())
        .bytes(contract.as_slice())
        .bytes(&value_max.to_be_bytes::<32>())
        .bytes(calldata)
        .end()
}

/// A new policy in place of that version.
pub fn policy(expected_version: u64, toml: &str) -> B256 {
    Parts::of("policy").bytes(&expected_version.to_be_bytes()).text(toml).end()
}

/// The end of this freeze of a key; a later one needs a new round. `None` where only a label of it is frozen.
pub fn thaw_key(key_id: &str, frozen_at: Option<OffsetDateTime>) -> B256 {
    let since = frozen_at.map(micros).map(i128::to_be_bytes);
    Parts::of("thaw key").text(key_id).bytes(since.as_ref().map_or(&[], <[u8; 16]>::as_slice)).end()
}

/// The end of this freeze of a label; a later one needs a new round.
pub fn thaw_label(name: &str, value: &str, frozen_at: OffsetDateTime) -> B256 {
    Parts::of("thaw label").text(name).text(value).bytes(&micros(frozen_at).to_be_bytes()).end()
}

/// A text or typed data, by its signing hash.
pub fn message(account: Address, signing_hash: B256) -> B256 {
    Parts::of("message").bytes(account.as_slice()).bytes(signing_hash.as_slice()).end()
}

/// As exact as the database keeps times.
fn micros(time: OffsetDateTime) -> i128 {
    time.unix_timestamp_nanos() / 1000
}

struct Parts(Sha256);

impl Parts {
    fn of(kind: &str) -> Self {
        Self(Sha256::new().chain_update(b"metis sequencer intent 1: ")).text(kind)
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self(self.0.chain_update(length.to_be_bytes()).chain_update(bytes))
    }

    fn end(self) -> B256 {
        B256::from_slice(&self.0.finalize())
    }
}
