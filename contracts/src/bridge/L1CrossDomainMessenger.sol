// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

/// @title The messenger behind the bridge: tells the simulator of L2 what to deliver (P 1.10).
/// @dev Anyone may send. Who credits L2 must look at `sender`, as the real L2 bridge does.
contract L1CrossDomainMessenger {
    event SentMessage(
        address indexed target, address sender, bytes message, uint256 messageNonce, uint256 gasLimit, uint256 chainId
    );

    uint256 public messageNonce;

    function sendMessageViaChainId(uint256 chainId, address target, bytes calldata message, uint256 gasLimit)
        external
    {
        emit SentMessage(target, msg.sender, message, messageNonce++, gasLimit, chainId);
    }
}
