// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

/// @title What a message to L2 costs, and who may send one (P 1.9, 1.10).
/// @notice The fee is max(l2Gas, getMinL2Gas) * getDiscount wei.
contract MVM_DiscountOracle is Ownable {
    uint256 public getMinL2Gas = 200_000;
    uint256 public getDiscount;
    /// @notice While true, as at the start, nobody is turned away.
    bool public allowAllXDomainSenders = true;
    mapping(address sender => bool) public xDomainWL;

    constructor(uint256 discount) {
        getDiscount = discount;
    }

    function setMinL2Gas(uint256 minL2Gas) external onlyOwner {
        getMinL2Gas = minL2Gas;
    }

    function setDiscount(uint256 discount) external onlyOwner {
        getDiscount = discount;
    }

    function setAllowAllXDomainSenders(bool yes) external onlyOwner {
        allowAllXDomainSenders = yes;
    }

    function setWhitelistedXDomainSender(address sender, bool yes) external onlyOwner {
        xDomainWL[sender] = yes;
    }

    function isXDomainSenderAllowed(address sender) external view returns (bool) {
        return allowAllXDomainSenders || xDomainWL[sender];
    }
}
