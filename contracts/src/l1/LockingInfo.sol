// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {IERC20Upgradeable as IERC20} from "@openzeppelin/contracts-upgradeable/token/ERC20/IERC20Upgradeable.sol";
import {SafeERC20Upgradeable as SafeERC20} from
    "@openzeppelin/contracts-upgradeable/token/ERC20/utils/SafeERC20Upgradeable.sol";

import {Sequencer} from "./SequencerRecords.sol";

/// @notice The one function of Metis' L1 bridge that locking needs. (P 1.10)
interface IL1ERC20Bridge {
    function depositERC20ToByChainId(
        uint256 chainId,
        address l1Token,
        address l2Token,
        address to,
        uint256 amount,
        uint32 l2Gas,
        bytes calldata data
    ) external payable;
}

/// @title Escrow of the locking contracts (P 1.6, 1.8).
/// @notice Holds the METIS, guards the limits of a lock, bridges rewards, and emits what happened to a sequencer.
/// @dev Keeps no records of its own: it trusts its manager, the pool, for everything about a sequencer.
/// Storage follows P 1.7: owner at 51, then 101..110 in the order below.
contract LockingInfo is OwnableUpgradeable {
    using SafeERC20 for IERC20;

    event Locked(
        address indexed signer,
        uint256 indexed sequencerId,
        uint256 nonce,
        uint256 indexed activationBatch,
        uint256 amount,
        uint256 total,
        bytes signerPubkey
    );
    event Relocked(uint256 indexed sequencerId, uint256 amount, uint256 total);
    event Withdraw(uint256 indexed sequencerId, uint256 amount);
    event LockUpdate(uint256 indexed sequencerId, uint256 indexed nonce, uint256 indexed newAmount);
    event ClaimRewards(
        uint256 indexed sequencerId, address recipient, uint256 indexed amount, uint256 indexed totalAmount
    );
    event UnlockInit(
        address indexed user,
        uint256 indexed sequencerId,
        uint256 nonce,
        uint256 deactivationBatch,
        uint256 deactivationTime,
        uint256 unlockClaimTime,
        uint256 indexed amount
    );
    event Unlocked(address indexed user, uint256 indexed sequencerId, uint256 amount, uint256 total);
    event SignerChange(
        uint256 indexed sequencerId,
        uint256 nonce,
        address indexed oldSigner,
        address indexed newSigner,
        bytes signerPubkey
    );
    event BatchSubmitReward(uint256 newBatchId);
    event SetMinLock(uint256 newMinLock);
    event SetMaxLock(uint256 newMaxLock);
    event SetRewardPayer(address payer);

    address public bridge;
    address public l1Token;
    address public l2Token;
    uint256 public l2ChainId;
    uint256 public minLock;
    uint256 public maxLock;
    /// @notice Principal of all sequencers, exiting ones included.
    uint256 public totalLocked;
    /// @notice All rewards ever bridged.
    uint256 public totalRewardsLiquidated;
    /// @notice The LockingPool.
    address public manager;
    /// @notice The account whose METIS pays the batches.
    address public rewardPayer;

    modifier onlyManager() {
        require(msg.sender == manager, "Not manager");
        _;
    }

    constructor() {
        _disableInitializers();
    }

    /// @notice Sets where rewards go and the limits of P 1.6; the caller becomes the owner.
    function initialize(address bridge_, address l1Token_, address l2Token_, uint256 l2ChainId_) external initializer {
        __Ownable_init();
        bridge = bridge_;
        l1Token = l1Token_;
        l2Token = l2Token_;
        l2ChainId = l2ChainId_;
        minLock = 20_000 ether;
        maxLock = 100_000 ether;
    }

    // ---- Administration ----

    /// @notice Names the pool, once and for all. No event tells.
    function initManager(address pool) external onlyOwner {
        require(manager == address(0), "manager has been initialized");
        manager = pool;
    }

    function setMinLock(uint256 newMinLock) external onlyOwner {
        require(newMinLock > 0, "_minLock=0");
        minLock = newMinLock;
        emit SetMinLock(newMinLock);
    }

    function setMaxLock(uint256 newMaxLock) external onlyOwner {
        require(newMaxLock >= minLock, "maxLock<minLock");
        maxLock = newMaxLock;
        emit SetMaxLock(newMaxLock);
    }

    function setRewardPayer(address payer) external onlyOwner {
        rewardPayer = payer;
        emit SetRewardPayer(payer);
    }

    // ---- Steps of the pool (P 1.10) ----

    function newSequencer(
        uint256 id,
        address owner,
        address signer,
        uint256 amount,
        uint256 batchId,
        bytes calldata signerPubkey
    ) external onlyManager {
        require(minLock <= amount && amount <= maxLock, "invalid amount");
        IERC20(l1Token).safeTransferFrom(owner, address(this), amount);
        totalLocked += amount;
        emit Locked(signer, id, 1, batchId, amount, totalLocked, signerPubkey);
    }

    /// @param locked The principal after the call.
    /// @param incoming What the owner pays now; the transfer happens, and is logged, even for 0.
    /// @param fromReward What this contract holds already and only changes its name.
    function increaseLocked(
        uint256 seqId,
        uint256 nonce,
        address owner,
        uint256 locked,
        uint256 incoming,
        uint256 fromReward
    ) external onlyManager {
        require(locked <= maxLock, "locked>maxLock");
        uint256 added = incoming + fromReward;
        require(added > 0, "No new locked added");
        IERC20(l1Token).safeTransferFrom(owner, address(this), incoming);
        totalLocked += added;
        emit Relocked(seqId, added, totalLocked);
        emit LockUpdate(seqId, nonce, locked);
    }

    /// @param locked The principal after the call.
    function withdrawLocking(uint256 seqId, address owner, uint256 nonce, uint256 amount, uint256 locked)
        external
        onlyManager
    {
        require(amount > 0 && locked >= minLock, "invalid amount");
        totalLocked -= amount;
        IERC20(l1Token).safeTransfer(owner, amount);
        emit Withdraw(seqId, amount);
        emit LockUpdate(seqId, nonce, locked);
    }

    /// @notice Bridges the reward of an exit that begins. `ClaimRewards` comes even for 0; ETH sent with 0 stays here.
    function initializeUnlock(uint256 seqId, uint256 reward, uint32 l2gas, Sequencer calldata seq)
        external
        payable
        onlyManager
    {
        _liquidate(seqId, reward, seq.rewardRecipient, l2gas);
        emit UnlockInit(
            seq.signer,
            seqId,
            seq.nonce,
            seq.deactivationBatch,
            seq.deactivationTime,
            seq.unlockClaimTime,
            reward
        );
    }

    /// @notice Returns the principal, and bridges what was credited during the exit.
    function finalizeUnlock(
        address operator,
        uint256 seqId,
        uint256 amount,
        uint256 reward,
        address recipient,
        uint32 l2gas
    ) external payable onlyManager {
        totalLocked -= amount;
        IERC20(l1Token).safeTransfer(operator, amount);
        if (reward > 0) _liquidate(seqId, reward, recipient, l2gas);
        emit Unlocked(operator, seqId, amount, totalLocked);
    }

    function liquidateReward(uint256 seqId, uint256 amount, address recipient, uint32 l2gas)
        external
        payable
        onlyManager
    {
        _liquidate(seqId, amount, recipient, l2gas);
    }

    /// @notice Collects the METIS of a batch, so that every credited reward is already here.
    function distributeReward(uint256 batchId, uint256 totalReward) external onlyManager {
        IERC20(l1Token).safeTransferFrom(rewardPayer, address(this), totalReward);
        emit BatchSubmitReward(batchId);
    }

    function logSignerChange(
        uint256 sequencerId,
        address oldSigner,
        address newSigner,
        uint256 nonce,
        bytes calldata signerPubkey
    ) external onlyManager {
        emit SignerChange(sequencerId, nonce, oldSigner, newSigner, signerPubkey);
    }

    function _liquidate(uint256 seqId, uint256 amount, address recipient, uint32 l2gas) private {
        totalRewardsLiquidated += amount;
        if (amount > 0) {
            IERC20(l1Token).safeIncreaseAllowance(bridge, amount);
            IL1ERC20Bridge(bridge).depositERC20ToByChainId{value: msg.value}(
                l2ChainId, l1Token, l2Token, recipient, amount, l2gas, ""
            );
        }
        emit ClaimRewards(seqId, recipient, amount, totalRewardsLiquidated);
    }
}
