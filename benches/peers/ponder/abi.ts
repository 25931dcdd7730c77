// The events of the two contracts, as in crates/chain/src/abi.rs.
import { parseAbi } from 'viem'

export const pool = parseAbi([
  'event SequencerOwnerChanged(uint256 seqId, address owner)',
  'event SequencerRewardRecipientChanged(uint256 seqId, address recipient)',
  'event SetWhitelist(address user, bool yes)',
  'event DistributeReward(uint256 indexed batchId, uint256 startEpoch, uint256 endEpoch, uint256 amount, uint256 rpb)',
  'event RewardUpdate(uint256 newReward, uint256 oldReward)',
  'event WithrawDelayTimeChange(uint256 cur, uint256 prev)',
  'event UpdateMpc(address newMpc)',
  'event SetSignerUpdateThrottle(uint256 n)',
  'event Paused(address account)',
  'event Unpaused(address account)',
  'event OwnershipTransferred(address indexed previousOwner, address indexed newOwner)',
  'event Initialized(uint8 version)',
  'event Upgraded(address indexed implementation)',
  'event AdminChanged(address previousAdmin, address newAdmin)',
])
export const info = parseAbi([
  'event Locked(address indexed signer, uint256 indexed sequencerId, uint256 nonce, uint256 indexed activationBatch, uint256 amount, uint256 total, bytes signerPubkey)',
  'event Relocked(uint256 indexed sequencerId, uint256 amount, uint256 total)',
  'event Withdraw(uint256 indexed sequencerId, uint256 amount)',
  'event LockUpdate(uint256 indexed sequencerId, uint256 indexed nonce, uint256 indexed newAmount)',
  'event ClaimRewards(uint256 indexed sequencerId, address recipient, uint256 indexed amount, uint256 indexed totalAmount)',
  'event UnlockInit(address indexed user, uint256 indexed sequencerId, uint256 nonce, uint256 deactivationBatch, uint256 deactivationTime, uint256 unlockClaimTime, uint256 indexed amount)',
  'event Unlocked(address indexed user, uint256 indexed sequencerId, uint256 amount, uint256 total)',
  'event SignerChange(uint256 indexed sequencerId, uint256 nonce, address indexed oldSigner, address indexed newSigner, bytes signerPubkey)',
  'event BatchSubmitReward(uint256 newBatchId)',
  'event SetMinLock(uint256 newMinLock)',
  'event SetMaxLock(uint256 newMaxLock)',
  'event SetRewardPayer(address payer)',
  'event OwnershipTransferred(address indexed previousOwner, address indexed newOwner)',
  'event Initialized(uint8 version)',
  'event Upgraded(address indexed implementation)',
  'event AdminChanged(address previousAdmin, address newAdmin)',
])
