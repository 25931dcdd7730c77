// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {LockingPool} from "../l1/LockingPool.sol";

/// @notice One owner of a {Crowd}: an owner has one sequencer, so many sequencers need many owners.
contract Member {
    address private immutable crowd = msg.sender;
    address private immutable pool;

    constructor(address pool_, IERC20 token, address escrow) {
        pool = pool_;
        token.approve(escrow, type(uint256).max);
    }

    /// @notice Calls the pool as this owner. A refusal is an answer, so that the others go on.
    function act(bytes calldata data) external returns (bool done) {
        require(msg.sender == crowd, "not its crowd");
        (done,) = pool.call(data);
    }
}

/// @title Owners of many sequencers that act in one transaction, for chains with many events to a transaction.
/// @dev Anyone may play. It has no place on a network with money.
contract Crowd {
    /// @dev Acts of one member in a row: the first touches its storage, the others are cheap.
    uint256 private constant STREAK = 8;

    LockingPool public immutable pool;
    Member[] private members;
    /// @notice The sequencer of a member, 0 for none.
    uint256[] public ids;
    /// @notice The member without a sequencer, to whom the next change of owner goes.
    uint256 public spare;

    /// @param count Owners; the last begins as the spare one.
    constructor(LockingPool pool_, IERC20 token, address escrow, uint256 count) {
        pool = pool_;
        for (uint256 i = 0; i < count; i++) {
            members.push(new Member(address(pool_), token, escrow));
            ids.push(0);
        }
        spare = count - 1;
    }

    /// @notice A member locks.
    function enlist(uint256 member, address signer, bytes calldata pubkey, uint256 amount) external {
        bytes memory data = abi.encodeCall(pool.lockWithRewardRecipient, (signer, address(this), amount, pubkey));
        require(members[member].act(data), "not locked");
        ids[member] = pool.totalSequencers();
    }

    /// @notice A member calls the pool with what the caller says.
    function order(uint256 member, bytes calldata data) external {
        require(members[member].act(data), "refused");
    }

    /// @notice Calls anything as the crowd: as `mpcAddress` it hides a batch from the transaction's own calldata.
    function forward(address target, bytes calldata data) external {
        Address.functionCall(target, data);
    }

    /// @notice Members act until about so many events of the pool and its escrow are emitted; a seed gives the same
    /// acts on the same state.
    function play(uint256 seed, uint256 events) external {
        uint256 made;
        while (made < events) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 member = (seed >> 128) % members.length;
            // One without a sequencer, or on its way out, has nothing to do.
            if (ids[member] == 0) continue;
            uint256 acts = 1 + (seed >> 64) % STREAK;
            for (uint256 i = 0; i < acts && made < events; i++) {
                seed = uint256(keccak256(abi.encode(seed)));
                made += _act(member, ids[member], seed);
                if (ids[member] == 0) break;
            }
        }
    }

    /// @return made Events emitted; a claim counts as one though there may be nothing to claim.
    function _act(uint256 member, uint256 id, uint256 dice) private returns (uint256 made) {
        uint256 amount = 1 + (dice >> 64) % 1000;
        uint256 kind = dice % 100;
        if (kind < 45) {
            bytes memory data = abi.encodeCall(pool.relock, (id, amount, kind < 5));
            return members[member].act(data) ? 2 : 0;
        }
        if (kind < 90) {
            address recipient = address(uint160(dice >> 96) | 1);
            return members[member].act(abi.encodeCall(pool.setSequencerRewardRecipient, (id, recipient))) ? 1 : 0;
        }
        if (kind < 95) {
            // Once for each batch; the others are refused.
            return members[member].act(abi.encodeCall(pool.withdraw, (id, amount))) ? 2 : 0;
        }
        if (kind < 99) {
            return members[member].act(abi.encodeCall(pool.withdrawRewards, (id, 0))) ? 1 : 0;
        }
        uint256 heir = spare;
        if (!members[member].act(abi.encodeCall(pool.setSequencerOwner, (id, address(members[heir]))))) return 0;
        (ids[heir], ids[member], spare) = (id, 0, member);
        return 1;
    }
}
