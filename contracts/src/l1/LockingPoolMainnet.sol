// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {LockingPool} from "./LockingPool.sol";
import {Status} from "./SequencerRecords.sol";

/// @title The pool as recorded on Ethereum mainnet (P 1.11): same ABI and storage, two other rules.
contract LockingPoolMainnet is LockingPool {
    /// @dev At most a third of the set may be on its way out, this exit included.
    function _beforeExit() internal view override {
        uint256 exiting = seqStatuses[Status.Inactive] + 1;
        uint256 total = seqStatuses[Status.Inactive] + seqStatuses[Status.Active];
        require(3 * exiting <= total, "BFT restriction");
    }

    /// @dev Asks for the caller's place on the whitelist and nothing of the new owner, which may so come to own
    /// two sequencers while `seqOwners` remembers the last.
    function _beforeOwnerChange(address newOwner) internal view override {
        _requireWhitelisted(msg.sender);
        if (newOwner == address(0)) revert NullAddress();
    }
}
