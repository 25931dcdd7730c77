//! Who got what of a reward batch, where the calldata of the transaction does not tell.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, sol};
use api::indexer::v1 as wire;
use api::indexer::v1::chain_event::Event;
use chain::abi::LockingPool;
use domain::amount::Metis;
use domain::ids::SequencerId;
use testkit::contracts::{Action, account, node_key};
use testkit::proxy::{Faults, Proxy};

use crate::world::{NETWORK, Running, World};

sol! {
    struct Call {
        address target;
        uint256 value;
        bytes data;
    }

    function multicall(Call[] calls) external payable returns (bytes[] results);
}

const REWARD_PER_BLOCK: u64 = 761_000_000_000_000;

/// Blocks by signer.
type Shares<'a> = &'a [(Address, u64)];

fn signer(name: &str) -> Address {
    node_key(name).address()
}

/// A multicall contract, through which the MPC submits from now on.
async fn multicall(world: &World) -> Address {
    let artifact = include_str!("../../../contracts/artifacts/Multicall.json");
    let artifact: serde_json::Value = serde_json::from_str(artifact).expect("JSON");
    let data: Bytes = artifact["bytecode"].as_str().and_then(|code| code.parse().ok()).expect("code");
    let (from, value) = (world.l1.deployer, U256::ZERO);
    let creation = Action { name: "Multicall", from, to: None, data, value };
    let created = world.l1.link.act(creation).await.expect("created").contract_address.expect("an address");
    let call = LockingPool::updateMpcCall { newMpc: created };
    world.l1.link.act(Action::call(from, world.l1.locking_pool, &call)).await.expect("it is the MPC");
    created
}

/// Calldata of the `nth` batch from now on.
async fn batch(world: &World, nth: u64, shares: Shares<'_>) -> Bytes {
    let state = world.l1.batch_state().await.expect("the chain answers");
    let call = LockingPool::batchSubmitRewardsCall {
        batchId: U256::from(state.id.0 + nth),
        startEpoch: U256::from(state.end_epoch.0 + 2 * nth - 1),
        endEpoch: U256::from(state.end_epoch.0 + 2 * nth),
        seqs: shares.iter().map(|(signer, _)| *signer).collect(),
        blocks: shares.iter().map(|(_, blocks)| U256::from(*blocks)).collect(),
    };
    call.abi_encode().into()
}

