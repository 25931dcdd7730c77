//! The walk: every operation in every state with each precondition broken, on anvil. The contract is brought into the
//! state, preflight is asked, the transactions are sent from the real sender, and both must say the same: done, or
//! refused for the same reason. Cells that cannot exist are named with why, and counted.
#![allow(clippy::panic, reason = "the lint exempts only functions marked as tests, not what they share")]

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use chain::config::Network;
use chain::fees::Fees;
use domain::amount::{Eth, Metis};
use domain::ids::SequencerId;
use domain::network::Variant;
use domain::operation::Operation;
use domain::preflight::{self, Check, Source, Verdict};
use domain::revert::Revert;
use serde_json::{Value, json};
use testkit::contracts::{self, L1, L1Options, account, deploy_l1, node_key};
use testkit::{Anvil, wait_for};

use crate::fleet::Chain;
use crate::market::Market;
use crate::operations::facts::{Subject, on_chain};
use crate::operations::plan::{Call, Gas, calls, eth_needed, explain, simulate};

/// Longest wait for a receipt of a chain that mines at once.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);
const FEES: Fees = Fees { max_fee_per_gas: 20_000_000_000, max_priority_fee_per_gas: 1 };

// Storage of P 1.7.
const PAUSED: u64 = 51;
const WHITELIST: u64 = 152;
const SEQUENCERS: u64 = 153;
const SEQ_OWNERS: u64 = 154;
const SEQ_STATUSES: u64 = 156;
const BATCH: u64 = 211;
const MIN_LOCK: u64 = 105;
const MAX_LOCK: u64 = 106;
const REWARD: u64 = 1;
const UPDATED_BATCH: u64 = 3;
const OWNER: u64 = 8;
const SIGNER: u64 = 9;
const RECIPIENT_AND_STATUS: u64 = 11;
// Of the token, OpenZeppelin 4.
const BALANCES: u64 = 0;
const ALLOWANCES: u64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lock,
    Increase,
    Compound,
    Withdraw,
    Claim,
    SetRecipient,
    SetOwner,
    RotateSigner,
    Unlock,
    WithdrawFinal,
}

/// Operations that take METIS or return it.
const METIS: [Kind; 5] = [Kind::Lock, Kind::Increase, Kind::Compound, Kind::Withdraw, Kind::WithdrawFinal];
/// Operations after which something is in other hands, or on its way.
const HANDS: [Kind; 5] = [Kind::Claim, Kind::SetRecipient, Kind::SetOwner, Kind::RotateSigner, Kind::Unlock];

/// LOCKED and ACTIVE are one state to the contract, which does not know what the consensus layer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Registered,
    Whitelisted,
    LockedOrActive,
    Exiting,
    Withdrawable,
    Withdrawn,
}

