//! Calldata as the one call that it is: only known functions, only canonical encoding.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, sol};
use domain::amount::Metis;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::calldata;
use super::document::Contracts;

sol! {
    function approve(address spender, uint256 value) external returns (bool ok);
    function lockWithRewardRecipient(address signer, address rewardRecipient, uint256 amount, bytes signerPubkey) external;
    function relock(uint256 seqId, uint256 amount, bool lockReward) external;
    function withdraw(uint256 seqId, uint256 amount) external;
    function withdrawRewards(uint256 seqId, uint32 l2Gas) external payable;
    function unlock(uint256 seqId, uint32 l2Gas) external payable;
    function unlockClaim(uint256 seqId, uint32 l2Gas) external payable;
    function updateSigner(uint256 seqId, bytes signerPubkey) external;
    function setSequencerRewardRecipient(uint256 seqId, address recipient) external;
    function setSequencerOwner(uint256 seqId, address newOwner) external;
}

/// What can be asked of the chain, by the names of the contracts; `cancel` is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Function {
    /// METIS: lets LockingInfo take METIS for a lock.
    Approve,
    LockWithRewardRecipient,
    Relock,
    Withdraw,
    WithdrawRewards,
    Unlock,
    UnlockClaim,
    UpdateSigner,
    SetSequencerRewardRecipient,
    SetSequencerOwner,
    /// Zero-value transfer to oneself without data: uses up a nonce.
    Cancel,
}

/// A decoded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Approve { spender: Address, amount: U256 },
    LockWithRewardRecipient { signer: Address, recipient: Address, amount: U256, pubkey: Bytes },
    Relock { seq_id: U256, amount: U256, with_reward: bool },
    Withdraw { seq_id: U256, amount: U256 },
    WithdrawRewards { seq_id: U256, l2_gas: u32 },
    Unlock { seq_id: U256, l2_gas: u32 },
    UnlockClaim { seq_id: U256, l2_gas: u32 },
    UpdateSigner { seq_id: U256, pubkey: Bytes },
    SetSequencerRewardRecipient { seq_id: U256, recipient: Address },
    SetSequencerOwner { seq_id: U256, owner: Address },
    Cancel,
}

/// Why calldata is no call that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("{0} is no contract of this network")]
    Target(Address),
    #[error("the calldata has no selector")]
    NoSelector,
    #[error("selector 0x{0} is no function that this target is called for")]
    Selector(String),
    #[error("selector 0x{0} wraps other calls; each call is asked for by itself")]
    Wrapping(String),
    #[error("{function} has {bytes} bytes of calldata, at least {least} are needed")]
    TooShort { function: &'static str, bytes: usize, least: usize },
    #[error("{bytes} bytes stand behind the arguments of {function}")]
    Trailing { function: &'static str, bytes: usize },
    #[error("{argument} of {function} is not in canonical encoding")]
    Argument { function: &'static str, argument: &'static str },
    #[error("a cancel is a transfer of nothing to oneself, without data: {0} is something else")]
    NotACancel(&'static str),
}

impl Unknown {
    /// The field of the request that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Target(_) => "transaction.to",
            Self::NotACancel(field) => field,
            _ => "transaction.data",
        }
    }

    /// The argument that is wrong, where it is one.
    pub fn argument(&self) -> Option<&'static str> {
        match self {
            Self::Argument { argument, .. } => Some(argument),
            _ => None,
        }
    }
}

/// Digest of what a transaction does: target, value and calldata.
pub fn digest(to: Address, value: U256, data: &[u8]) -> B256 {
    let hash = Sha256::new().chain_update(to).chain_update(value.to_be_bytes::<32>()).chain_update(data);
    B256::from_slice(&hash.finalize())
}

