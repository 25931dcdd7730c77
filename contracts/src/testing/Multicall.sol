// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @title A contract in front of the pool, for tests: as `mpcAddress` it hides `batchSubmitRewards` from the
/// transaction's own calldata (P 1.13, step 3).
/// @dev Anyone may call through it. It has no place on a network with money.
contract Multicall {
    struct Call {
        address target;
        uint256 value;
        bytes data;
    }

    /// @notice Makes the calls in order, or none: the first revert bubbles up unchanged.
    function multicall(Call[] calldata calls) external payable returns (bytes[] memory results) {
        results = new bytes[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            results[i] = Address.functionCallWithValue(calls[i].target, calls[i].data, calls[i].value);
        }
    }
}
