//! A transaction, from its fields to the verdict of a policy: the same way for signing, for `TestPolicy` and for
//! `ExplainPolicy`.

use alloy_primitives::{Address, U256};
use time::OffsetDateTime;

use super::call::{Call, Unknown};
use super::document::Policy;
use super::evaluate::{Allowance, Denial, KeyFacts, Request, Sent, Subject};
use crate::db::key::Key;

/// What of a transaction a policy looks at.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub network: String,
    pub chain_id: u64,
    pub to: Address,
    pub value: U256,
    pub data: Vec<u8>,
    pub gas_limit: u64,
    pub max_fee_per_gas: U256,
    /// Declared as a cancel.
    pub cancel: bool,
}

/// Why a transaction is no call that rules could be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCall {
    Denied(Denial),
    Unknown(Unknown),
}

/// Who asks, for which key, and when.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    pub caller: &'a str,
    pub key: &'a Key,
    pub now: OffsetDateTime,
}

impl Key {
    /// What rules know of it.
    pub fn facts(&self) -> KeyFacts<'_> {
        KeyFacts { id: &self.id, name: &self.name, role: self.role, labels: &self.labels }
    }
}

impl Transaction {
    /// The most ETH that it can cost.
    pub fn eth_max(&self) -> U256 {
        let fee = self.max_fee_per_gas.saturating_mul(U256::from(self.gas_limit));
        self.value.saturating_add(fee)
    }

    /// The call that it is, on a network of the policy.
    pub fn call(&self, own: Address, policy: &Policy) -> Result<Call, NoCall> {
        let denied = |field, bound, value| NoCall::Denied(Denial { rule: None, field, bound, value });
        let Some(contracts) = policy.contracts.get(&self.network) else {
            let bound = policy.contracts.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(denied("network", bound, self.network.chars().take(100).collect()));
        };
        if self.chain_id != contracts.chain_id {
            return Err(denied("chain_id", contracts.chain_id.to_string(), self.chain_id.to_string()));
        }
        let decoded = if self.cancel {
            Call::cancel(own, self.to, self.value, &self.data)
        } else {
            Call::decode(self.to, &self.data, contracts)
        };
        decoded.map_err(NoCall::Unknown)
    }

    /// The call as rules are asked about it. `signer_key` is the key here whose public key it names.
    pub fn request<'a>(
        &'a self,
        asker: Asker<'a>,
        call: &'a Call,
        signer_key: Option<&'a Key>,
    ) -> Request<'a> {
        let Asker { caller, key, now } = asker;
        Request {
            caller,
            key: key.facts(),
            account: key.address,
            now,
            subject: Subject::Call(Sent {
                network: &self.network,
                call,
                value: self.value,
                gas_limit: self.gas_limit,
                max_fee_per_gas: self.max_fee_per_gas,
                signer_key: signer_key.map(Key::facts),
            }),
        }
    }

    /// The call in words.
    pub fn words(&self, own: Address, call: &Call) -> String {
        format!("{call}, from {own} on {}", self.network)
    }

    /// All ways in which the policy allows it, or why not.
    pub fn judge(
        &self,
        asker: Asker<'_>,
        signer_key: Option<&Key>,
        policy: &Policy,
    ) -> Result<(Call, Allowance, Vec<Allowance>), NoCall> {
        let call = self.call(asker.key.address, policy)?;
        let (first, others) =
            policy.allowances(&self.request(asker, &call, signer_key)).map_err(NoCall::Denied)?;
        Ok((call, first, others))
    }
}
