//! The audit log: what a record says, how it is encoded, and how its end is signed and brought outside.
//!
//! The database gives each record its number, its time and its place in the chain
//! (`keys.append_audit`); no answer leaves before that is durable. The chain itself, signed heads and the
//! verification of exports stand in the crate `trail`, which auditors use without this service.

pub mod head_file;
pub mod publish;
pub mod signer;
pub mod webhook;

use alloy_primitives::{Address, B256, U256};
use api::keys::v1::{AuditBody, AuditedTransaction, SigningIntent};
use prost::Message;

use crate::db::audit::Row;

pub use trail::Head;

/// What a decision was about.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub caller: String,
    /// The rpc, for example "SignTransaction".
    pub action: &'static str,
    pub key_id: String,
    /// In words, without any secret.
    pub intent: String,
    pub digest: Option<B256>,
    pub policy_version: u64,
    pub operation_id: String,
    pub network: String,
    pub transaction: Option<Transaction>,
}

/// The numbers of a transaction.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub chain_id: u64,
    pub account: Address,
    pub nonce: u64,
    pub gas_limit: u64,
    pub max_fee_per_gas: u128,
    pub max_priority_fee_per_gas: u128,
    pub signing_hash: B256,
    pub to: Address,
    pub value: U256,
    pub data: Vec<u8>,
    pub intent: SigningIntent,
    /// What approvals are bound to.
    pub intent_digest: B256,
}

/// The first record that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit record {sequence}: {problem}")]
pub struct Broken {
    pub sequence: i64,
    pub problem: &'static str,
}

impl Entry {
    /// The fields that are known before the decision.
    pub fn fields(&self) -> Vec<u8> {
        let Self {
            caller,
            action,
            key_id,
            intent,
            digest,
            policy_version,
            operation_id,
            network,
            transaction,
        } = self.clone();
        AuditBody {
            caller,
            action: action.to_owned(),
            key_id,
            intent,
            digest: digest.map(|digest| digest.to_vec()).unwrap_or_default().into(),
            policy_version,
            operation_id,
            network,
            transaction: transaction.map(AuditedTransaction::from),
            ..AuditBody::default()
        }
        .encode_to_vec()
    }

    /// All fields, for a decision that is made.
    pub fn allowed(&self) -> Vec<u8> {
        [self.fields(), verdict(true, "")].concat()
    }

    /// All fields, for a refusal with its reason.
    pub fn refused(&self, reason: &str) -> Vec<u8> {
        [self.fields(), verdict(false, reason)].concat()
    }
}

/// The fields of the outcome, to stand behind `Entry::fields`.
pub fn verdict(allowed: bool, rule: &str) -> Vec<u8> {
    let verdict = if allowed { "ALLOWED" } else { "REFUSED" };
    AuditBody { verdict: verdict.to_owned(), rule: rule.to_owned(), ..AuditBody::default() }.encode_to_vec()
}

impl From<Transaction> for AuditedTransaction {
    fn from(transaction: Transaction) -> Self {
        let Transaction {
            chain_id,
            account,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            signing_hash,
            to,
            value,
            data,
            intent,
            intent_digest,
        } = transaction;
        Self {
            chain_id,
            account: account.to_vec().into(),
            nonce,
            gas_limit,
            max_fee_per_gas_wei: max_fee_per_gas.to_string(),
            max_priority_fee_per_gas_wei: max_priority_fee_per_gas.to_string(),
            signing_hash: signing_hash.to_vec().into(),
            to: to.to_vec().into(),
            value_wei: value.to_string(),
            data: data.into(),
            signing_intent: intent.into(),
            intent_digest: intent_digest.to_vec().into(),
        }
    }
}

/// Verifies stored rows that follow `head`, in order, and says where the chain then ends. An export is verified by
/// `trail::verify`, which also names what was done; this one sees the columns that an export does not have.
pub fn verify<'a>(mut head: Head, rows: impl IntoIterator<Item = &'a Row>) -> Result<Head, Broken> {
    for row in rows {
        let Row { sequence, recorded_at, body, hash } = row;
        let broken = |problem| Broken { sequence: *sequence, problem };
        let expected = head.sequence + 1;
        if u64::try_from(*sequence) != Ok(expected) {
            return Err(broken("a record before it is missing, or it stands twice"));
        }
        let next = head.after(body);
        if next.hash != hash.0.0 {
            return Err(broken("its hash does not follow from its body and the hash before"));
        }
        let decoded = AuditBody::decode(body.as_slice()).map_err(|_| broken("its body cannot be decoded"))?;
        let micros = recorded_at.unix_timestamp_nanos() / 1000;
        if decoded.sequence != expected || i128::from(decoded.time_micros) != micros {
            return Err(broken("its columns say something else than its body"));
        }
        head = next;
    }
    Ok(head)
}