impl Call {
    /// Decodes a call to one of the contracts.
    pub fn decode(to: Address, data: &[u8], contracts: &Contracts) -> Result<Self, Unknown> {
        let (selector, _) = data.split_first_chunk::<4>().ok_or(Unknown::NoSelector)?;
        if calldata::wraps(*selector) {
            return Err(Unknown::Wrapping(hex::encode(selector)));
        }
        let unknown = || Unknown::Selector(hex::encode(selector));
        if to == contracts.metis {
            return match *selector {
                approveCall::SELECTOR => exact::<approveCall>(data, &["spender", "value"]).map(Self::from),
                _ => Err(unknown()),
            };
        }
        if to != contracts.locking_pool {
            return Err(Unknown::Target(to));
        }
        match *selector {
            lockWithRewardRecipientCall::SELECTOR => exact::<lockWithRewardRecipientCall>(
                data,
                &["signer", "rewardRecipient", "amount", "signerPubkey"],
            )
            .map(Self::from)?
            .with_whole_pubkey("lockWithRewardRecipient"),
            relockCall::SELECTOR => {
                exact::<relockCall>(data, &["seqId", "amount", "lockReward"]).map(Self::from)
            }
            withdrawCall::SELECTOR => exact::<withdrawCall>(data, &["seqId", "amount"]).map(Self::from),
            withdrawRewardsCall::SELECTOR => {
                exact::<withdrawRewardsCall>(data, &["seqId", "l2Gas"]).map(Self::from)
            }
            unlockCall::SELECTOR => exact::<unlockCall>(data, &["seqId", "l2Gas"]).map(Self::from),
            unlockClaimCall::SELECTOR => exact::<unlockClaimCall>(data, &["seqId", "l2Gas"]).map(Self::from),
            updateSignerCall::SELECTOR => exact::<updateSignerCall>(data, &["seqId", "signerPubkey"])
                .map(Self::from)?
                .with_whole_pubkey("updateSigner"),
            setSequencerRewardRecipientCall::SELECTOR => {
                exact::<setSequencerRewardRecipientCall>(data, &["seqId", "recipient"]).map(Self::from)
            }
            setSequencerOwnerCall::SELECTOR => {
                exact::<setSequencerOwnerCall>(data, &["seqId", "newOwner"]).map(Self::from)
            }
            _ => Err(unknown()),
        }
    }

    /// Takes a transaction that was declared as a cancel.
    pub fn cancel(own: Address, to: Address, value: U256, data: &[u8]) -> Result<Self, Unknown> {
        if to != own {
            Err(Unknown::NotACancel("transaction.to"))
        } else if !value.is_zero() {
            Err(Unknown::NotACancel("transaction.value_wei"))
        } else if !data.is_empty() {
            Err(Unknown::NotACancel("transaction.data"))
        } else {
            Ok(Self::Cancel)
        }
    }

    /// The contract refuses any other length.
    fn with_whole_pubkey(self, function: &'static str) -> Result<Self, Unknown> {
        match self.pubkey() {
            Some(pubkey) if pubkey.len() != calldata::PUBKEY_BYTES => {
                Err(Unknown::Argument { function, argument: "signerPubkey" })
            }
            _ => Ok(self),
        }
    }

    /// Which function is called.
    pub fn function(&self) -> Function {
        match self {
            Self::Approve { .. } => Function::Approve,
            Self::LockWithRewardRecipient { .. } => Function::LockWithRewardRecipient,
            Self::Relock { .. } => Function::Relock,
            Self::Withdraw { .. } => Function::Withdraw,
            Self::WithdrawRewards { .. } => Function::WithdrawRewards,
            Self::Unlock { .. } => Function::Unlock,
            Self::UnlockClaim { .. } => Function::UnlockClaim,
            Self::UpdateSigner { .. } => Function::UpdateSigner,
            Self::SetSequencerRewardRecipient { .. } => Function::SetSequencerRewardRecipient,
            Self::SetSequencerOwner { .. } => Function::SetSequencerOwner,
            Self::Cancel => Function::Cancel,
        }
    }

    /// The METIS that the call names, for bounds on amounts.
    pub fn amount(&self) -> Option<U256> {
        match self {
            Self::Approve { amount, .. }
            | Self::LockWithRewardRecipient { amount, .. }
            | Self::Relock { amount, .. }
            | Self::Withdraw { amount, .. } => Some(*amount),
            _ => None,
        }
    }

    /// The METIS that leaves the owner. An allowance moves nothing; the lock that uses it is counted.
    pub fn metis_out(&self) -> U256 {
        match self {
            Self::LockWithRewardRecipient { amount, .. } | Self::Relock { amount, .. } => *amount,
            _ => U256::ZERO,
        }
    }

    /// The sequencer that the call is about; a lock makes a new one.
    pub fn sequencer(&self) -> Option<U256> {
        match self {
            Self::Approve { .. } | Self::LockWithRewardRecipient { .. } | Self::Cancel => None,
            Self::Relock { seq_id, .. }
            | Self::Withdraw { seq_id, .. }
            | Self::WithdrawRewards { seq_id, .. }
            | Self::Unlock { seq_id, .. }
            | Self::UnlockClaim { seq_id, .. }
            | Self::UpdateSigner { seq_id, .. }
            | Self::SetSequencerRewardRecipient { seq_id, .. }
            | Self::SetSequencerOwner { seq_id, .. } => Some(*seq_id),
        }
    }

    /// The public key of the signer, where the call sets one.
    pub fn pubkey(&self) -> Option<&Bytes> {
        match self {
            Self::LockWithRewardRecipient { pubkey, .. } | Self::UpdateSigner { pubkey, .. } => Some(pubkey),
            _ => None,
        }
    }

    /// The address of that public key, as the contract derives it.
    pub fn signer(&self) -> Option<Address> {
        self.pubkey().map(|pubkey| Address::from_word(keccak256(pubkey)))
    }