const STATES: [State; 6] = [
    State::Registered,
    State::Whitelisted,
    State::LockedOrActive,
    State::Exiting,
    State::Withdrawable,
    State::Withdrawn,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breach {
    // Of the chain: every operation may meet them.
    None,
    Paused,
    Dewhitelisted,
    /// Owner and signer changed behind our back.
    Stranger,
    NoRecipient,
    NoReward,
    ThrottleUsed,
    MinLockRaised,
    MaxLockLowered,
    BftLimit,
    NoEth,
    OwnerHasAnother,
    // Of the parameters: only operations that have such a parameter.
    AmountZero,
    AmountBelowMinimum,
    AmountAboveMaximum,
    AmountOverflows,
    AmountAbovePrincipal,
    BalanceLow,
    AllowanceLow,
    SignerUsed,
    SignerBurnt,
    RecipientZero,
    NewOwnerZero,
    NewOwnerNotWhitelisted,
    NewOwnerHasAnother,
    NewOwnerSelf,
}

const BREACHES: [Breach; 26] = {
    use Breach::*;
    [
        None,
        Paused,
        Dewhitelisted,
        Stranger,
        NoRecipient,
        NoReward,
        ThrottleUsed,
        MinLockRaised,
        MaxLockLowered,
        BftLimit,
        NoEth,
        OwnerHasAnother,
        AmountZero,
        AmountBelowMinimum,
        AmountAboveMaximum,
        AmountOverflows,
        AmountAbovePrincipal,
        BalanceLow,
        AllowanceLow,
        SignerUsed,
        SignerBurnt,
        RecipientZero,
        NewOwnerZero,
        NewOwnerNotWhitelisted,
        NewOwnerHasAnother,
        NewOwnerSelf,
    ]
};

/// Why a cell cannot exist, if so.
fn impossible(kind: Kind, state: State, breach: Breach) -> Option<&'static str> {
    use Breach::*;
    let without_record = matches!(state, State::Registered | State::Whitelisted);
    match breach {
        Stranger | NoRecipient | NoReward | ThrottleUsed if without_record => {
            Some("nothing is locked: there is no record to be otherwise")
        }
        Dewhitelisted if state == State::Registered => Some("that is what the state is"),
        NoReward if state == State::Withdrawn => Some("a withdrawn sequencer has no reward left"),
        AmountZero if matches!(kind, Kind::Increase | Kind::Withdraw) => Option::None,
        AmountBelowMinimum if matches!(kind, Kind::Lock | Kind::Withdraw) => Option::None,
        AmountAboveMaximum if matches!(kind, Kind::Lock | Kind::Increase) => Option::None,
        AmountOverflows if kind == Kind::Increase => Option::None,
        AmountAbovePrincipal if kind == Kind::Withdraw => Option::None,
        BalanceLow | AllowanceLow if matches!(kind, Kind::Lock | Kind::Increase) => Option::None,
        SignerUsed | SignerBurnt if matches!(kind, Kind::Lock | Kind::RotateSigner) => Option::None,
        RecipientZero if matches!(kind, Kind::Lock | Kind::SetRecipient) => Option::None,
        NewOwnerZero | NewOwnerNotWhitelisted | NewOwnerHasAnother | NewOwnerSelf
            if kind == Kind::SetOwner =>
        {
            Option::None
        }
        AmountZero
        | AmountBelowMinimum
        | AmountAboveMaximum
        | AmountOverflows
        | AmountAbovePrincipal
        | BalanceLow
        | AllowanceLow
        | SignerUsed
        | SignerBurnt
        | RecipientZero
        | NewOwnerZero
        | NewOwnerNotWhitelisted
        | NewOwnerHasAnother
        | NewOwnerSelf => Some("the operation has no such parameter, or the contract no such rule for it"),
        _ => Option::None,
    }
}

/// Checks that are not of the contract's refusals one to one: ours says more than the contract's words.
fn same_reason(ours: &str, contract: &str) -> bool {
    ours == contract
        || matches!(
            (ours, contract),
            // An id that never was has no status and no owner.
            ("SEQUENCER_NOT_LOCKED", "SEQUENCER_NOT_ACTIVE" | "NOT_SEQUENCER_OWNER")
            // One text for both.
            | ("NOT_EXITING", "EXIT_PERIOD_NOT_OVER")
        )
}

fn word(value: impl TryInto<U256>) -> B256 {
    value.try_into().map(B256::from).unwrap_or_default()
}

fn of_map(key: B256, slot: U256) -> U256 {
    keccak256([key.as_slice(), &slot.to_be_bytes::<32>()].concat()).into()
}

fn slot(number: u64) -> U256 {
    U256::from(number)
}

struct Walk {
    l1: L1,
    chain: Chain,
    _anvil: Anvil,
    ids: Vec<Option<SequencerId>>,
    /// Names of the contract's checks that failed somewhere.
    failed: BTreeSet<&'static str>,
    walked: usize,
    named: usize,
}

fn owner(state: State) -> Address {
    account(&format!("{state:?} owner"))
}

fn signer_name(state: State) -> String {
    format!("{state:?} signer")
}

#[derive(Debug)]
enum Outcome {
    Done,
    Reverted(Revert),
    NotTaken(String),
}

