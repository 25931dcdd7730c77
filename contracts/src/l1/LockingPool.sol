// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {PausableUpgradeable} from "@openzeppelin/contracts-upgradeable/security/PausableUpgradeable.sol";

import {LockingInfo} from "./LockingInfo.sol";
import {Sequencer, SequencerRecords, Status} from "./SequencerRecords.sol";

/// @title Entry point of the locking contracts, variant `main` (P 1.3 to 1.5, 1.9 to 1.11).
/// @notice Decides who may do what and keeps the records. The METIS itself, and most events, belong to LockingInfo.
/// @dev The order of the checks is part of the protocol: clients tell refusals apart by the first one that fails.
/// Modifiers run first (paused, then whitelist). What LockingInfo checks comes last, and bubbles up unchanged.
contract LockingPool is PausableUpgradeable, OwnableUpgradeable, SequencerRecords {
    /// @notice A reward period; `number` is the L1 block of its submission. (P 1.5)
    struct BatchState {
        uint256 id;
        uint256 number;
        uint256 startEpoch;
        uint256 endEpoch;
    }

    error NotWhitelisted();
    error SeqNotActive();
    error NotSeqOwner();
    error NotSeqSigner();
    error OwnedSequencer();
    error SignerExisted();
    error NoSuchSeq();
    error NoRewardRecipient();
    error NullAddress();

    event SequencerOwnerChanged(uint256 seqId, address owner);
    event SequencerRewardRecipientChanged(uint256 seqId, address recipient);
    event SetWhitelist(address user, bool yes);
    event DistributeReward(uint256 indexed batchId, uint256 startEpoch, uint256 endEpoch, uint256 amount, uint256 rpb);
    event RewardUpdate(uint256 newReward, uint256 oldReward);
    // The misspelling is part of the topic.
    event WithrawDelayTimeChange(uint256 cur, uint256 prev);
    event UpdateMpc(address newMpc);
    event SetSignerUpdateThrottle(uint256 n);

    /// @notice The LockingInfo that holds the METIS.
    LockingInfo public escrow;
    /// @notice Seconds from unlock to the claim of the principal.
    uint256 public exitDelayPeriod;
    /// @notice Wei of METIS for one L2 block.
    uint256 public rewardPerBlock;
    address public mpcAddress;
    BatchState public curBatchState;
    /// @notice Batches between two uses of a sequencer's shared throttle by `updateSigner`; 0 allows every time.
    uint256 public signerUpdateThrottle;

    modifier whitelistRequired() {
        _requireWhitelisted(msg.sender);
        _;
    }

    constructor() {
        _disableInitializers();
    }

    /// @notice Sets the starting values of P 1.5; the caller becomes the owner, there is no MPC yet.
    function initialize(address escrow_) external initializer {
        __Pausable_init();
        __Ownable_init();
        escrow = LockingInfo(escrow_);
        exitDelayPeriod = 21 days;
        rewardPerBlock = 761000 gwei;
        curBatchState = BatchState({id: 1, number: block.number, startEpoch: 0, endEpoch: 0});
        signerUpdateThrottle = 1;
    }

    // ---- Owners and signers (P 1.3, 1.10) ----

    /// @notice Locks without a reward recipient, which blocks claims and exits until one is set. (P 1.10)
    function lockFor(address signer, uint256 amount, bytes calldata signerPubkey)
        external
        whenNotPaused
        whitelistRequired
    {
        _lock(signer, address(0), amount, signerPubkey);
    }

    /// @notice Locks and names the L2 address that rewards go to; zero is accepted. (P 1.10)
    function lockWithRewardRecipient(
        address signer,
        address rewardRecipient,
        uint256 amount,
        bytes calldata signerPubkey
    ) external whenNotPaused whitelistRequired {
        _lock(signer, rewardRecipient, amount, signerPubkey);
    }

    /// @notice Adds tokens, unclaimed rewards or both to the principal. (P 1.10)
    function relock(uint256 seqId, uint256 amount, bool lockReward) external whenNotPaused whitelistRequired {
        Sequencer storage seq = _activeOwned(seqId);
        uint256 fromReward = lockReward ? seq.reward : 0;
        uint256 locked = seq.amount + amount + fromReward;
        // `updatedBatch` stays: adding to the lock is not throttled and must not throttle anything else.
        seq.amount = locked;
        seq.reward -= fromReward;
        seq.nonce++;
        escrow.increaseLocked(seqId, seq.nonce, msg.sender, locked, amount, fromReward);
    }

    /// @notice Takes principal above the minimum back to the owner at once, once for each batch. (P 1.10)
    function withdraw(uint256 seqId, uint256 amount) external whenNotPaused whitelistRequired {
        Sequencer storage seq = _activeOwned(seqId);
        require(curBatchState.id > seq.updatedBatch, "withdraw throttle");
        seq.amount -= amount;
        seq.nonce++;
        seq.updatedBatch = curBatchState.id;
        escrow.withdrawLocking(seqId, msg.sender, seq.nonce, amount, seq.amount);
    }

    /// @notice Bridges the unclaimed reward to the recipient on L2. (P 1.10)
    /// @dev With nothing to claim it succeeds, says nothing and keeps msg.value, as the deployed contract does.
    function withdrawRewards(uint256 seqId, uint32 l2Gas) external payable whenNotPaused whitelistRequired {
        Sequencer storage seq = _activeOwned(seqId);
        _requireRecipient(seq);
        uint256 reward = seq.reward;
        if (reward == 0) return;
        seq.reward = 0;
        escrow.liquidateReward{value: msg.value}(seqId, reward, seq.rewardRecipient, l2Gas);
    }

    /// @notice Starts the exit and bridges the whole reward; there is no way back. (P 1.10)
    function unlock(uint256 seqId, uint32 l2Gas) external payable whenNotPaused whitelistRequired {
        Sequencer storage seq = _activeOwned(seqId);
        _beforeExit();
        _unlock(seqId, seq, l2Gas);
    }

    /// @notice Pays the principal to the owner and late rewards to the recipient, after the exit delay. (P 1.10)
    function unlockClaim(uint256 seqId, uint32 l2Gas) external payable whenNotPaused whitelistRequired {
        Sequencer storage seq = sequencers[seqId];
        _requireOwner(seq);
        _requireRecipient(seq);
        require(seq.status == Status.Inactive && seq.unlockClaimTime <= block.timestamp, "Not allowed to cliam");

        (uint256 amount, uint256 reward) = (seq.amount, seq.reward);
        seq.amount = 0;
        seq.reward = 0;
        seq.nonce++;
        _move(seq, Status.Unlocked);
        delete seqOwners[msg.sender];
        seqSigners[seq.signer] = BURNT;
        escrow.finalizeUnlock{value: msg.value}(msg.sender, seqId, amount, reward, seq.rewardRecipient, l2Gas);
    }

    /// @notice Replaces the signer key; called by the current one, whitelisted or not. (P 1.10)
    function updateSigner(uint256 seqId, bytes calldata signerPubkey) external whenNotPaused {
        Sequencer storage seq = _active(seqId);
        address oldSigner = seq.signer;
        if (oldSigner != msg.sender) revert NotSeqSigner();
        require(curBatchState.id >= seq.updatedBatch + signerUpdateThrottle, "signer updating throttle");
        address newSigner = _addressOf(signerPubkey);
        if (seqSigners[newSigner] != 0) revert SignerExisted();

        seq.signer = newSigner;
        seq.pubkey = signerPubkey;
        seq.updatedBatch = curBatchState.id;
        seq.nonce++;
        seqSigners[oldSigner] = BURNT;
        seqSigners[newSigner] = seqId;
        escrow.logSignerChange(seqId, oldSigner, newSigner, seq.nonce, signerPubkey);
    }

    /// @notice Sets where rewards go on L2; works while paused. (P 1.10)
    function setSequencerRewardRecipient(uint256 seqId, address recipient) external whitelistRequired {
        Sequencer storage seq = _activeOwned(seqId);
        if (recipient == address(0)) revert NullAddress();
        seq.rewardRecipient = recipient;
        emit SequencerRewardRecipientChanged(seqId, recipient);
    }

    /// @notice Gives the sequencer, its principal and its future to another address; works while paused. (P 1.11)
    function setSequencerOwner(uint256 seqId, address newOwner) external {
        _beforeOwnerChange(newOwner);
        Sequencer storage seq = _activeOwned(seqId);
        delete seqOwners[msg.sender];
        seqOwners[newOwner] = seqId;
        seq.owner = newOwner;
        emit SequencerOwnerChanged(seqId, newOwner);
    }

    // ---- MPC and administration (P 1.4) ----

    /// @notice Credits a batch of epochs to the sequencers that produced them; duplicates add up. (P 1.13)
    function batchSubmitRewards(
        uint256 batchId,
        uint256 startEpoch,
        uint256 endEpoch,
        address[] calldata seqs,
        uint256[] calldata blocks
    ) external {
        require(msg.sender == mpcAddress, "not MPC");
        require(seqs.length == blocks.length && seqs.length != 0, "mismatch length");
        require(batchId == curBatchState.id + 1, "invalid batch id");
        require(startEpoch == curBatchState.endEpoch + 1, "invalid startEpoch");
        require(startEpoch < endEpoch, "invalid endEpoch");

        uint256 rpb = rewardPerBlock;
        uint256 total;
        for (uint256 i = 0; i < seqs.length; i++) {
            // Unknown and burnt signers lead to ids that never exist, so one look at the status finds both.
            Sequencer storage seq = sequencers[seqSigners[seqs[i]]];
            if (seq.status == Status.Unavailable) revert NoSuchSeq();
            uint256 reward = blocks[i] * rpb;
            seq.reward += reward;
            total += reward;
        }

        curBatchState = BatchState({id: batchId, number: block.number, startEpoch: startEpoch, endEpoch: endEpoch});
        escrow.distributeReward(batchId, total);
        emit DistributeReward(batchId, startEpoch, endEpoch, total, rpb);
    }

    /// @notice Exits a sequencer against its owner's will; neither pause nor whitelist matter. (P 1.4)
    function forceUnlock(uint256 seqId, uint32 l2Gas) external payable onlyOwner {
        _unlock(seqId, _active(seqId), l2Gas);
    }

    function setWhitelist(address addr, bool yes) external onlyOwner {
        whitelist[addr] = yes;
        emit SetWhitelist(addr, yes);
    }

    function updateMpc(address newMpc) external onlyOwner {
        mpcAddress = newMpc;
        emit UpdateMpc(newMpc);
    }

    function setPause(bool yes) external onlyOwner {
        yes ? _pause() : _unpause();
    }

    /// @notice Changes the delay of exits that start from now on; running ones keep theirs. (P 1.4)
    function updateWithdrawDelayTimeValue(uint256 time) external onlyOwner {
        require(time > 0, "dalayTime==0");
        emit WithrawDelayTimeChange(time, exitDelayPeriod);
        exitDelayPeriod = time;
    }

    function updateBlockReward(uint256 newReward) external onlyOwner {
        require(newReward != 0, "invalid newReward");
        emit RewardUpdate(newReward, rewardPerBlock);
        rewardPerBlock = newReward;
    }

    function setSignerUpdateThrottle(uint256 n) external onlyOwner {
        signerUpdateThrottle = n;
        emit SetSignerUpdateThrottle(n);
    }

    // ---- Views (P 1.5) ----

    function currentBatch() external view returns (uint256) {
        return curBatchState.id;
    }

    /// @notice Older name of `rewardPerBlock`.
    function BLOCK_REWARD() external view returns (uint256) {
        return rewardPerBlock;
    }

    /// @notice Older name of `exitDelayPeriod`.
    function WITHDRAWAL_DELAY() external view returns (uint256) {
        return exitDelayPeriod;
    }

    // ---- Where the variants differ (P 1.11) ----

    /// @dev Runs in `unlock` after the owner check. This variant lets everyone go.
    function _beforeExit() internal view virtual {}

    /// @dev Runs first in `setSequencerOwner`. This variant asks nothing of the caller, but the new owner must be
    /// whitelisted and free, so that an owner never has two sequencers.
    function _beforeOwnerChange(address newOwner) internal view virtual {
        if (newOwner == address(0)) revert NullAddress();
        _requireWhitelisted(newOwner);
        if (seqOwners[newOwner] != 0) revert OwnedSequencer();
    }

    // ---- Shared steps ----

    function _requireWhitelisted(address account) internal view {
        if (!whitelist[account]) revert NotWhitelisted();
    }

    function _requireOwner(Sequencer storage seq) private view {
        if (seq.owner != msg.sender) revert NotSeqOwner();
    }

    function _requireRecipient(Sequencer storage seq) private view {
        if (seq.rewardRecipient == address(0)) revert NoRewardRecipient();
    }

    function _active(uint256 seqId) private view returns (Sequencer storage seq) {
        seq = sequencers[seqId];
        if (seq.status != Status.Active) revert SeqNotActive();
    }

    function _activeOwned(uint256 seqId) private view returns (Sequencer storage seq) {
        seq = _active(seqId);
        _requireOwner(seq);
    }

    function _addressOf(bytes calldata pubkey) private pure returns (address signer) {
        require(pubkey.length == 64, "invalid pubkey");
        signer = address(uint160(uint256(keccak256(pubkey))));
        // Nobody can reach this, but zero must never be a signer: `seqSigners` is asked about it.
        require(signer != address(0), "empty address");
    }

    function _move(Sequencer storage seq, Status to) private {
        seqStatuses[seq.status]--;
        seqStatuses[to]++;
        seq.status = to;
    }

    function _lock(address signer, address recipient, uint256 amount, bytes calldata pubkey) private {
        require(_addressOf(pubkey) == signer, "pubkey and address mismatch");
        if (seqOwners[msg.sender] != 0) revert OwnedSequencer();
        if (seqSigners[signer] != 0) revert SignerExisted();

        uint256 seqId = ++totalSequencers;
        uint256 batchId = curBatchState.id;
        seqOwners[msg.sender] = seqId;
        seqSigners[signer] = seqId;
        seqStatuses[Status.Active]++;

        Sequencer storage seq = sequencers[seqId];
        seq.amount = amount;
        seq.activationBatch = batchId;
        // The throttle starts used up: neither withdraw nor updateSigner before the next batch.
        seq.updatedBatch = batchId;
        seq.nonce = 1;
        seq.owner = msg.sender;
        seq.signer = signer;
        seq.pubkey = pubkey;
        seq.rewardRecipient = recipient;
        seq.status = Status.Active;

        escrow.newSequencer(seqId, msg.sender, signer, amount, batchId, pubkey);
        emit SequencerOwnerChanged(seqId, msg.sender);
        emit SequencerRewardRecipientChanged(seqId, recipient);
    }

    function _unlock(uint256 seqId, Sequencer storage seq, uint32 l2Gas) private {
        _requireRecipient(seq);
        uint256 reward = seq.reward;
        seq.reward = 0;
        seq.deactivationBatch = curBatchState.id;
        seq.deactivationTime = block.timestamp;
        seq.unlockClaimTime = block.timestamp + exitDelayPeriod;
        seq.nonce++;
        _move(seq, Status.Inactive);
        escrow.initializeUnlock{value: msg.value}(seqId, reward, l2Gas, seq);
    }
}