    /// Who gets the rewards from now on, where the call says so.
    pub fn recipient(&self) -> Option<Address> {
        match self {
            Self::LockWithRewardRecipient { recipient, .. }
            | Self::SetSequencerRewardRecipient { recipient, .. } => Some(*recipient),
            _ => None,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metis = |amount: &U256| format!("{} METIS", Metis(*amount));
        match self {
            Self::Approve { spender, amount } => write!(f, "allow {spender} to take {}", metis(amount)),
            Self::LockWithRewardRecipient { signer, recipient, amount, .. } => {
                write!(f, "lock {} with signer {signer}, rewards to {recipient}", metis(amount))
            }
            Self::Relock { seq_id, amount, with_reward } => {
                let reward = if *with_reward { " and its reward" } else { "" };
                write!(f, "increase the lock of sequencer {seq_id} by {}{reward}", metis(amount))
            }
            Self::Withdraw { seq_id, amount } => {
                write!(f, "withdraw {} from the lock of sequencer {seq_id}", metis(amount))
            }
            Self::WithdrawRewards { seq_id, .. } => write!(f, "claim the rewards of sequencer {seq_id}"),
            Self::Unlock { seq_id, .. } => write!(f, "unlock sequencer {seq_id}, for good"),
            Self::UnlockClaim { seq_id, .. } => write!(f, "withdraw the principal of sequencer {seq_id}"),
            Self::UpdateSigner { seq_id, pubkey } => {
                write!(f, "change the signer of sequencer {seq_id} to public key {pubkey}")
            }
            Self::SetSequencerRewardRecipient { seq_id, recipient } => {
                write!(f, "send the rewards of sequencer {seq_id} to {recipient}")
            }
            Self::SetSequencerOwner { seq_id, owner } => {
                write!(f, "give sequencer {seq_id} and its principal to {owner}")
            }
            Self::Cancel => f.write_str("cancel: send nothing to oneself"),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Decodes, and encodes again: what is not the same was padded, dirty or too long.
fn exact<C: SolCall>(data: &[u8], arguments: &[&'static str]) -> Result<C, Unknown> {
    match C::abi_decode_validate(data) {
        Ok(call) if call.abi_encode() == data => Ok(call),
        _ => Err(calldata::fault(C::SIGNATURE, arguments, data)),
    }
}

impl From<approveCall> for Call {
    fn from(approveCall { spender, value }: approveCall) -> Self {
        Self::Approve { spender, amount: value }
    }
}

impl From<lockWithRewardRecipientCall> for Call {
    fn from(call: lockWithRewardRecipientCall) -> Self {
        let lockWithRewardRecipientCall { signer, rewardRecipient: recipient, amount, signerPubkey: pubkey } =
            call;
        Self::LockWithRewardRecipient { signer, recipient, amount, pubkey }
    }
}

impl From<relockCall> for Call {
    fn from(relockCall { seqId: seq_id, amount, lockReward: with_reward }: relockCall) -> Self {
        Self::Relock { seq_id, amount, with_reward }
    }
}

impl From<withdrawCall> for Call {
    fn from(withdrawCall { seqId: seq_id, amount }: withdrawCall) -> Self {
        Self::Withdraw { seq_id, amount }
    }
}

impl From<withdrawRewardsCall> for Call {
    fn from(withdrawRewardsCall { seqId: seq_id, l2Gas: l2_gas }: withdrawRewardsCall) -> Self {
        Self::WithdrawRewards { seq_id, l2_gas }
    }
}

impl From<unlockCall> for Call {
    fn from(unlockCall { seqId: seq_id, l2Gas: l2_gas }: unlockCall) -> Self {
        Self::Unlock { seq_id, l2_gas }
    }
}

impl From<unlockClaimCall> for Call {
    fn from(unlockClaimCall { seqId: seq_id, l2Gas: l2_gas }: unlockClaimCall) -> Self {
        Self::UnlockClaim { seq_id, l2_gas }
    }
}

impl From<updateSignerCall> for Call {
    fn from(updateSignerCall { seqId: seq_id, signerPubkey: pubkey }: updateSignerCall) -> Self {
        Self::UpdateSigner { seq_id, pubkey }
    }
}

impl From<setSequencerRewardRecipientCall> for Call {
    fn from(call: setSequencerRewardRecipientCall) -> Self {
        let setSequencerRewardRecipientCall { seqId: seq_id, recipient } = call;
        Self::SetSequencerRewardRecipient { seq_id, recipient }
    }
}

impl From<setSequencerOwnerCall> for Call {
    fn from(setSequencerOwnerCall { seqId: seq_id, newOwner: owner }: setSequencerOwnerCall) -> Self {
        Self::SetSequencerOwner { seq_id, owner }
    }
}
