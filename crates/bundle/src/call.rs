//! Calldata read back into the operation that it is. Strict: what does not encode to the same bytes again is not read.

use alloy_primitives::{Address, U256};
use alloy_sol_types::{SolCall, sol};
use domain::amount::Metis;
use domain::operation::Operation;
use domain::pubkey::PublicKey;
use serde::{Deserialize, Serialize};

sol! {
    function approve(address spender, uint256 value) external returns (bool ok);
    function lockWithRewardRecipient(address signer, address rewardRecipient, uint256 amount, bytes signerPubkey) external;
    function relock(uint256 seqId, uint256 amount, bool lockReward) external;
    function withdraw(uint256 seqId, uint256 amount) external;
    function withdrawRewards(uint256 seqId, uint32 l2Gas) external payable;
    function setSequencerRewardRecipient(uint256 seqId, address recipient) external;
    function setSequencerOwner(uint256 seqId, address newOwner) external;
    function updateSigner(uint256 seqId, bytes signerPubkey) external;
    function unlock(uint256 seqId, uint32 l2Gas) external payable;
    function unlockClaim(uint256 seqId, uint32 l2Gas) external payable;
}

/// The contracts that calls may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Contracts {
    /// LockingPool, where operators call.
    pub locking_pool: Address,
    /// LockingInfo, the only spender of an approval.
    pub locking_info: Address,
    /// The METIS token.
    pub metis: Address,
}

/// What a call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// LockingInfo may take METIS.
    Approve {
        /// At most this much.
        amount: Metis,
    },
    /// One of the nine.
    Operation {
        /// Sequencer id on chain; none for a lock, which gets one.
        sequencer: Option<U256>,
        /// What it asks for.
        operation: Operation,
    },
}

/// Why a call has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The target is neither METIS nor LockingPool.
    #[error("{0} is neither METIS nor LockingPool")]
    Target(Address),
    /// No function of ours, or not in canonical encoding.
    #[error("the calldata is no call of ours in canonical encoding")]
    Data,
    /// An approval for somebody else.
    #[error("{0} would be allowed to take METIS, only LockingInfo may")]
    Spender(Address),
    /// A public key that is none, or of another signer than the call names.
    #[error("the public key is not the signer's")]
    Pubkey,
    /// ETH for a function that bridges nothing: it would be lost or the call would revert.
    #[error("ETH is sent to a function that bridges nothing")]
    Value,
}

impl Meaning {
    /// Reads a call.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn of(to: Address, value: U256, data: &[u8], contracts: &Contracts) -> Result<Self, Unread> {
        let meaning = match to {
            to if to == contracts.metis => approval(data, contracts)?,
            to if to == contracts.locking_pool => operation(data)?,
            other => return Err(Unread::Target(other)),
        };
        let may_pay = matches!(&meaning, Self::Operation { operation, .. } if operation.may_bridge());
        if !value.is_zero() && !may_pay {
            return Err(Unread::Value);
        }
        Ok(meaning)
    }

    /// In words, the same as lifecycle says.
    pub fn words(&self) -> String {
        match self {
            Self::Approve { amount } => format!("allow LockingInfo to take {amount} METIS"),
            Self::Operation { operation, .. } => operation.words(),
        }
    }

    /// The function with its arguments by name, type and text, for wallets that show them.
    pub fn function(&self, contracts: &Contracts) -> Function {
        let seq = |sequencer: &Option<U256>| ("seqId", "uint256", sequencer.unwrap_or_default().to_string());
        match self {
            Self::Approve { amount } => Function::of(
                "approve",
                [
                    ("spender", "address", contracts.locking_info.to_string()),
                    ("value", "uint256", amount.0.to_string()),
                ],
            ),
            Self::Operation { sequencer, operation } => match operation {
                Operation::Lock { amount, recipient, signer, override_node: _ } => Function::of(
                    "lockWithRewardRecipient",
                    [
                        ("signer", "address", signer.address().to_string()),
                        ("rewardRecipient", "address", recipient.to_string()),
                        ("amount", "uint256", amount.0.to_string()),
                        ("signerPubkey", "bytes", signer.listing()),
                    ],
                ),
                Operation::Increase { amount, with_rewards } => Function::of(
                    "relock",
                    [
                        seq(sequencer),
                        ("amount", "uint256", amount.0.to_string()),
                        ("lockReward", "bool", with_rewards.to_string()),
                    ],
                ),
                Operation::Withdraw { amount } => {
                    Function::of("withdraw", [seq(sequencer), ("amount", "uint256", amount.0.to_string())])
                }
                Operation::Claim { l2_gas } => {
                    Function::of("withdrawRewards", [seq(sequencer), ("l2Gas", "uint32", l2_gas.to_string())])
                }
                Operation::SetRecipient { recipient } => Function::of(
                    "setSequencerRewardRecipient",
                    [seq(sequencer), ("recipient", "address", recipient.to_string())],
                ),
                Operation::SetOwner { new_owner } => Function::of(
                    "setSequencerOwner",
                    [seq(sequencer), ("newOwner", "address", new_owner.to_string())],
                ),
                Operation::RotateSigner { new_signer } => Function::of(
                    "updateSigner",
                    [seq(sequencer), ("signerPubkey", "bytes", new_signer.listing())],
                ),
                Operation::Unlock { l2_gas } => {
                    Function::of("unlock", [seq(sequencer), ("l2Gas", "uint32", l2_gas.to_string())])
                }
                Operation::WithdrawFinal { l2_gas } => {
                    Function::of("unlockClaim", [seq(sequencer), ("l2Gas", "uint32", l2_gas.to_string())])
                }
            },
        }
    }
}

