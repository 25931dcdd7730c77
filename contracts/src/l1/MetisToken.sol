// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title METIS on a private L1: an OpenZeppelin 4.9 ERC-20 with its string reverts (P 1.9), minted by the deployer.
contract MetisToken is ERC20, Ownable {
    constructor() ERC20("Metis Token", "Metis") {}

    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }
}