impl Walk {
    /// One chain with a sequencer in each state, whose contract is known.
    async fn start(variant: contracts::Variant) -> Self {
        let known = match variant {
            contracts::Variant::Main => Variant::Main,
            contracts::Variant::Mainnet => Variant::Mainnet,
        };
        Self::opened_as(variant, known).await
    }

    /// The same, with the contract taken for one of this variant.
    async fn opened_as(variant: contracts::Variant, taken_for: Variant) -> Self {
        let anvil = Anvil::start(testkit::anvil::Options::default()).await.expect("anvil starts");
        let l1 = deploy_l1(&anvil, L1Options::default()).await.expect("the contracts are deployed");
        let mut ids = vec![None; STATES.len()];
        for state in STATES {
            l1.fund(owner(state), Metis::whole(400_000), Eth::whole(10)).await.expect("funds");
            l1.fund(node_key(&signer_name(state)).address(), Metis::ZERO, Eth::whole(10))
                .await
                .expect("funds");
            if state != State::Registered {
                l1.whitelist(owner(state), true).await.expect("whitelisted");
            }
        }
        l1.whitelist(account("heir"), true).await.expect("whitelisted");
        for state in [State::Withdrawn, State::Withdrawable] {
            let id = Self::lock(&l1, state).await;
            l1.unlock(owner(state), id).await.expect("unlocked");
            ids[state as usize] = Some(id);
        }
        l1.link.advance_time(21 * 86_400 + 1).await.expect("time passes");
        let gone = ids[State::Withdrawn as usize].expect("locked");
        l1.unlock_claim(owner(State::Withdrawn), gone).await.expect("withdrawn");
        for state in [State::Exiting, State::LockedOrActive] {
            ids[state as usize] = Some(Self::lock(&l1, state).await);
        }
        let exiting = ids[State::Exiting as usize].expect("locked");
        l1.unlock(owner(State::Exiting), exiting).await.expect("unlocked");
        let earning = [State::LockedOrActive, State::Exiting, State::Withdrawable];
        let blocks: Vec<_> =
            earning.iter().map(|state| (node_key(&signer_name(*state)).address(), 1_000)).collect();
        l1.submit_batch(&blocks).await.expect("rewards");
        for state in STATES {
            l1.approve(owner(state), Metis::whole(300_000)).await.expect("approved");
        }
        l1.upgrade(variant).await.expect("the variant");
        l1.link.rpc::<Value>("anvil_autoImpersonateAccount", json!([true])).await.expect("anyone may send");
        let chain = open(&anvil, &l1, taken_for);
        let walk = Self { l1, chain, _anvil: anvil, ids, failed: BTreeSet::new(), walked: 0, named: 0 };
        walk.statuses(10, 2).await;
        walk
    }

    async fn lock(l1: &L1, state: State) -> SequencerId {
        let (who, key) = (owner(state), node_key(&signer_name(state)));
        l1.lock(who, &key, account("recipient"), Metis::whole(30_000)).await.expect("locked");
        l1.sequencer_of(who).await.expect("asked").expect("locked")
    }

    async fn set(&self, contract: Address, at: U256, value: B256) {
        self.l1
            .link
            .rpc::<Value>("anvil_setStorageAt", json!([contract, at, value]))
            .await
            .expect("storage is set");
    }

    async fn statuses(&self, active: u64, exiting: u64) {
        let pool = self.l1.locking_pool;
        self.set(pool, of_map(word(2u64), slot(SEQ_STATUSES)), word(active)).await;
        self.set(pool, of_map(word(1u64), slot(SEQ_STATUSES)), word(exiting)).await;
    }

    async fn storage(&self, contract: Address, at: U256) -> U256 {
        self.l1.link.rpc("eth_getStorageAt", json!([contract, at, "latest"])).await.expect("storage is read")
    }

    fn field(&self, state: State, field: u64) -> U256 {
        let id = self.ids[state as usize].expect("there is a record");
        of_map(word(id.0), slot(SEQUENCERS)) + slot(field)
    }