/// A function with the arguments of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Name, type and value of each argument.
    pub arguments: Vec<(&'static str, &'static str, String)>,
}

impl Function {
    fn of<const N: usize>(name: &'static str, arguments: [(&'static str, &'static str, String); N]) -> Self {
        Self { name, arguments: arguments.into() }
    }

    /// Whether it takes ETH.
    pub fn is_payable(&self) -> bool {
        matches!(self.name, "withdrawRewards" | "unlock" | "unlockClaim")
    }
}

/// The arguments, if these are exactly the bytes that they encode to.
fn read<C: SolCall>(data: &[u8]) -> Result<C, Unread> {
    let call = C::abi_decode_validate(data).map_err(|_| Unread::Data)?;
    if call.abi_encode() == data { Ok(call) } else { Err(Unread::Data) }
}

fn approval(data: &[u8], contracts: &Contracts) -> Result<Meaning, Unread> {
    let call: approveCall = read(data)?;
    if call.spender != contracts.locking_info {
        return Err(Unread::Spender(call.spender));
    }
    Ok(Meaning::Approve { amount: Metis(call.value) })
}

fn operation(data: &[u8]) -> Result<Meaning, Unread> {
    let selector = data.first_chunk::<4>().ok_or(Unread::Data)?;
    let of = |sequencer: U256, operation| Ok(Meaning::Operation { sequencer: Some(sequencer), operation });
    match *selector {
        lockWithRewardRecipientCall::SELECTOR => {
            let call: lockWithRewardRecipientCall = read(data)?;
            let signer = pubkey(&call.signerPubkey)?;
            if signer.address() != call.signer {
                return Err(Unread::Pubkey);
            }
            let (amount, recipient) = (Metis(call.amount), call.rewardRecipient);
            let operation = Operation::Lock { amount, recipient, signer, override_node: None };
            Ok(Meaning::Operation { sequencer: None, operation })
        }
        relockCall::SELECTOR => {
            let call: relockCall = read(data)?;
            let (amount, with_rewards) = (Metis(call.amount), call.lockReward);
            of(call.seqId, Operation::Increase { amount, with_rewards })
        }
        withdrawCall::SELECTOR => {
            let call: withdrawCall = read(data)?;
            of(call.seqId, Operation::Withdraw { amount: Metis(call.amount) })
        }
        withdrawRewardsCall::SELECTOR => {
            let call: withdrawRewardsCall = read(data)?;
            of(call.seqId, Operation::Claim { l2_gas: call.l2Gas })
        }
        setSequencerRewardRecipientCall::SELECTOR => {
            let call: setSequencerRewardRecipientCall = read(data)?;
            of(call.seqId, Operation::SetRecipient { recipient: call.recipient })
        }
        setSequencerOwnerCall::SELECTOR => {
            let call: setSequencerOwnerCall = read(data)?;
            of(call.seqId, Operation::SetOwner { new_owner: call.newOwner })
        }
        updateSignerCall::SELECTOR => {
            let call: updateSignerCall = read(data)?;
            of(call.seqId, Operation::RotateSigner { new_signer: pubkey(&call.signerPubkey)? })
        }
        unlockCall::SELECTOR => {
            let call: unlockCall = read(data)?;
            of(call.seqId, Operation::Unlock { l2_gas: call.l2Gas })
        }
        unlockClaimCall::SELECTOR => {
            let call: unlockClaimCall = read(data)?;
            of(call.seqId, Operation::WithdrawFinal { l2_gas: call.l2Gas })
        }
        _ => Err(Unread::Data),
    }
}

/// Contracts take exactly the 64 bytes.
fn pubkey(bytes: &[u8]) -> Result<PublicKey, Unread> {
    if bytes.len() != 64 {
        return Err(Unread::Pubkey);
    }
    PublicKey::from_bytes(bytes).map_err(|_| Unread::Pubkey)
}
