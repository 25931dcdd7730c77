//! A user's wallet: its own keys, its own connection to L1, and no knowledge of what it signs beyond what
//! it is shown.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use anyhow::{Context, Result};
use domain::pubkey::PublicKey;
use k256::SecretKey;
use k256::ecdsa::SigningKey;
use serde::Deserialize;
use serde_json::{Value, json};
use testkit::contracts::Link;

/// Where the dApp gives no fees, twice the present price outlives a few full blocks.
const FEE_FACTOR: u128 = 2;

/// An account of the user.
#[derive(Debug)]
pub(super) struct Wallet {
    secret: SecretKey,
    l1: Link,
}

/// A transaction that can be sent.
#[derive(Debug, Clone)]
pub(super) struct SignedTransaction {
    pub(super) raw: Bytes,
    pub(super) hash: B256,
}

/// The params of `eth_sendTransaction`; what is left out the wallet decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    chain_id: U256,
    from: Address,
    to: Address,
    #[serde(default)]
    value: U256,
    data: Bytes,
    nonce: Option<U256>,
    gas: Option<U256>,
    max_fee_per_gas: Option<U256>,
    max_priority_fee_per_gas: Option<U256>,
}

impl Wallet {
    /// A wallet with a new key.
    pub(super) fn create(l1: Link) -> Result<Self> {
        let secret =
            SecretKey::from_slice(&rand::random::<[u8; 32]>()).context("a random number is a key")?;
        Ok(Self { secret, l1 })
    }

    pub(super) fn public_key(&self) -> PublicKey {
        self.secret.public_key().into()
    }

    pub(super) fn address(&self) -> Address {
        self.public_key().address()
    }

    /// What the user writes on paper, read back.
    pub(super) fn restores(&self) -> bool {
        let paper = hex::encode(self.secret.to_bytes());
        let read = hex::decode(paper).ok().and_then(|bytes| SecretKey::from_slice(&bytes).ok());
        read.is_some_and(|read| PublicKey::from(read.public_key()) == self.public_key())
    }

    /// Signs what a dApp asks `eth_sendTransaction` for.
    pub(super) async fn sign(&self, asked: &Value) -> Result<SignedTransaction> {
        let transaction: Asked =
            serde_json::from_value(asked.clone()).context("reading what is to be signed")?;
        anyhow::ensure!(transaction.from == self.address(), "the transaction is of {}", transaction.from);
        let nonce = match transaction.nonce {
            Some(nonce) => nonce,
            None => self.l1.rpc("eth_getTransactionCount", json!([self.address(), "pending"])).await?,
        };
        let gas = match transaction.gas {
            Some(gas) => gas,
            None => self.l1.rpc("eth_estimateGas", json!([asked])).await?,
        };
        let tip = U256::from(1_000_000_000);
        let fee = match transaction.max_fee_per_gas {
            Some(fee) => fee,
            None => self.l1.rpc::<U256>("eth_gasPrice", json!([])).await? * U256::from(FEE_FACTOR) + tip,
        };
        let tip = transaction.max_priority_fee_per_gas.unwrap_or(tip).min(fee);
        self.signed(TxEip1559 {
            chain_id: transaction.chain_id.saturating_to(),
            nonce: nonce.saturating_to(),
            gas_limit: gas.saturating_to(),
            max_fee_per_gas: fee.saturating_to(),
            max_priority_fee_per_gas: tip.saturating_to(),
            to: TxKind::Call(transaction.to),
            value: transaction.value,
            access_list: Default::default(),
            input: transaction.data,
        })
    }

    fn signed(&self, transaction: TxEip1559) -> Result<SignedTransaction> {
        let hash = transaction.signature_hash();
        let signing = SigningKey::from(&self.secret);
        let (signature, parity) = signing.sign_prehash_recoverable(hash.as_slice()).context("signing")?;
        let signed = transaction.into_signed(Signature::from((signature, parity)));
        let (hash, raw) = (*signed.hash(), signed.encoded_2718().into());
        Ok(SignedTransaction { raw, hash })
    }

    /// Sends it by the wallet's own connection.
    pub(super) async fn send(&self, transaction: &SignedTransaction) -> Result<()> {
        let sent: B256 = self.l1.rpc("eth_sendRawTransaction", json!([transaction.raw])).await?;
        anyhow::ensure!(sent == transaction.hash, "L1 knows it as {sent}, not as {}", transaction.hash);
        Ok(())
    }
}