    /// What is asked for, with the parameter broken if that is the breach.
    fn operation(&self, kind: Kind, state: State, breach: Breach) -> Operation {
        use Breach::*;
        let recipient = if breach == RecipientZero { Address::ZERO } else { account("another recipient") };
        let signer = node_key(&match breach {
            SignerUsed => signer_name(State::LockedOrActive),
            SignerBurnt => signer_name(State::Withdrawn),
            _ => "a fresh signer".to_owned(),
        });
        match kind {
            Kind::Lock => {
                let amount = Metis::whole(match breach {
                    AmountBelowMinimum => 19_999,
                    AmountAboveMaximum => 100_001,
                    // Inside the limits of its cell, which has others than the rest.
                    MinLockRaised => 35_000,
                    _ => 20_000,
                });
                Operation::Lock { amount, recipient, signer, override_node: Option::None }
            }
            Kind::Increase => {
                let amount = match breach {
                    AmountZero => Metis::ZERO,
                    AmountAboveMaximum => Metis::whole(70_001),
                    AmountOverflows => Metis(U256::MAX),
                    _ => Metis::whole(1_000),
                };
                Operation::Increase { amount, with_rewards: false }
            }
            Kind::Compound => Operation::Increase { amount: Metis::ZERO, with_rewards: true },
            Kind::Withdraw => {
                let amount = Metis::whole(match breach {
                    AmountZero => 0,
                    AmountBelowMinimum => 10_001,
                    AmountAbovePrincipal => 30_001,
                    _ => 5_000,
                });
                Operation::Withdraw { amount }
            }
            Kind::Claim => Operation::Claim { l2_gas: 0 },
            Kind::SetRecipient => Operation::SetRecipient { recipient },
            Kind::SetOwner => Operation::SetOwner {
                new_owner: match breach {
                    NewOwnerZero => Address::ZERO,
                    NewOwnerNotWhitelisted => account("nobody"),
                    NewOwnerHasAnother => owner(State::Exiting),
                    NewOwnerSelf => owner(state),
                    _ => account("heir"),
                },
            },
            Kind::RotateSigner => Operation::RotateSigner { new_signer: signer },
            Kind::Unlock => Operation::Unlock { l2_gas: 250_000 },
            Kind::WithdrawFinal => Operation::WithdrawFinal { l2_gas: 0 },
        }
    }

    /// Breaks what the chain has.
    async fn break_it(&self, state: State, breach: Breach, sender: Address) {
        let (pool, info, metis) = (self.l1.locking_pool, self.l1.locking_info, self.l1.metis);
        let who = owner(state).into_word();
        match breach {
            Breach::Paused => self.set(pool, slot(PAUSED), word(1u64)).await,
            Breach::Dewhitelisted => self.set(pool, of_map(who, slot(WHITELIST)), B256::ZERO).await,
            Breach::Stranger => {
                let other = account("stranger").into_word();
                self.set(pool, self.field(state, OWNER), other).await;
                self.set(pool, self.field(state, SIGNER), other).await;
            }
            Breach::NoRecipient => {
                let at = self.field(state, RECIPIENT_AND_STATUS);
                let status = (self.storage(pool, at).await >> 160usize) << 160usize;
                self.set(pool, at, status.into()).await;
            }
            Breach::NoReward => self.set(pool, self.field(state, REWARD), B256::ZERO).await,
            Breach::ThrottleUsed => {
                let batch = self.storage(pool, slot(BATCH)).await;
                self.set(pool, self.field(state, UPDATED_BATCH), batch.into()).await;
            }
            Breach::MinLockRaised => self.set(info, slot(MIN_LOCK), word(Metis::whole(35_000).0)).await,
            Breach::MaxLockLowered => {
                self.set(info, slot(MIN_LOCK), word(Metis::whole(1_000).0)).await;
                self.set(info, slot(MAX_LOCK), word(Metis::whole(2_000).0)).await;
            }
            Breach::BftLimit => self.statuses(1, 2).await,
            Breach::NoEth => self.l1.link.set_balance(sender, U256::ZERO).await.expect("set"),
            Breach::OwnerHasAnother => self.set(pool, of_map(who, slot(SEQ_OWNERS)), word(99u64)).await,
            Breach::BalanceLow => {
                self.set(metis, of_map(who, slot(BALANCES)), word(Metis::whole(5).0)).await;
            }
            Breach::AllowanceLow => {
                let inner = of_map(who, slot(ALLOWANCES));
                self.set(metis, of_map(info.into_word(), inner), B256::ZERO).await;
            }
            _ => {}
        }
    }