/// The next batches, in one transaction to the multicall contract.
async fn hidden(world: &World, multicall: Address, batches: &[Shares<'_>]) -> Action {
    let mut calls = Vec::new();
    for (nth, shares) in (1..).zip(batches) {
        let data = batch(world, nth, shares).await;
        calls.push(Call { target: world.l1.locking_pool, value: U256::ZERO, data });
    }
    Action::call(account("relayer"), multicall, &multicallCall { calls })
}

/// The batches as the indexer lists them: method, blocks by sequencer, and total.
async fn listed(indexer: &Running) -> Vec<(wire::CreditMethod, Vec<(String, u64)>, String)> {
    let only = wire::ListEventsRequest { kinds: vec!["DistributeReward".to_owned()], ..Default::default() };
    let events = indexer.events(only).await;
    let batch = |event: &wire::ChainEvent| match &event.event {
        Some(Event::DistributeReward(batch)) => {
            let credit = |credit: &wire::RewardCredit| (credit.sequencer_id.clone(), credit.blocks);
            let credits = batch.credits.iter().map(credit).collect();
            (batch.method(), credits, batch.amount_wei.clone())
        }
        other => unreachable!("{other:?} is no batch"),
    };
    events.iter().map(batch).collect()
}

fn split(by: &[(SequencerId, u64)]) -> Vec<(String, u64)> {
    by.iter().map(|(id, blocks)| (id.to_string(), *blocks)).collect()
}

fn total(blocks: u64) -> String {
    Metis::wei(REWARD_PER_BLOCK * blocks).wei_string()
}

/// An indexer behind whose back the node has these faults.
async fn start_behind(world: &World, faults: Faults) -> (Running, Proxy) {
    let proxy = Proxy::start(world.l1.link.url()).await.expect("a proxy");
    proxy.set(faults);
    let mut network = world.network.clone();
    network.l1.rpc = vec![proxy.url().parse().expect("a URL")];
    network.l1.ws = None;
    (world.start_with([(NETWORK.to_owned(), network)].into()).await, proxy)
}

fn without_traces() -> Faults {
    Faults { strip_methods: vec!["debug_traceTransaction"], ..Faults::default() }
}

#[tokio::test]
async fn batches_behind_a_multicall_are_split_by_their_trace() {
    let world = World::new().await;
    let (ida, max) = (world.lock("ida", 20_000).await, world.lock("max", 20_000).await);
    let contract = multicall(&world).await;
    let first: Shares<'_> = &[(signer("ida"), 300), (signer("max"), 700)];
    let both = hidden(&world, contract, &[first, &[(signer("max"), 5), (signer("max"), 6)]]).await;
    world.l1.link.act(both).await.expect("taken");
    let indexer = world.start().await;
    indexer.agrees(&world).await;

    let expected = [
        (wire::CreditMethod::Trace, split(&[(ida, 300), (max, 700)]), total(1_000)),
        (wire::CreditMethod::Trace, split(&[(max, 11)]), total(11)),
    ];
    assert_eq!(listed(&indexer).await, expected);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn without_traces_the_rewards_before_and_after_tell_even_with_claims_and_relocks_in_the_block() {
    let world = World::new().await;
    let l1 = &world.l1;
    let (ida, max) = (world.lock("ida", 20_000).await, world.lock("max", 20_000).await);
    l1.submit_batch(&[(signer("ida"), 40), (signer("max"), 50)]).await.expect("batch");
    let contract = multicall(&world).await;
    l1.approve(account("ida"), Metis::whole(5)).await.expect("approved");
    let relock = LockingPool::relockCall { seqId: ida.into(), amount: Metis::whole(5).0, lockReward: true };
    let claim = LockingPool::withdrawRewardsCall { seqId: max.into(), l2Gas: 0 };
    let fee = l1.bridge_fee(max).await.expect("a quote");
    let actions = [
        Action::call(account("ida"), l1.locking_pool, &relock),
        hidden(&world, contract, &[&[(signer("ida"), 300), (signer("max"), 700)]]).await,
        Action::call(account("max"), l1.locking_pool, &claim).paying(fee.0),
    ];
    let _: serde_json::Value =
        l1.link.rpc("evm_setAutomine", serde_json::json!([false])).await.expect("one block for all");
    let receipts = l1.link.act_all(&actions).await.expect("taken");
    assert!(receipts.windows(2).all(|pair| pair[0].block_number == pair[1].block_number));

    let (indexer, _proxy) = start_behind(&world, without_traces()).await;
    indexer.agrees(&world).await;
    let expected = [
        (wire::CreditMethod::Calldata, split(&[(ida, 40), (max, 50)]), total(90)),
        (wire::CreditMethod::StateDifference, split(&[(ida, 300), (max, 700)]), total(1_000)),
    ];
    assert_eq!(listed(&indexer).await, expected);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn calldata_that_is_not_canonical_is_no_proof_and_the_state_is_read() {
    let world = World::new().await;
    let ida = world.lock("ida", 20_000).await;
    let data = [batch(&world, 1, &[(signer("ida"), 8)]).await.to_vec(), vec![0]].concat().into();
    let (from, to) = (world.l1.mpc, Some(world.l1.locking_pool));
    let submit = Action { name: "batchSubmitRewards", from, to, data, value: U256::ZERO };
    world.l1.link.act(submit).await.expect("the contract takes it");
    let indexer = world.start().await;
    indexer.agrees(&world).await;
    let expected = [(wire::CreditMethod::StateDifference, split(&[(ida, 8)]), total(8))];
    assert_eq!(listed(&indexer).await, expected);
    indexer.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_batch_that_nothing_proves_keeps_its_total_and_is_never_guessed() {
    let world = World::new().await;
    let l1 = &world.l1;
    world.lock("ida", 20_000).await;
    let contract = multicall(&world).await;
    // Two batches of one block cannot be told apart by what the block changed.
    let both = hidden(&world, contract, &[&[(signer("ida"), 1)], &[(signer("ida"), 2)]]).await;
    l1.link.act(both).await.expect("taken");
    // This one could, but its state is gone.
    let alone = hidden(&world, contract, &[&[(signer("ida"), 4)]]).await;
    l1.link.act(alone).await.expect("taken");
    l1.link.mine(10).await.expect("mined");

    let faults = Faults { no_archive: Some(3), ..without_traces() };
    let (indexer, _proxy) = start_behind(&world, faults).await;
    indexer.caught_up(&world).await;
    let unattributed = |blocks: u64| (wire::CreditMethod::Unattributed, vec![], total(blocks));
    assert_eq!(listed(&indexer).await, [unattributed(1), unattributed(2), unattributed(4)]);
    indexer.stop().await.expect("it stops");
}
