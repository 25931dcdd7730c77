// SPDX-License-Identifier: MIT
pragma solidity 0.8.20;

import {IERC20, SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";

import {IL1ERC20Bridge} from "../l1/LockingInfo.sol";
import {L1CrossDomainMessenger} from "./L1CrossDomainMessenger.sol";
import {Lib_AddressManager} from "./Lib_AddressManager.sol";
import {MVM_DiscountOracle} from "./MVM_DiscountOracle.sol";

/// @notice What the message asks of the bridge on L2; the simulator decodes it to credit the recipient.
interface IL2ERC20Bridge {
    function finalizeDeposit(
        address l1Token,
        address l2Token,
        address from,
        address to,
        uint256 amount,
        bytes calldata data
    ) external;
}

/// @title The way of METIS to L2: same call, fee rule, refusals and logs as Metis' bridge (P 1.9, 1.10).
/// @notice Keeps the tokens and the whole msg.value. There are no withdrawals from L2.
contract L1StandardBridge is IL1ERC20Bridge {
    using SafeERC20 for IERC20;

    /// @dev The predeploy every Metis L2 has.
    address private constant L2_BRIDGE = 0x4200000000000000000000000000000000000010;

    event ERC20ChainID(uint256 chainId);
    event ERC20DepositInitiated(
        address indexed l1Token, address indexed l2Token, address indexed from, address to, uint256 amount, bytes data
    );

    L1CrossDomainMessenger public messenger;
    Lib_AddressManager public addressmgr;
    uint256 public l2ChainId;

    constructor(L1CrossDomainMessenger messenger_, Lib_AddressManager addressmgr_, uint256 l2ChainId_) {
        messenger = messenger_;
        addressmgr = addressmgr_;
        l2ChainId = l2ChainId_;
    }

    function depositERC20ToByChainId(
        uint256 chainId,
        address l1Token,
        address l2Token,
        address to,
        uint256 amount,
        uint32 l2Gas,
        bytes calldata data
    ) external payable {
        require(chainId == l2ChainId, "incorrect chainId");
        uint256 gasLimit = _paidGas(l2Gas);

        IERC20(l1Token).safeTransferFrom(msg.sender, address(this), amount);
        messenger.sendMessageViaChainId(
            chainId,
            L2_BRIDGE,
            abi.encodeCall(IL2ERC20Bridge.finalizeDeposit, (l1Token, l2Token, msg.sender, to, amount, data)),
            gasLimit
        );
        emit ERC20ChainID(chainId);
        emit ERC20DepositInitiated(l1Token, l2Token, msg.sender, to, amount, data);
    }

    /// @return gasLimit The gas the message gets, which msg.value has paid for.
    function _paidGas(uint256 l2Gas) private view returns (uint256 gasLimit) {
        MVM_DiscountOracle oracle = MVM_DiscountOracle(addressmgr.getAddress("MVM_DiscountOracle"));
        require(oracle.isXDomainSenderAllowed(msg.sender), "sender is not whitelisted");
        uint256 minimum = oracle.getMinL2Gas();
        gasLimit = l2Gas > minimum ? l2Gas : minimum;
        uint256 fee = gasLimit * oracle.getDiscount();
        // Clients read the number out of this text.
        require(msg.value >= fee, string.concat("insufficient fee supplied. send at least ", Strings.toString(fee)));
    }
}
