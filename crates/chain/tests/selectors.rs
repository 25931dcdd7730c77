//! Every selector, topic and error of the interfaces against the hexadecimal values of the protocol
//! reference, which were found in the deployed bytecode.

use alloy_primitives::hex;
use alloy_sol_types::{SolCall, SolError, SolEvent};
use chain::abi::*;

const FUNCTIONS: &[([u8; 4], [u8; 4], &str)] = &[
    (LockingPool::lockForCall::SELECTOR, hex!("af70cba5"), "LockingPool.lockFor"),
    (
        LockingPool::lockWithRewardRecipientCall::SELECTOR,
        hex!("9ad42030"),
        "LockingPool.lockWithRewardRecipient",
    ),
    (LockingPool::relockCall::SELECTOR, hex!("015bb180"), "LockingPool.relock"),
    (LockingPool::withdrawCall::SELECTOR, hex!("441a3e70"), "LockingPool.withdraw"),
    (LockingPool::withdrawRewardsCall::SELECTOR, hex!("17396687"), "LockingPool.withdrawRewards"),
    (LockingPool::unlockCall::SELECTOR, hex!("262c0e66"), "LockingPool.unlock"),
    (LockingPool::unlockClaimCall::SELECTOR, hex!("8ddc74de"), "LockingPool.unlockClaim"),
    (LockingPool::updateSignerCall::SELECTOR, hex!("f41a9642"), "LockingPool.updateSigner"),
    (
        LockingPool::setSequencerRewardRecipientCall::SELECTOR,
        hex!("d83b0e14"),
        "LockingPool.setSequencerRewardRecipient",
    ),
    (LockingPool::setSequencerOwnerCall::SELECTOR, hex!("a953791f"), "LockingPool.setSequencerOwner"),
    (LockingPool::batchSubmitRewardsCall::SELECTOR, hex!("11c7d144"), "LockingPool.batchSubmitRewards"),
    (LockingPool::forceUnlockCall::SELECTOR, hex!("ca99e838"), "LockingPool.forceUnlock"),
    (LockingPool::setWhitelistCall::SELECTOR, hex!("53d6fd59"), "LockingPool.setWhitelist"),
    (LockingPool::updateMpcCall::SELECTOR, hex!("d11d0681"), "LockingPool.updateMpc"),
    (LockingPool::setPauseCall::SELECTOR, hex!("bedb86fb"), "LockingPool.setPause"),
    (
        LockingPool::updateWithdrawDelayTimeValueCall::SELECTOR,
        hex!("71e10cfa"),
        "LockingPool.updateWithdrawDelayTimeValue",
    ),
    (LockingPool::updateBlockRewardCall::SELECTOR, hex!("f580ffcb"), "LockingPool.updateBlockReward"),
    (
        LockingPool::setSignerUpdateThrottleCall::SELECTOR,
        hex!("bfd6fc3f"),
        "LockingPool.setSignerUpdateThrottle",
    ),
    (LockingPool::transferOwnershipCall::SELECTOR, hex!("f2fde38b"), "LockingPool.transferOwnership"),
    (LockingPool::renounceOwnershipCall::SELECTOR, hex!("715018a6"), "LockingPool.renounceOwnership"),
    (LockingPool::initializeCall::SELECTOR, hex!("c4d66de8"), "LockingPool.initialize"),
    (LockingPool::sequencersCall::SELECTOR, hex!("6ba7ccff"), "LockingPool.sequencers"),
    (LockingPool::seqOwnersCall::SELECTOR, hex!("169abefc"), "LockingPool.seqOwners"),
    (LockingPool::seqSignersCall::SELECTOR, hex!("beb26755"), "LockingPool.seqSigners"),
    (LockingPool::seqStatusesCall::SELECTOR, hex!("86d203ab"), "LockingPool.seqStatuses"),
    (LockingPool::whitelistCall::SELECTOR, hex!("9b19251a"), "LockingPool.whitelist"),
    (LockingPool::totalSequencersCall::SELECTOR, hex!("cc3ab923"), "LockingPool.totalSequencers"),
    (LockingPool::curBatchStateCall::SELECTOR, hex!("b4472970"), "LockingPool.curBatchState"),
    (LockingPool::currentBatchCall::SELECTOR, hex!("76cd940e"), "LockingPool.currentBatch"),
    (LockingPool::rewardPerBlockCall::SELECTOR, hex!("8ae39cac"), "LockingPool.rewardPerBlock"),
    (LockingPool::BLOCK_REWARDCall::SELECTOR, hex!("7f05b9ef"), "LockingPool.BLOCK_REWARD"),
    (LockingPool::exitDelayPeriodCall::SELECTOR, hex!("3478874b"), "LockingPool.exitDelayPeriod"),
    (LockingPool::WITHDRAWAL_DELAYCall::SELECTOR, hex!("0ebb172a"), "LockingPool.WITHDRAWAL_DELAY"),
    (LockingPool::signerUpdateThrottleCall::SELECTOR, hex!("c65066d4"), "LockingPool.signerUpdateThrottle"),
    (LockingPool::mpcAddressCall::SELECTOR, hex!("111f4630"), "LockingPool.mpcAddress"),
    (LockingPool::escrowCall::SELECTOR, hex!("e2fdcc17"), "LockingPool.escrow"),
    (LockingPool::pausedCall::SELECTOR, hex!("5c975abb"), "LockingPool.paused"),
    (LockingPool::ownerCall::SELECTOR, hex!("8da5cb5b"), "LockingPool.owner"),
    (LockingInfo::minLockCall::SELECTOR, hex!("f037c630"), "LockingInfo.minLock"),
    (LockingInfo::maxLockCall::SELECTOR, hex!("6c0b3e46"), "LockingInfo.maxLock"),
    (LockingInfo::totalLockedCall::SELECTOR, hex!("56891412"), "LockingInfo.totalLocked"),
    (
        LockingInfo::totalRewardsLiquidatedCall::SELECTOR,
        hex!("cd6b8388"),
        "LockingInfo.totalRewardsLiquidated",
    ),
    (LockingInfo::managerCall::SELECTOR, hex!("481c6a75"), "LockingInfo.manager"),
    (LockingInfo::rewardPayerCall::SELECTOR, hex!("6eb27154"), "LockingInfo.rewardPayer"),
    (LockingInfo::bridgeCall::SELECTOR, hex!("e78cea92"), "LockingInfo.bridge"),
    (LockingInfo::l1TokenCall::SELECTOR, hex!("c01e1bd6"), "LockingInfo.l1Token"),
    (LockingInfo::l2TokenCall::SELECTOR, hex!("56eff267"), "LockingInfo.l2Token"),
    (LockingInfo::l2ChainIdCall::SELECTOR, hex!("d6ae3cd5"), "LockingInfo.l2ChainId"),
    (LockingInfo::ownerCall::SELECTOR, hex!("8da5cb5b"), "LockingInfo.owner"),
    (LockingInfo::setMinLockCall::SELECTOR, hex!("aa15af6a"), "LockingInfo.setMinLock"),
    (LockingInfo::setMaxLockCall::SELECTOR, hex!("cd15b2a5"), "LockingInfo.setMaxLock"),
    (LockingInfo::setRewardPayerCall::SELECTOR, hex!("e8b8b413"), "LockingInfo.setRewardPayer"),
    (LockingInfo::initManagerCall::SELECTOR, hex!("b1fc19d3"), "LockingInfo.initManager"),
    (LockingInfo::transferOwnershipCall::SELECTOR, hex!("f2fde38b"), "LockingInfo.transferOwnership"),
    (LockingInfo::renounceOwnershipCall::SELECTOR, hex!("715018a6"), "LockingInfo.renounceOwnership"),
    (LockingInfo::initializeCall::SELECTOR, hex!("cf756fdf"), "LockingInfo.initialize"),
    (LockingInfo::newSequencerCall::SELECTOR, hex!("1badded5"), "LockingInfo.newSequencer"),
    (LockingInfo::increaseLockedCall::SELECTOR, hex!("2684b8ec"), "LockingInfo.increaseLocked"),
    (LockingInfo::withdrawLockingCall::SELECTOR, hex!("234898b3"), "LockingInfo.withdrawLocking"),
    (LockingInfo::initializeUnlockCall::SELECTOR, hex!("2243069c"), "LockingInfo.initializeUnlock"),
    (LockingInfo::finalizeUnlockCall::SELECTOR, hex!("528ed12a"), "LockingInfo.finalizeUnlock"),
    (LockingInfo::liquidateRewardCall::SELECTOR, hex!("5d7878a8"), "LockingInfo.liquidateReward"),
    (LockingInfo::distributeRewardCall::SELECTOR, hex!("e3bcd27c"), "LockingInfo.distributeReward"),
    (LockingInfo::logSignerChangeCall::SELECTOR, hex!("b3285702"), "LockingInfo.logSignerChange"),
    (SequencerSet::epochLengthCall::SELECTOR, hex!("57d775f8"), "SequencerSet.epochLength"),
    (SequencerSet::mpcAddressCall::SELECTOR, hex!("111f4630"), "SequencerSet.mpcAddress"),
    (SequencerSet::epochsCall::SELECTOR, hex!("c6b61e4c"), "SequencerSet.epochs"),
    (SequencerSet::currentEpochNumberCall::SELECTOR, hex!("6903beb4"), "SequencerSet.currentEpochNumber"),
    (SequencerSet::currentEpochCall::SELECTOR, hex!("76671808"), "SequencerSet.currentEpoch"),
    (SequencerSet::getEpochByBlockCall::SELECTOR, hex!("46df33d2"), "SequencerSet.getEpochByBlock"),
    (SequencerSet::getMetisSequencerCall::SELECTOR, hex!("3edae769"), "SequencerSet.getMetisSequencer"),
    (SequencerSet::finalizedEpochCall::SELECTOR, hex!("6bfa7398"), "SequencerSet.finalizedEpoch"),
    (SequencerSet::finalizedBlockCall::SELECTOR, hex!("4084c3ab"), "SequencerSet.finalizedBlock"),
    (SequencerSet::commitEpochCall::SELECTOR, hex!("4fb71bdd"), "SequencerSet.commitEpoch"),
    (SequencerSet::recommitEpochCall::SELECTOR, hex!("2c91c679"), "SequencerSet.recommitEpoch"),
    (SequencerSet::UpdateMpcAddressCall::SELECTOR, hex!("643dbfce"), "SequencerSet.UpdateMpcAddress"),
    (SequencerSet::UpdateEpochLengthCall::SELECTOR, hex!("24316ccb"), "SequencerSet.UpdateEpochLength"),
    (SequencerSet::ownerCall::SELECTOR, hex!("8da5cb5b"), "SequencerSet.owner"),
    (SequencerSet::initializeCall::SELECTOR, hex!("d13f90b4"), "SequencerSet.initialize"),
    (Erc20::approveCall::SELECTOR, hex!("095ea7b3"), "Erc20.approve"),
    (Erc20::allowanceCall::SELECTOR, hex!("dd62ed3e"), "Erc20.allowance"),
    (Erc20::balanceOfCall::SELECTOR, hex!("70a08231"), "Erc20.balanceOf"),
    (Erc20::transferFromCall::SELECTOR, hex!("23b872dd"), "Erc20.transferFrom"),
    (L1Bridge::addressmgrCall::SELECTOR, hex!("153928f4"), "L1Bridge.addressmgr"),
    (L1Bridge::depositERC20ToByChainIdCall::SELECTOR, hex!("ef808be2"), "L1Bridge.depositERC20ToByChainId"),
    (AddressManager::getAddressCall::SELECTOR, hex!("bf40fac1"), "AddressManager.getAddress"),
    (DiscountOracle::getMinL2GasCall::SELECTOR, hex!("bf53926e"), "DiscountOracle.getMinL2Gas"),
    (DiscountOracle::getDiscountCall::SELECTOR, hex!("d137874b"), "DiscountOracle.getDiscount"),
];

