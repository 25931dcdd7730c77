//! The shipped policy `metis`: exactly what the nine operations need, on the configured networks.

use std::collections::{BTreeMap, BTreeSet};

use super::call::Function;
use super::document::{Contracts, FORMAT, Keys};
use super::text::{Document, RuleText};
use crate::db::key::Role;

/// Stands as author of the versions made here; a version by anyone else is never replaced.
pub const AUTHOR: &str = "preset:metis";

/// The contract's own initial maxLock: nobody can lock more.
const AMOUNT_WEI_MAX: &str = "100000000000000000000000";
/// A lock at its maximum, withdrawn and locked again, but not a loop.
const METIS_24H_WEI_MAX: &str = "200000000000000000000000";
/// The bridge asks for 0.0002 ETH on mainnet; fifty times that is a mistake or a theft.
const BRIDGE_VALUE_WEI_MAX: &str = "10000000000000000";
/// Mainnet peaks of recent years were below.
const MAX_FEE_PER_GAS_WEI: &str = "500000000000";
/// A lock of 600,000 gas at that price.
const MAX_TOTAL_FEE_WEI: &str = "300000000000000000";
/// Some hundred operations at ordinary prices, sixteen at the highest; beyond that somebody burns ETH.
const ETH_24H_WEI_MAX: &str = "5000000000000000000";
/// The only service that signs.
const CALLER: &str = "lifecycle";

/// The document for these networks.
pub fn metis(contracts: &BTreeMap<String, Contracts>) -> String {
    use Function::{
        Approve, Cancel, LockWithRewardRecipient, Relock, SetSequencerOwner, SetSequencerRewardRecipient,
        Unlock, UnlockClaim, UpdateSigner, Withdraw, WithdrawRewards,
    };
    let rules = if contracts.is_empty() {
        Vec::new()
    } else {
        let networks: BTreeSet<String> = contracts.keys().cloned().collect();
        let rule = |name: &str, role: Role, functions: &[Function]| RuleText {
            name: name.to_owned(),
            callers: BTreeSet::from([CALLER.to_owned()]),
            networks: networks.clone(),
            functions: functions.iter().copied().collect(),
            max_fee_per_gas_wei: Some(MAX_FEE_PER_GAS_WEI.to_owned()),
            max_total_fee_wei: Some(MAX_TOTAL_FEE_WEI.to_owned()),
            eth_24h_wei_max: Some(ETH_24H_WEI_MAX.to_owned()),
            keys: Keys { role: Some(role), ..Keys::default() },
            ..RuleText::default()
        };
        let amount = Some(AMOUNT_WEI_MAX.to_owned());
        vec![
            RuleText {
                amount_wei_max: amount.clone(),
                metis_24h_wei_max: Some(METIS_24H_WEI_MAX.to_owned()),
                ..rule("owner-lock", Role::Owner, &[Approve, LockWithRewardRecipient, Relock])
            },
            RuleText { amount_wei_max: amount, ..rule("owner-withdraw", Role::Owner, &[Withdraw]) },
            RuleText {
                value_wei_max: Some(BRIDGE_VALUE_WEI_MAX.to_owned()),
                ..rule("owner-bridge", Role::Owner, &[WithdrawRewards, Unlock, UnlockClaim])
            },
            rule("owner-settings", Role::Owner, &[SetSequencerRewardRecipient, SetSequencerOwner]),
            rule("owner-cancel", Role::Owner, &[Cancel]),
            rule("sequencer-signer", Role::Sequencer, &[UpdateSigner, Cancel]),
        ]
    };
    let document = Document {
        format: FORMAT,
        quorum: None,
        contracts: contracts.clone(),
        registered: Vec::new(),
        rules,
    };
    toml::to_string_pretty(&document).expect("a document of plain tables always serialises")
}