    /// One cell, from a snapshot and back to it.
    async fn cell(&mut self, kind: Kind, state: State, breach: Breach) {
        if impossible(kind, state, breach).is_some() {
            self.named += 1;
            return;
        }
        self.walked += 1;
        let link = self.l1.link.clone();
        let snapshot: Value = link.rpc("evm_snapshot", json!([])).await.expect("a snapshot");
        let operation = self.operation(kind, state, breach);
        let subject = Subject {
            seq_id: self.ids[state as usize],
            owner: owner(state),
            signer: node_key(&signer_name(state)).address(),
            signer_key: None,
            open_operation: None,
            open_prepared: None,
            hold: None,
            approved: None,
            recipient_if_unset: None,
        };
        let sender = subject.sender(&operation);
        self.break_it(state, breach, sender).await;
        // What is broken here changes a block that is there already, which no chain does: nothing of it may be kept.
        self.chain.head = Default::default();
        let cell = format!("{kind:?} in {state:?} with {breach:?} on {}", self.chain.variant.name());

        let mut picture = on_chain(&self.chain, &operation, &subject).await.expect(&cell);
        let mut plan = calls(&self.chain, &operation, subject.seq_id, &picture.facts);
        let roughly =
            simulate(&self.chain, &operation, sender, &mut plan.clone(), &picture, Gas::Simulated).await;
        let simulation = simulate(&self.chain, &operation, sender, &mut plan, &picture, Gas::Estimated).await;
        let decided = |check: &Check| (check.verdict, check.reason);
        assert_eq!(decided(&roughly), decided(&simulation), "{cell}: intake and lane see the same");
        picture.facts.eth_needed = eth_needed(&plan, &FEES);
        let checks = preflight::preflight(&operation, &picture.facts);

        let mut outcome = Outcome::Done;
        for call in &plan {
            outcome = self.send(sender, call).await;
            if !matches!(outcome, Outcome::Done) {
                break;
            }
        }
        self.compare(&cell, &operation, &checks, &simulation, &outcome);
        let back: bool = link.rpc("evm_revert", json!([snapshot])).await.expect("back");
        assert!(back, "{cell}");
    }

    /// Sends a call with exactly the gas that was planned for it.
    async fn send(&self, sender: Address, call: &Call) -> Outcome {
        let request = json!([{
            "from": sender, "to": call.target, "data": call.data, "value": call.value,
            "gas": format!("{:#x}", call.gas_limit),
        }]);
        let link = &self.l1.link;
        let hash: B256 = match link.rpc("eth_sendTransaction", request).await {
            Ok(hash) => hash,
            Err(refused) => return Outcome::NotTaken(refused.to_string()),
        };
        let receipt = wait_for("the receipt", DEADLINE, || async {
            let receipt: Value = link.rpc("eth_getTransactionReceipt", json!([hash])).await.ok()?;
            Some(receipt).filter(|receipt| !receipt.is_null())
        })
        .await;
        if receipt["status"] == "0x1" {
            return Outcome::Done;
        }
        let tracer = json!([hash, { "tracer": "callTracer", "tracerConfig": { "onlyTopCall": true } }]);
        let trace: Value = link.rpc("debug_traceTransaction", tracer).await.expect("a trace");
        let output: Bytes = serde_json::from_value(trace["output"].clone()).unwrap_or_default();
        Outcome::Reverted(Revert::decode(&output))
    }