#[test]
fn every_function_has_the_selector_of_the_reference() {
    for (ours, theirs, name) in FUNCTIONS {
        assert_eq!(ours, theirs, "{name}");
    }
}

const EVENTS: &[([u8; 32], [u8; 32], &str)] = &[
    (
        LockingInfo::Locked::SIGNATURE_HASH.0,
        hex!("e6f1eb1f1d0ca344d03cf47b9e6ece8a7d3b196e38dd7dd2307cca75e26682a8"),
        "LockingInfo.Locked",
    ),
    (
        LockingInfo::Relocked::SIGNATURE_HASH.0,
        hex!("33a87ba488658b3d1319098cd49c6d65b72a79c0f3530fec611e7afffed04395"),
        "LockingInfo.Relocked",
    ),
    (
        LockingInfo::Withdraw::SIGNATURE_HASH.0,
        hex!("56ca301a9219608c91e7bcee90e083c19671d2cdcc96752c7af291cee5f9c8c8"),
        "LockingInfo.Withdraw",
    ),
    (
        LockingInfo::LockUpdate::SIGNATURE_HASH.0,
        hex!("d716c027b3dd610e4534df756848128bbb159a757724c17d89fcc4d0151b1f30"),
        "LockingInfo.LockUpdate",
    ),
    (
        LockingInfo::ClaimRewards::SIGNATURE_HASH.0,
        hex!("18c7dc2a1800c409227dc12c0c05ada9c995ebfe0e42ae6d65f1b3ae3e6111de"),
        "LockingInfo.ClaimRewards",
    ),
    (
        LockingInfo::UnlockInit::SIGNATURE_HASH.0,
        hex!("06d9e13438f0daf13a71d63f3f8579db8bdeb299e4b651942313c73224d7af69"),
        "LockingInfo.UnlockInit",
    ),
    (
        LockingInfo::Unlocked::SIGNATURE_HASH.0,
        hex!("5245d528087a96a64f4589a764f00061e4671eab90cb1e019b1a5b24b2e4c2a8"),
        "LockingInfo.Unlocked",
    ),
    (
        LockingInfo::SignerChange::SIGNATURE_HASH.0,
        hex!("086044c0612a8c965d4cccd907f0d588e40ad68438bd4c1274cac60f4c3a9d1f"),
        "LockingInfo.SignerChange",
    ),
    (
        LockingInfo::BatchSubmitReward::SIGNATURE_HASH.0,
        hex!("9e5aedd489785d05ba086064386f2e75b3e497d3dc00a54ed1c78bfc50a3953f"),
        "LockingInfo.BatchSubmitReward",
    ),
    (
        LockingInfo::SetMinLock::SIGNATURE_HASH.0,
        hex!("abb05374bb45ebfef33afb21ec5aa52333708d8217fd8e5c0616efd2530b2145"),
        "LockingInfo.SetMinLock",
    ),
    (
        LockingInfo::SetMaxLock::SIGNATURE_HASH.0,
        hex!("be23e9641c545443c3c625039b327c0eee88e9024040be7b03c5d73862d425e0"),
        "LockingInfo.SetMaxLock",
    ),
    (
        LockingInfo::SetRewardPayer::SIGNATURE_HASH.0,
        hex!("30b92f5a89d7473895c4e9ce260fa7d0eefef2d59d5e68192e2e8cca4b9473a0"),
        "LockingInfo.SetRewardPayer",
    ),
    (
        Proxied::OwnershipTransferred::SIGNATURE_HASH.0,
        hex!("8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0"),
        "Proxied.OwnershipTransferred",
    ),
    (
        Proxied::Initialized::SIGNATURE_HASH.0,
        hex!("7f26b83ff96e1f2b6a682f133852f6798a09c465da95921460cefb3847402498"),
        "Proxied.Initialized",
    ),
    (
        LockingPool::SequencerOwnerChanged::SIGNATURE_HASH.0,
        hex!("4078101d3657bf2f1ee46f64d5c94266d244d71bb0daa460336d3d6f11c9a4ac"),
        "LockingPool.SequencerOwnerChanged",
    ),
    (
        LockingPool::SequencerRewardRecipientChanged::SIGNATURE_HASH.0,
        hex!("357bb123cabaf224688e3d8de5feb37d685dc3a27012a7bce1201c49bc369cb6"),
        "LockingPool.SequencerRewardRecipientChanged",
    ),
    (
        LockingPool::SetWhitelist::SIGNATURE_HASH.0,
        hex!("f6019ec0a78d156d249a1ec7579e2321f6ac7521d6e1d2eacf90ba4a184dcceb"),
        "LockingPool.SetWhitelist",
    ),
    (
        LockingPool::DistributeReward::SIGNATURE_HASH.0,
        hex!("57f14bf0f24025b2c737413d121021e1a6ede039533e1215eda6f20002baf0a1"),
        "LockingPool.DistributeReward",
    ),
    (
        LockingPool::RewardUpdate::SIGNATURE_HASH.0,
        hex!("f67f33e8589d3ea0356303c0f9a8e764873692159f777ff79e4fc523d389dfcd"),
        "LockingPool.RewardUpdate",
    ),
    (
        LockingPool::WithrawDelayTimeChange::SIGNATURE_HASH.0,
        hex!("08cb0bf599c925a6240976039d9d4d3201d88d2ba83703b890049356cdbb67e6"),
        "LockingPool.WithrawDelayTimeChange",
    ),
    (
        LockingPool::UpdateMpc::SIGNATURE_HASH.0,
        hex!("c6759872346bc2093e270f2fa00d99d7bcdde60a410a3e9956b34196d42fee76"),
        "LockingPool.UpdateMpc",
    ),
    (
        LockingPool::SetSignerUpdateThrottle::SIGNATURE_HASH.0,
        hex!("e58685f6b78e6d567d2ed9d7c5efb779c4cd91c63c76763a0e3204a5671f4705"),
        "LockingPool.SetSignerUpdateThrottle",
    ),
    (
        LockingPool::Paused::SIGNATURE_HASH.0,
        hex!("62e78cea01bee320cd4e420270b5ea74000d11b0c9f74754ebdbfc544b05a258"),
        "LockingPool.Paused",
    ),
    (
        LockingPool::Unpaused::SIGNATURE_HASH.0,
        hex!("5db9ee0a495bf2e6ff9c91a7834c1ba4fdd244a5e8aa4e537bd38aeae4b073aa"),
        "LockingPool.Unpaused",
    ),
    (
        SequencerSet::NewEpoch::SIGNATURE_HASH.0,
        hex!("9030849b7c46dbbea7911d67c5814a2ab19c0704c448defc9b87589447844cc6"),
        "SequencerSet.NewEpoch",
    ),
    (
        SequencerSet::ReCommitEpoch::SIGNATURE_HASH.0,
        hex!("2cfee2bd8227abd70bbef63ce6f35d2e365c731d553d9d2231073f80b01831da"),
        "SequencerSet.ReCommitEpoch",
    ),
    (
        SequencerSet::MpcAddressUpdated::SIGNATURE_HASH.0,
        hex!("9416d5b743f4c1409b0213ee5d1e57e8515f4be68a32fbbda85f838891b421da"),
        "SequencerSet.MpcAddressUpdated",
    ),
    (
        SequencerSet::EpochUpdated::SIGNATURE_HASH.0,
        hex!("b33a1f54dde4e0082c45281b338d78b2c4b5be163b6ffffa5d0d6d1050ba5a58"),
        "SequencerSet.EpochUpdated",
    ),
    (
        Proxied::Upgraded::SIGNATURE_HASH.0,
        hex!("bc7cd75a20ee27fd9adebab32041f755214dbc6bffa90cc0225b39da2e5c2d3b"),
        "Proxied.Upgraded",
    ),
    (
        Proxied::AdminChanged::SIGNATURE_HASH.0,
        hex!("7e644d79422f17c01e4894b5f4f588d331ebfa28653d42ae832dc59e38c9798f"),
        "Proxied.AdminChanged",
    ),
    (
        L1Bridge::ERC20DepositInitiated::SIGNATURE_HASH.0,
        hex!("718594027abd4eaed59f95162563e0cc6d0e8d5b86b1c7be8b1b0ac3343d0396"),
        "L1Bridge.ERC20DepositInitiated",
    ),
];

