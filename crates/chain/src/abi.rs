//! The contracts, written out as Solidity interfaces: the one place where a selector, a topic or an
//! error of Metis is spelled. What they mean is in the protocol reference; typed events are in
//! [`crate::event`], builders of calls in [`crate::calldata`], reads in [`crate::views`].
//!
//! A test compares every generated selector and topic with the hexadecimal values of the reference.
// The macro generates items whose documentation is the Solidity text itself.
#![allow(missing_docs)]

use alloy_primitives::{B256, b256};
use alloy_sol_types::sol;

/// Storage slot of the implementation address in an EIP-1967 proxy.
pub const IMPLEMENTATION_SLOT: B256 =
    b256!("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc");

/// Storage slot of the admin address in an EIP-1967 proxy.
pub const ADMIN_SLOT: B256 = b256!("0xb53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103");

/// Name under which the address manager knows the oracle that prices L2 gas for the bridge.
pub const DISCOUNT_ORACLE_NAME: &str = "MVM_DiscountOracle";

sol! {
    /// L1 entry point: holds the records of the sequencers.
    #[derive(Debug, PartialEq, Eq)]
    interface LockingPool {
        function lockFor(address signer, uint256 amount, bytes signerPubkey) external;
        function lockWithRewardRecipient(address signer, address rewardRecipient, uint256 amount, bytes signerPubkey) external;
        function relock(uint256 seqId, uint256 amount, bool lockReward) external;
        function withdraw(uint256 seqId, uint256 amount) external;
        function withdrawRewards(uint256 seqId, uint32 l2Gas) external payable;
        function unlock(uint256 seqId, uint32 l2Gas) external payable;
        function unlockClaim(uint256 seqId, uint32 l2Gas) external payable;
        function updateSigner(uint256 seqId, bytes signerPubkey) external;
        function setSequencerRewardRecipient(uint256 seqId, address recipient) external;
        function setSequencerOwner(uint256 seqId, address newOwner) external;

        function batchSubmitRewards(uint256 batchId, uint256 startEpoch, uint256 endEpoch, address[] seqs, uint256[] blocks) external;
        function forceUnlock(uint256 seqId, uint32 l2Gas) external payable;
        function setWhitelist(address addr, bool yes) external;
        function updateMpc(address newMpc) external;
        function setPause(bool yes) external;
        function updateWithdrawDelayTimeValue(uint256 time) external;
        function updateBlockReward(uint256 newReward) external;
        function setSignerUpdateThrottle(uint256 n) external;
        function transferOwnership(address newOwner) external;
        function renounceOwnership() external;
        function initialize(address escrow) external;

        function sequencers(uint256 seqId) external view returns (
            uint256 amount, uint256 reward, uint256 activationBatch, uint256 updatedBatch,
            uint256 deactivationBatch, uint256 deactivationTime, uint256 unlockClaimTime, uint256 nonce,
            address owner, address signer, bytes pubkey, address rewardRecipient, uint8 status);
        function seqOwners(address owner) external view returns (uint256 seqId);
        function seqSigners(address signer) external view returns (uint256 seqId);
        function seqStatuses(uint8 status) external view returns (uint256 count);
        function whitelist(address owner) external view returns (bool yes);
        function totalSequencers() external view returns (uint256 seqId);
        function curBatchState() external view returns (uint256 id, uint256 number, uint256 startEpoch, uint256 endEpoch);
        function currentBatch() external view returns (uint256 id);
        function rewardPerBlock() external view returns (uint256 amount);
        function BLOCK_REWARD() external view returns (uint256 amount);
        function exitDelayPeriod() external view returns (uint256 secs);
        function WITHDRAWAL_DELAY() external view returns (uint256 secs);
        function signerUpdateThrottle() external view returns (uint256 batches);
        function mpcAddress() external view returns (address mpc);
        function escrow() external view returns (address info);
        function paused() external view returns (bool yes);
        function owner() external view returns (address owner);

        event SequencerOwnerChanged(uint256 seqId, address owner);
        event SequencerRewardRecipientChanged(uint256 seqId, address recipient);
        event SetWhitelist(address user, bool yes);
        event DistributeReward(uint256 indexed batchId, uint256 startEpoch, uint256 endEpoch, uint256 amount, uint256 rpb);
        event RewardUpdate(uint256 newReward, uint256 oldReward);
        // The misspelling is part of the name, and so of the topic.
        event WithrawDelayTimeChange(uint256 cur, uint256 prev);
        event UpdateMpc(address newMpc);
        event SetSignerUpdateThrottle(uint256 n);
        event Paused(address account);
        event Unpaused(address account);

        error NotWhitelisted();
        error SeqNotActive();
        error NotSeqOwner();
        error NotSeqSigner();
        error OwnedSequencer();
        error SignerExisted();
        error NoSuchSeq();
        error NoRewardRecipient();
        error NullAddress();
    }

    /// L1 escrow: holds the METIS and emits most events.
    #[derive(Debug, PartialEq, Eq)]
    interface LockingInfo {
        struct Sequencer {
            uint256 amount; uint256 reward; uint256 activationBatch; uint256 updatedBatch;
            uint256 deactivationBatch; uint256 deactivationTime; uint256 unlockClaimTime; uint256 nonce;
            address owner; address signer; bytes pubkey; address rewardRecipient; uint8 status;
        }

        function minLock() external view returns (uint256 amount);
        function maxLock() external view returns (uint256 amount);
        function totalLocked() external view returns (uint256 amount);
        function totalRewardsLiquidated() external view returns (uint256 amount);
        function manager() external view returns (address pool);
        function rewardPayer() external view returns (address payer);
        function bridge() external view returns (address bridge);
        function l1Token() external view returns (address token);
        function l2Token() external view returns (address token);
        function l2ChainId() external view returns (uint256 chainId);
        function owner() external view returns (address owner);
        function setMinLock(uint256 minLock) external;
        function setMaxLock(uint256 maxLock) external;
        function setRewardPayer(address payer) external;
        function initManager(address manager) external;
        function transferOwnership(address newOwner) external;
        function renounceOwnership() external;
        function initialize(address bridge, address l1Token, address l2Token, uint256 l2ChainId) external;
        function newSequencer(uint256 id, address owner, address signer, uint256 amount, uint256 batchId, bytes signerPubkey) external;
        function increaseLocked(uint256 seqId, uint256 nonce, address owner, uint256 locked, uint256 incoming, uint256 fromReward) external;
        function withdrawLocking(uint256 seqId, address owner, uint256 nonce, uint256 amount, uint256 locked) external;
        function initializeUnlock(uint256 seqId, uint256 reward, uint32 l2gas, Sequencer seq) external payable;
        function finalizeUnlock(address operator, uint256 seqId, uint256 amount, uint256 reward, address recipient, uint32 l2gas) external payable;
        function liquidateReward(uint256 seqId, uint256 amount, address recipient, uint32 l2gas) external payable;
        function distributeReward(uint256 batchId, uint256 totalReward) external;
        function logSignerChange(uint256 sequencerId, address oldSigner, address newSigner, uint256 nonce, bytes signerPubkey) external;

        event Locked(address indexed signer, uint256 indexed sequencerId, uint256 nonce, uint256 indexed activationBatch, uint256 amount, uint256 total, bytes signerPubkey);
        event Relocked(uint256 indexed sequencerId, uint256 amount, uint256 total);
        event Withdraw(uint256 indexed sequencerId, uint256 amount);
        event LockUpdate(uint256 indexed sequencerId, uint256 indexed nonce, uint256 indexed newAmount);
        event ClaimRewards(uint256 indexed sequencerId, address recipient, uint256 indexed amount, uint256 indexed totalAmount);
        event UnlockInit(address indexed user, uint256 indexed sequencerId, uint256 nonce, uint256 deactivationBatch, uint256 deactivationTime, uint256 unlockClaimTime, uint256 indexed amount);
        event Unlocked(address indexed user, uint256 indexed sequencerId, uint256 amount, uint256 total);
        event SignerChange(uint256 indexed sequencerId, uint256 nonce, address indexed oldSigner, address indexed newSigner, bytes signerPubkey);
        event BatchSubmitReward(uint256 newBatchId);
        event SetMinLock(uint256 newMinLock);
        event SetMaxLock(uint256 newMaxLock);
        event SetRewardPayer(address payer);
    }

    /// Events of the OpenZeppelin bases, the same from both L1 contracts and their proxies.
    #[derive(Debug, PartialEq, Eq)]
    interface Proxied {
        event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);
        event Initialized(uint8 version);
        event Upgraded(address indexed implementation);
        event AdminChanged(address previousAdmin, address newAdmin);
    }

    /// L2 contract that says who produces which blocks.
    #[derive(Debug, PartialEq, Eq)]
    interface SequencerSet {
        struct Epoch { uint256 number; address signer; uint256 startBlock; uint256 endBlock; }

        function epochLength() external view returns (uint256 blocks);
        function mpcAddress() external view returns (address mpc);
        function epochs(uint256 number) external view returns (uint256 number, address signer, uint256 startBlock, uint256 endBlock);
        function currentEpochNumber() external view returns (uint256 number);
        function currentEpoch() external view returns (Epoch epoch);
        function getEpochByBlock(uint256 blockNumber) external view returns (uint256 number);
        function getMetisSequencer(uint256 blockNumber) external view returns (address signer);
        function finalizedEpoch() external view returns (Epoch epoch, bool exist);
        function finalizedBlock() external view returns (uint256 blockNumber);
        function owner() external view returns (address owner);
        function commitEpoch(uint256 newEpoch, uint256 startBlock, uint256 endBlock, address signer) external;
        function recommitEpoch(uint256 oldEpochId, uint256 newEpochId, uint256 startBlock, uint256 endBlock, address newSigner) external;
        function UpdateMpcAddress(address newMpc) external;
        function UpdateEpochLength(uint256 newLength) external;
        function initialize(address initialSequencer, address mpc, uint256 firstStartBlock, uint256 firstEndBlock, uint256 epochLength) external;

        event NewEpoch(uint256 indexed epochId, uint256 startBlock, uint256 endBlock, address signer);
        event ReCommitEpoch(uint256 indexed oldEpochId, uint256 indexed newEpochId, uint256 curEpochId, uint256 startBlock, uint256 endBlock, address newSigner);
        event MpcAddressUpdated(address newMpcAddress);
        event EpochUpdated(uint256 newLength);
    }

    /// The METIS token on L1, as far as we use it.
    #[derive(Debug, PartialEq, Eq)]
    interface Erc20 {
        function approve(address spender, uint256 value) external returns (bool ok);
        function allowance(address owner, address spender) external view returns (uint256 amount);
        function balanceOf(address owner) external view returns (uint256 amount);
        function transferFrom(address from, address to, uint256 value) external returns (bool ok);
        function transfer(address to, uint256 value) external returns (bool ok);

        event Transfer(address indexed from, address indexed to, uint256 value);
        event Approval(address indexed owner, address indexed spender, uint256 value);

        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InvalidApprover(address approver);
        error ERC20InvalidReceiver(address receiver);
        error ERC20InvalidSender(address sender);
        error ERC20InvalidSpender(address spender);
        error OwnableUnauthorizedAccount(address account);
        error OwnableInvalidOwner(address owner);
    }

    /// The L1 bridge, as far as the fee of a claim needs it.
    #[derive(Debug, PartialEq, Eq)]
    interface L1Bridge {
        function addressmgr() external view returns (address manager);
        function depositERC20ToByChainId(uint256 chainId, address l1Token, address l2Token, address to, uint256 amount, uint32 l2Gas, bytes data) external payable;
        event ERC20DepositInitiated(address indexed l1Token, address indexed l2Token, address indexed from, address to, uint256 amount, bytes data);
    }

    /// Registry of the bridge's contracts by name.
    #[derive(Debug, PartialEq, Eq)]
    interface AddressManager {
        function getAddress(string name) external view returns (address found);
    }

    /// Price of L2 gas asked by the bridge.
    #[derive(Debug, PartialEq, Eq)]
    interface DiscountOracle {
        function getMinL2Gas() external view returns (uint256 gas);
        function getDiscount() external view returns (uint256 wei_per_gas);
    }
}
