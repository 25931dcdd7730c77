// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

// Nothing of ours is here: the imports make the compiler emit OpenZeppelin's proxies for our artifacts.
import {ProxyAdmin} from "@openzeppelin/contracts/proxy/transparent/ProxyAdmin.sol";
import {TransparentUpgradeableProxy} from "@openzeppelin/contracts/proxy/transparent/TransparentUpgradeableProxy.sol";