#[test]
fn every_event_has_the_topic_of_the_reference() {
    for (ours, theirs, name) in EVENTS {
        assert_eq!(ours, theirs, "{name}");
    }
}

const ERRORS: &[([u8; 4], [u8; 4], &str)] = &[
    (LockingPool::NotWhitelisted::SELECTOR, hex!("584a7938"), "LockingPool.NotWhitelisted"),
    (LockingPool::SeqNotActive::SELECTOR, hex!("c4946571"), "LockingPool.SeqNotActive"),
    (LockingPool::NotSeqOwner::SELECTOR, hex!("a91da8ff"), "LockingPool.NotSeqOwner"),
    (LockingPool::NotSeqSigner::SELECTOR, hex!("6b95264b"), "LockingPool.NotSeqSigner"),
    (LockingPool::OwnedSequencer::SELECTOR, hex!("4e1fb3bc"), "LockingPool.OwnedSequencer"),
    (LockingPool::SignerExisted::SELECTOR, hex!("b5013d2b"), "LockingPool.SignerExisted"),
    (LockingPool::NoSuchSeq::SELECTOR, hex!("2f0edabe"), "LockingPool.NoSuchSeq"),
    (LockingPool::NoRewardRecipient::SELECTOR, hex!("c4fc1dcc"), "LockingPool.NoRewardRecipient"),
    (LockingPool::NullAddress::SELECTOR, hex!("e99d5ac5"), "LockingPool.NullAddress"),
    (Erc20::ERC20InsufficientAllowance::SELECTOR, hex!("fb8f41b2"), "Erc20.ERC20InsufficientAllowance"),
    (Erc20::ERC20InsufficientBalance::SELECTOR, hex!("e450d38c"), "Erc20.ERC20InsufficientBalance"),
    (Erc20::ERC20InvalidApprover::SELECTOR, hex!("e602df05"), "Erc20.ERC20InvalidApprover"),
    (Erc20::ERC20InvalidReceiver::SELECTOR, hex!("ec442f05"), "Erc20.ERC20InvalidReceiver"),
    (Erc20::ERC20InvalidSender::SELECTOR, hex!("96c6fd1e"), "Erc20.ERC20InvalidSender"),
    (Erc20::ERC20InvalidSpender::SELECTOR, hex!("94280d62"), "Erc20.ERC20InvalidSpender"),
    (Erc20::OwnableUnauthorizedAccount::SELECTOR, hex!("118cdaa7"), "Erc20.OwnableUnauthorizedAccount"),
    (Erc20::OwnableInvalidOwner::SELECTOR, hex!("1e4fbdf7"), "Erc20.OwnableInvalidOwner"),
];

#[test]
fn every_error_has_the_selector_of_the_reference() {
    for (ours, theirs, name) in ERRORS {
        assert_eq!(ours, theirs, "{name}");
    }
}
