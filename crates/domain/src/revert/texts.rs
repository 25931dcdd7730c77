//! The texts with which the contracts refuse, typing errors and all, and what they mean.

/// Reason of what has no reason of its own.
pub(super) const OTHER: &str = "CALL_REVERTED";

/// Said by lock outside the limits, and by withdraw of nothing or of too much.
pub(super) const INVALID_AMOUNT: &str = "invalid amount";

/// A text of P 1.9.
pub(super) struct Known {
    /// As the contract says it.
    text: &'static str,
    /// Registry reason.
    pub reason: &'static str,
    /// What it means.
    pub words: &'static str,
}

const fn known(text: &'static str, reason: &'static str, words: &'static str) -> Known {
    Known { text, reason, words }
}

/// What a text means, if it is one of the contracts'.
pub(super) fn find(text: &str) -> Option<&'static Known> {
    TEXTS.iter().find(|known| known.text == text)
}

/// Every reason that a text can have.
#[cfg(test)]
pub(super) fn reasons() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|known| known.reason)
}

const TEXTS: &[Known] = &[
    // LockingPool
    known("Pausable: paused", "POOL_PAUSED", "the pool is paused"),
    known("Pausable: not paused", OTHER, "the pool is not paused"),
    known("Ownable: caller is not the owner", OTHER, "only the contract's owner may do this"),
    known("Ownable: new owner is the zero address", OTHER, "the contract's new owner may not be zero"),
    known("Initializable: contract is already initialized", OTHER, "the contract is initialised already"),
    known("invalid pubkey", "PUBKEY_MALFORMED", "the public key must have 64 bytes"),
    known("empty address", OTHER, "the public key has no address"),
    known("pubkey and address mismatch", OTHER, "the public key does not belong to the signer address"),
    known("signer updating throttle", "SIGNER_UPDATE_THROTTLED", "too few batches since the last change"),
    known("withdraw throttle", "WITHDRAW_THROTTLED", "the lock was changed in this batch already"),
    known("Not allowed to cliam", "EXIT_PERIOD_NOT_OVER", "not exiting, or the exit delay is not over"),
    known("not MPC", "MPC_ONLY", "only the MPC address may do this"),
    known("mismatch length", OTHER, "the batch's lists are empty or of different lengths"),
    known("invalid batch id", OTHER, "this is not the next batch"),
    known("invalid startEpoch", OTHER, "the batch does not begin after the last one"),
    known("invalid endEpoch", OTHER, "the batch must span at least two epochs"),
    known("dalayTime==0", OTHER, "the exit delay may not be zero"),
    known("invalid newReward", OTHER, "the reward per block may not be zero"),
    known("BFT restriction", "EXIT_RESTRICTED", "the BFT rule allows no further exit now"),
    // LockingInfo
    known(INVALID_AMOUNT, "LOCK_OUT_OF_RANGE", "the amount is outside the limits of the lock"),
    known("locked>maxLock", "LOCK_CAP_EXCEEDED", "the lock would exceed maxLock"),
    known("No new locked added", "NOTHING_TO_LOCK", "there is neither METIS nor reward to add"),
    known("Not manager", OTHER, "only LockingPool may do this"),
    known("manager has been initialized", OTHER, "the manager is set already"),
    known("_minLock=0", OTHER, "minLock may not be zero"),
    known("maxLock<minLock", OTHER, "maxLock may not be below minLock"),
    known("SafeERC20: low-level call failed", OTHER, "the token refused the transfer"),
    known("SafeERC20: ERC20 operation did not succeed", OTHER, "the token refused the transfer"),
    // METIS tokens of the OpenZeppelin 4 style, before and after 4.5
    known("ERC20: insufficient allowance", "ALLOWANCE_TOO_LOW", "LockingInfo may not take that much METIS"),
    known(
        "ERC20: transfer amount exceeds allowance",
        "ALLOWANCE_TOO_LOW",
        "LockingInfo may not take that much METIS",
    ),
    known("ERC20: transfer amount exceeds balance", "BALANCE_TOO_LOW", "there is too little METIS"),
    // L1 bridge; the text about its fee is read by `fee`
    known("sender is not whitelisted", OTHER, "the bridge does not know the sender"),
    known("incorrect chainId", OTHER, "the bridge does not know this L2"),
];
