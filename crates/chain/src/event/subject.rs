//! Whom an event is about, for indexes and filters.

use alloy_primitives::Address;
use domain::ids::SequencerId;

use super::ChainEvent;

impl ChainEvent {
    /// The sequencer the event names, if it names one.
    #[must_use]
    pub fn seq_id(&self) -> Option<SequencerId> {
        match self {
            Self::Locked { seq_id, .. }
            | Self::Relocked { seq_id, .. }
            | Self::Withdraw { seq_id, .. }
            | Self::LockUpdate { seq_id, .. }
            | Self::ClaimRewards { seq_id, .. }
            | Self::UnlockInit { seq_id, .. }
            | Self::Unlocked { seq_id, .. }
            | Self::SignerChange { seq_id, .. }
            | Self::SequencerOwnerChanged { seq_id, .. }
            | Self::SequencerRewardRecipientChanged { seq_id, .. } => Some(*seq_id),
            _ => None,
        }
    }

    /// The owner of a sequencer, or one who may become it, that the event names.
    #[must_use]
    pub fn owner(&self) -> Option<Address> {
        match self {
            Self::SequencerOwnerChanged { owner, .. }
            | Self::SetWhitelist { owner, .. }
            | Self::Unlocked { owner, .. } => Some(*owner),
            _ => None,
        }
    }

    /// The signer the event names; for a change of signer or producer, the new one.
    #[must_use]
    pub fn signer(&self) -> Option<Address> {
        match self {
            Self::Locked { signer, .. }
            | Self::UnlockInit { signer, .. }
            | Self::SignerChange { new_signer: signer, .. }
            | Self::NewEpoch { signer, .. }
            | Self::ReCommitEpoch { new_signer: signer, .. } => Some(*signer),
            _ => None,
        }
    }
}
