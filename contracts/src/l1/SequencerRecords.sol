// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

/// @notice Where a sequencer is in its life. The order is part of the ABI: 2, not 1, is active. (P 1.7)
enum Status {
    Unavailable,
    Inactive,
    Active,
    Unlocked
}

/// @notice One sequencer, as `sequencers(uint256)` returns it. (P 1.7)
/// @dev The field order fixes storage offsets 0..11 and the tuple of `initializeUnlock`; never reorder.
struct Sequencer {
    uint256 amount;
    uint256 reward;
    uint256 activationBatch;
    uint256 updatedBatch;
    uint256 deactivationBatch;
    uint256 deactivationTime;
    uint256 unlockClaimTime;
    uint256 nonce;
    address owner;
    address signer;
    bytes pubkey;
    address rewardRecipient;
    Status status;
}

/// @title The records of the locking pool, at the storage slots of the deployed one (P 1.7).
/// @dev Indexers read slots 151..156 by eth_getStorageAt and eth_getProof. The two upgradeable bases in front
/// of this one end at slot 150, and the gap makes the pool's own fields begin at 207.
abstract contract SequencerRecords {
    /// @dev What `seqSigners` holds for a key that was used once: it must never come back.
    uint256 internal constant BURNT = type(uint256).max;

    /// @notice The highest id ever issued; ids start at 1 and are never reused.
    uint256 public totalSequencers;
    mapping(address owner => bool) public whitelist;
    mapping(uint256 seqId => Sequencer) public sequencers;
    /// @notice The id an owner holds, 0 for none.
    mapping(address owner => uint256 seqId) public seqOwners;
    /// @notice The id a signer serves, 0 for never used, 2^256-1 for burnt.
    mapping(address signer => uint256 seqId) public seqSigners;
    mapping(Status => uint256 count) public seqStatuses;

    uint256[50] private __gap;
}