    fn compare(
        &mut self,
        cell: &str,
        operation: &Operation,
        checks: &[Check],
        simulation: &Check,
        outcome: &Outcome,
    ) {
        let fails = |source: Source| {
            checks
                .iter()
                .find(move |check| check.verdict == Verdict::Fail && preflight::source(check.name) == source)
        };
        let expected = fails(Source::Contract);
        if fails(Source::Node).is_some() {
            let Outcome::NotTaken(why) = outcome else { panic!("{cell}: no ETH, and yet {outcome:?}") };
            assert!(why.contains("nsufficient funds"), "{cell}: {why}");
            return;
        }
        // Of an unknown contract the rules in which the known ones differ only warn.
        let unknown = self.chain.variant == Variant::Unknown;
        let warned = |reason: &str| {
            let warns = |check: &&Check| unknown && check.verdict == Verdict::Warn;
            checks.iter().filter(warns).find(|check| same_reason(check.reason, reason))
        };
        match (expected, outcome) {
            (None, Outcome::Reverted(revert)) if unknown => {
                let (reason, words) = explain(operation.name(), revert);
                assert_eq!(
                    (simulation.verdict, simulation.reason),
                    (Verdict::Fail, reason),
                    "{cell}: {words}"
                );
                let told = warned(reason);
                assert!(told.is_some(), "{cell}: {reason} is refused, and nothing warned of it");
                self.failed.extend(told.map(|check| check.name));
            }
            (None, Outcome::Done) => {
                assert_eq!(simulation.verdict, Verdict::Pass, "{cell}: {}", simulation.message);
            }
            (Some(check), Outcome::Reverted(revert)) => {
                let (reason, words) = explain(operation.name(), revert);
                let told = same_reason(check.reason, reason) || warned(reason).is_some();
                assert!(told, "{cell}: {} but {reason}: {words}", check.reason);
                assert_eq!(simulation.verdict, Verdict::Fail, "{cell}: {}", simulation.message);
                assert_eq!(simulation.reason, reason, "{cell}");
                assert_ne!(reason, "CALL_REVERTED", "{cell}: every refusal has words, not {words}");
                self.failed.insert(check.name);
            }
            (expected, outcome) => panic!("{cell}: preflight says {expected:?}, the contract {outcome:?}"),
        }
    }

    /// Walks these operations, and counts the cells: a precondition that is no longer met anywhere would be missed.
    async fn all(&mut self, kinds: &[Kind], walked: usize) {
        for kind in kinds {
            for state in STATES {
                for breach in BREACHES {
                    self.cell(*kind, state, breach).await;
                }
            }
        }
        assert_eq!(self.walked, walked);
        assert_eq!(self.walked + self.named, kinds.len() * STATES.len() * BREACHES.len());
    }
}

