// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";

/// @title Who produces which L2 blocks (P 2).
/// @notice Epochs follow each other; at most one waits in the future. The MPC commits the next one, and recommits
/// when a producer fails in its turn.
contract MetisSequencerSet is OwnableUpgradeable {
    struct Epoch {
        uint256 number;
        address signer;
        uint256 startBlock;
        uint256 endBlock;
    }

    event NewEpoch(uint256 indexed epochId, uint256 startBlock, uint256 endBlock, address signer);
    event ReCommitEpoch(
        uint256 indexed oldEpochId,
        uint256 indexed newEpochId,
        uint256 curEpochId,
        uint256 startBlock,
        uint256 endBlock,
        address newSigner
    );
    event MpcAddressUpdated(address newMpcAddress);
    event EpochUpdated(uint256 newLength);

    /// @notice Blocks of a regular epoch; epoch 0 and recommitted ones have their own length.
    uint256 public epochLength;
    address public mpcAddress;
    mapping(uint256 number => Epoch) public epochs;
    /// @notice The highest epoch committed; it may lie in the future.
    uint256 public currentEpochNumber;

    modifier onlyMpc() {
        require(msg.sender == mpcAddress, "Not Mpc");
        _;
    }

    constructor() {
        _disableInitializers();
    }

    /// @notice Commits epoch 0; the caller becomes the owner.
    function initialize(
        address initialSequencer,
        address mpc,
        uint256 firstStartBlock,
        uint256 firstEndBlock,
        uint256 length
    ) external initializer {
        require(firstEndBlock > firstStartBlock, "Invalid block range");
        __Ownable_init();
        mpcAddress = mpc;
        epochLength = length;
        epochs[0] = Epoch(0, initialSequencer, firstStartBlock, firstEndBlock);
        emit NewEpoch(0, firstStartBlock, firstEndBlock, initialSequencer);
    }

    function UpdateMpcAddress(address newMpc) external onlyOwner {
        require(newMpc != address(0), "Invalid new mpc");
        mpcAddress = newMpc;
        emit MpcAddressUpdated(newMpc);
    }

    function UpdateEpochLength(uint256 newLength) external {
        require(msg.sender == mpcAddress || msg.sender == owner(), "Not Mpc or Owner");
        require(newLength > 0, "Invalid new epoch length");
        epochLength = newLength;
        emit EpochUpdated(newLength);
    }

    /// @notice Queues the next epoch right after the current one. (P 2.4)
    function commitEpoch(uint256 newEpoch, uint256 startBlock, uint256 endBlock, address signer) external onlyMpc {
        uint256 current = currentEpochNumber;
        // Only one epoch may wait. The first two are exempt, there is nothing before epoch 0 to wait for.
        if (current > 1) require(epochs[current - 1].endBlock < block.number, "The last epoch not finished");
        require(newEpoch == current + 1, "Invalid new epoch number");
        _requireRange(startBlock, endBlock);
        require(endBlock - startBlock + 1 == epochLength, "Mismatch epoch length and block length");
        require(
            startBlock == epochs[current].endBlock + 1, "Start block must be greater than currentEpoch.endBlock by 1"
        );
        require(signer != address(0), "Invalid signer");

        epochs[newEpoch] = Epoch(newEpoch, signer, startBlock, endBlock);
        currentEpochNumber = newEpoch;
        emit NewEpoch(newEpoch, startBlock, endBlock, signer);
    }

    /// @notice Hands production over from this block on, in place of a producer that failed. (P 2.4)
    /// @param oldEpochId The epoch that fails: the current one, whose successor is created, or the one before a
    /// queued epoch, which is then rewritten.
    function recommitEpoch(
        uint256 oldEpochId,
        uint256 newEpochId,
        uint256 startBlock,
        uint256 endBlock,
        address newSigner
    ) external onlyMpc {
        require(startBlock == block.number, "Invalid start block");
        require(newSigner != address(0), "Invalid signer");
        _requireRange(startBlock, endBlock);

        uint256 current = currentEpochNumber;
        Epoch storage old = epochs[oldEpochId];
        if (oldEpochId == current) {
            // Cutting an epoch before its first block would leave it with a negative length.
            require(old.startBlock < block.number, "Conflict on end block");
            require(newEpochId == current + 1, "Invalid newEpochId");
            old.endBlock = block.number - 1;
            currentEpochNumber = newEpochId;
        } else if (oldEpochId + 1 == current) {
            require(newEpochId == current, "Invalid newEpochId");
            require(epochs[current].startBlock >= block.number, "The latest epoch producing");
            if (old.endBlock >= block.number) old.endBlock = block.number - 1;
        } else {
            revert("Invalid oldEpochId");
        }

        epochs[newEpochId] = Epoch(newEpochId, newSigner, startBlock, endBlock);
        emit ReCommitEpoch(oldEpochId, newEpochId, current, startBlock, endBlock, newSigner);
    }

    function currentEpoch() external view returns (Epoch memory) {
        return epochs[currentEpochNumber];
    }

    /// @return The epoch of a block, 2^256-1 if none; looks from the newest back, so old blocks cost.
    function getEpochByBlock(uint256 blockNumber) public view returns (uint256) {
        for (uint256 id = currentEpochNumber;; id--) {
            Epoch storage epoch = epochs[id];
            // Epochs ascend, so a block behind this one is in a gap, or behind them all.
            if (blockNumber > epoch.endBlock) break;
            if (blockNumber >= epoch.startBlock) return id;
            if (id == 0) break;
        }
        return type(uint256).max;
    }

    /// @return The producer of a block, zero if none. All blocks before the set began count as epoch 0's.
    function getMetisSequencer(uint256 blockNumber) external view returns (address) {
        if (blockNumber <= epochs[0].endBlock) return epochs[0].signer;
        return epochs[getEpochByBlock(blockNumber)].signer;
    }

    /// @notice The newest epoch that is over: whatever happens, its blocks keep their producer.
    function finalizedEpoch() public view returns (Epoch memory epoch, bool exist) {
        for (uint256 id = currentEpochNumber;; id--) {
            if (epochs[id].endBlock < block.number) return (epochs[id], true);
            if (id == 0) break;
        }
    }

    /// @notice The last block whose producer no recommit can change.
    function finalizedBlock() external view returns (uint256) {
        (Epoch memory epoch, bool exist) = finalizedEpoch();
        return exist ? epoch.endBlock : epochs[0].startBlock - 1;
    }

    function _requireRange(uint256 startBlock, uint256 endBlock) private pure {
        require(endBlock > startBlock, "End block must be greater than start block");
    }
}
