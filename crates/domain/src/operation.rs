//! The nine operations of an owner or signer, with their parameters, and each in words.

use alloy_primitives::Address;

use crate::amount::Metis;
use crate::pubkey::PublicKey;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `approve` and `lockWithRewardRecipient`.
    Lock {
        /// Principal.
        amount: Metis,
        /// L2 reward recipient.
        recipient: Address,
        /// Public key of the signer.
        signer: PublicKey,
        /// Lock although the node is not ready, for this reason.
        override_node: Option<String>,
    },
    /// `relock`.
    Increase {
        /// From the owner; may be zero when rewards are converted.
        amount: Metis,
        /// Convert the unclaimed reward too.
        with_rewards: bool,
    },
    /// `withdraw`.
    Withdraw {
        /// Principal to return.
        amount: Metis,
    },
    /// `withdrawRewards`.
    Claim {
        /// Gas on L2; 0 for the bridge's minimum.
        l2_gas: u32,
    },
    /// `setSequencerRewardRecipient`.
    SetRecipient {
        /// L2 address.
        recipient: Address,
    },
    /// `setSequencerOwner`.
    SetOwner {
        /// L1 address.
        new_owner: Address,
    },
    /// `updateSigner`, sent by the present signer.
    RotateSigner {
        /// The new public key.
        new_signer: PublicKey,
    },
    /// `unlock`.
    Unlock {
        /// Gas on L2; 0 for the bridge's minimum.
        l2_gas: u32,
    },
    /// `unlockClaim`.
    WithdrawFinal {
        /// Gas on L2; 0 for the bridge's minimum.
        l2_gas: u32,
    },
}

impl Operation {
    /// Stable name, as in SQL and CLI.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Lock { .. } => "lock",
            Self::Increase { .. } => "increase",
            Self::Withdraw { .. } => "withdraw",
            Self::Claim { .. } => "claim",
            Self::SetRecipient { .. } => "set_recipient",
            Self::SetOwner { .. } => "set_owner",
            Self::RotateSigner { .. } => "rotate_signer",
            Self::Unlock { .. } => "unlock",
            Self::WithdrawFinal { .. } => "withdraw_final",
        }
    }

    /// Whether the signer sends it instead of the owner.
    pub const fn sent_by_signer(&self) -> bool {
        matches!(self, Self::RotateSigner { .. })
    }

    /// Whether the contract may bridge a reward in it and wants the bridge's fee (P 1.10).
    pub const fn may_bridge(&self) -> bool {
        matches!(self, Self::Claim { .. } | Self::Unlock { .. } | Self::WithdrawFinal { .. })
    }

    /// The gas limit on L2 that the caller asked for.
    pub const fn l2_gas(&self) -> u32 {
        match self {
            Self::Claim { l2_gas } | Self::Unlock { l2_gas } | Self::WithdrawFinal { l2_gas } => *l2_gas,
            _ => 0,
        }
    }

    /// METIS that it moves in or out by its parameters; zero for the others.
    pub const fn amount(&self) -> Metis {
        match self {
            Self::Lock { amount, .. } | Self::Increase { amount, .. } | Self::Withdraw { amount } => *amount,
            _ => Metis::ZERO,
        }
    }

    /// METIS that LockingInfo takes from the owner, who must have allowed it before.
    pub const fn takes(&self) -> Metis {
        match self {
            Self::Lock { amount, .. } | Self::Increase { amount, .. } => *amount,
            _ => Metis::ZERO,
        }
    }

    /// The L2 recipient that it sets; zero for the others.
    pub const fn recipient(&self) -> Address {
        match self {
            Self::Lock { recipient, .. } | Self::SetRecipient { recipient } => *recipient,
            _ => Address::ZERO,
        }
    }

    /// The owner that it sets; zero for the others.
    pub const fn new_owner(&self) -> Address {
        match self {
            Self::SetOwner { new_owner } => *new_owner,
            _ => Address::ZERO,
        }
    }

    /// The address of the signer that it brings into the contract, if any.
    pub fn new_signer(&self) -> Option<Address> {
        match self {
            Self::Lock { signer, .. } => Some(signer.address()),
            Self::RotateSigner { new_signer } => Some(new_signer.address()),
            _ => None,
        }
    }

    /// One sentence for people, without the sequencer's name.
    pub fn words(&self) -> String {
        match self {
            Self::Lock { amount, recipient, signer, .. } => {
                format!("lock {amount} METIS for signer {} with rewards to {recipient}", signer.address())
            }
            Self::Increase { amount, with_rewards: false } => format!("increase the lock by {amount} METIS"),
            Self::Increase { amount, with_rewards: true } => {
                format!("increase the lock by {amount} METIS and the unclaimed reward")
            }
            Self::Withdraw { amount } => format!("withdraw {amount} METIS of the principal"),
            Self::Claim { .. } => "claim the unclaimed reward to the L2 recipient".to_owned(),
            Self::SetRecipient { recipient } => format!("send future rewards to {recipient} on L2"),
            Self::SetOwner { new_owner } => format!("hand principal and rights over to {new_owner}"),
            Self::RotateSigner { new_signer } => {
                format!("replace the signer by {}, for ever", new_signer.address())
            }
            Self::Unlock { .. } => "begin the exit, which cannot be undone".to_owned(),
            Self::WithdrawFinal { .. } => "return the whole principal to the owner".to_owned(),
        }
    }
}