fn open(anvil: &Anvil, l1: &L1, variant: Variant) -> Chain {
    let mut network = Network { variant, confirmations: Some(2), poll_ms: 1_000, ..Network::default() };
    network.l1.rpc = vec![anvil.url().parse().expect("a URL")];
    network.l1.chain_id = Some(l1.chain_id);
    network.l1.locking_pool = Some(l1.locking_pool);
    network.l1.locking_info = Some(l1.locking_info);
    network.l1.metis = Some(l1.metis);
    network.l1.bridge = Some(l1.bridge);
    network.l1.start_block = Some(l1.start_block);
    let spec = network.spec("walk").expect("a network");
    Chain {
        name: "walk".to_owned(),
        chain_id: l1.chain_id,
        l1: network.l1_pool(&spec).expect("endpoints"),
        locking_pool: l1.locking_pool,
        locking_info: l1.locking_info,
        metis: l1.metis,
        bridge: l1.bridge,
        confirmations: 2,
        variant,
        implementation: None,
        market: Market::default(),
        head: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_or_returns_metis_is_refused_exactly_where_the_contract_refuses_it() {
    let mut walk = Walk::start(contracts::Variant::Main).await;
    walk.all(&METIS, 400).await;
    let every = [
        "ADDS_SOMETHING",
        "AMOUNT_IN_RANGE",
        "EXIT_OVER",
        "LEAVES_MINIMUM",
        "METIS_BALANCE",
        "OWNER_FREE",
        "OWNER_WHITELISTED",
        "POOL_NOT_PAUSED",
        "RECIPIENT_SET",
        "SENDER_IS_OWNER",
        "SIGNER_UNUSED",
        "STATUS_ACTIVE",
        "UNDER_CAP",
        "WITHDRAW_THROTTLE",
    ];
    assert_eq!(walk.failed.into_iter().collect::<Vec<_>>(), every, "every check decided somewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_hands_or_leaves_is_refused_exactly_where_the_contract_refuses_it() {
    let mut walk = Walk::start(contracts::Variant::Main).await;
    walk.all(&HANDS, 352).await;
    let every = [
        "NEW_OWNER_FREE",
        "NEW_OWNER_GIVEN",
        "NEW_OWNER_WHITELISTED",
        "OWNER_WHITELISTED",
        "POOL_NOT_PAUSED",
        "RECIPIENT_GIVEN",
        "RECIPIENT_SET",
        "SENDER_IS_OWNER",
        "SENDER_IS_SIGNER",
        "SIGNER_THROTTLE",
        "SIGNER_UNUSED",
        "STATUS_ACTIVE",
    ];
    assert_eq!(walk.failed.into_iter().collect::<Vec<_>>(), every, "every check decided somewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_the_mainnet_variant_are_the_contracts_too() {
    let mut walk = Walk::start(contracts::Variant::Mainnet).await;
    walk.all(&[METIS, HANDS].concat(), 752).await;
    assert!(walk.failed.contains("EXIT_ALLOWED"), "{:?}", walk.failed);
    assert!(!walk.failed.contains("NEW_OWNER_FREE"), "the mainnet variant lets an owner have two");
}

/// Those whose rules differ between the contracts (P 1.11): of the others the table is the same for all.
const DIFFERING: [Kind; 3] = [Kind::Withdraw, Kind::SetOwner, Kind::Unlock];

#[tokio::test(flavor = "multi_thread")]
async fn of_an_unknown_contract_the_simulation_says_what_the_contract_does() {
    for (contract, own_rules) in [
        (contracts::Variant::Main, ["NEW_OWNER_FREE", "NEW_OWNER_WHITELISTED"]),
        (contracts::Variant::Mainnet, ["EXIT_ALLOWED", "OWNER_WHITELISTED"]),
    ] {
        let mut walk = Walk::opened_as(contract, Variant::Unknown).await;
        walk.all(&DIFFERING, 228).await;
        let decided = own_rules.iter().all(|rule| walk.failed.contains(rule));
        assert!(decided, "{contract:?} decided only {:?}", walk.failed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_that_rose_after_the_quote_is_told_by_the_bridge_with_the_new_price() {
    let walk = Walk::start(contracts::Variant::Main).await;
    let operation = walk.operation(Kind::Claim, State::LockedOrActive, Breach::None);
    let subject = Subject {
        seq_id: walk.ids[State::LockedOrActive as usize],
        owner: owner(State::LockedOrActive),
        signer: node_key(&signer_name(State::LockedOrActive)).address(),
        signer_key: None,
        open_operation: None,
        open_prepared: None,
        hold: None,
        approved: None,
        recipient_if_unset: None,
    };
    let picture = on_chain(&walk.chain, &operation, &subject).await.expect("a picture");
    let plan = calls(&walk.chain, &operation, subject.seq_id, &picture.facts);
    assert_eq!(plan[0].value, Eth::parse("0.0002").expect("an amount").0, "200,000 gas at 1 gwei");
    walk.l1.set_discount(2_000_000_000).await.expect("a new price");
    match walk.send(subject.owner, &plan[0]).await {
        Outcome::Reverted(revert) => {
            let required = Eth::parse("0.0004").expect("an amount");
            assert_eq!(revert, Revert::BridgeFee { required });
            assert_eq!(revert.reason(), "FEE_TOO_LOW");
        }
        other => panic!("the bridge takes less than it asks: {other:?}"),
    }
}
