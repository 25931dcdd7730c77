// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

/// @title Phone book of the Metis L1 contracts; clients find the fee oracle here (P 1.10).
contract Lib_AddressManager is Ownable {
    event AddressSet(string indexed name, address newAddress, address oldAddress);

    mapping(string name => address) private addresses;

    function setAddress(string calldata name, address addr) external onlyOwner {
        emit AddressSet(name, addr, addresses[name]);
        addresses[name] = addr;
    }

    /// @return The address, zero for a name nobody set.
    function getAddress(string calldata name) external view returns (address) {
        return addresses[name];
    }
}
