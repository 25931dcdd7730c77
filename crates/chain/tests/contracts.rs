//! Calldata, events and views against our contracts on a real node.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use chain::abi::LockingPool;
use chain::calldata::{self, RewardBatch};
use chain::event::{ChainEvent, Decoded, Source, decode_log};
use chain::rpc::{Ask, BlockId, CallRequest, Log, LogFilter, call};
use chain::verify::{self, Mismatch, VerifyError};
use chain::{revert, views};
use domain::amount::{Eth, Metis};
use domain::ids::{BatchId, Height, SequencerId};
use domain::network::{L1Spec, L2Spec, NetworkSpec, Variant};
use domain::preflight::{SignerUse, Status};
use domain::revert::Revert;
use serde_json::json;

use crate::world::{CHAIN, L2_CHAIN, RPB, WEI_PER_L2_GAS, World, account, node_keys};

const ID: SequencerId = SequencerId(1);

fn events(world: &World, logs: &[Log]) -> Vec<ChainEvent> {
    let source_of = |address: Address| match address {
        address if address == world.pool => Some(Source::PoolProxy),
        address if address == world.info => Some(Source::InfoProxy),
        address if address == world.token => Some(Source::Metis),
        _ => None,
    };
    let known = logs.iter().filter_map(|log| Some((source_of(log.address)?, log)));
    known
        .filter_map(|(source, log)| match decode_log(source, log) {
            Decoded::Event(event) => Some(event),
            // METIS emits approvals, which we do not follow.
            Decoded::Unknown { .. } if source == Source::Metis => None,
            other => unreachable!("{source} emitted {other:?}"),
        })
        .collect()
}

fn names(world: &World, logs: &[Log]) -> Vec<&'static str> {
    events(world, logs).iter().map(ChainEvent::name).collect()
}

async fn ask<A: Ask>(world: &World, question: A) -> A::Answer {
    world.chain.ask(question).await.expect("anvil answers")
}

/// Approves and locks; the logs of the lock.
async fn lock(world: &World, owner: Address) -> Vec<Log> {
    let [key, _] = node_keys();
    let amount = Metis::whole(20_000);
    world.sends(owner, world.token, calldata::approve(world.info, amount), U256::ZERO).await;
    let lock = calldata::lock(&key, account("recipient"), amount);
    world.sends(owner, world.pool, lock, U256::ZERO).await.logs
}

async fn pay_batch(world: &World, signer: Address, blocks: u64) -> chain::rpc::Receipt {
    let batch = ask(world, views::batch_state(world.pool, BlockId::Latest)).await;
    let call = LockingPool::batchSubmitRewardsCall {
        batchId: U256::from(batch.id.0 + 1),
        startEpoch: U256::from(batch.end_epoch.0 + 1),
        endEpoch: U256::from(batch.end_epoch.0 + 2),
        seqs: vec![signer],
        blocks: vec![U256::from(blocks)],
    };
    world.does(world.mpc, world.pool, &call).await
}

#[tokio::test]
async fn a_life_is_told_by_its_events_and_agrees_with_the_views() {
    let world = World::start("LockingPool").await;
    let owner = world.owner("owner").await;
    let [key, next_key] = node_keys();

    let locked = lock(&world, owner).await;
    assert_eq!(
        names(&world, &locked),
        ["Transfer", "Locked", "SequencerOwnerChanged", "SequencerRewardRecipientChanged"]
    );
    let told = events(&world, &locked);
    assert_eq!((told[1].seq_id(), told[1].signer()), (Some(ID), Some(key.address())));
    assert_eq!(told[2].owner(), Some(owner));

    let paid = pay_batch(&world, key.address(), 1_000).await;
    assert_eq!(names(&world, &paid.logs), ["Transfer", "BatchSubmitReward", "DistributeReward"]);

    let rotate = calldata::rotate_signer(ID, &next_key);
    world.fund(key.address()).await;
    let rotated = world.sends(key.address(), world.pool, rotate, U256::ZERO).await;
    assert_eq!(names(&world, &rotated.logs), ["SignerChange"]);

    let at = BlockId::Hash(world.head().await.hash);
    let (record, by_owner, old, new, counts) = ask(
        &world,
        (
            views::sequencer(world.pool, ID, at),
            views::seq_of_owner(world.pool, owner, at),
            views::signer_use(world.pool, key.address(), at),
            views::signer_use(world.pool, next_key.address(), at),
            views::status_counts(world.pool, at),
        ),
    )
    .await;
    let record = record.expect("it was locked");
    assert_eq!(record.amount, Metis::whole(20_000));
    assert_eq!(record.reward, Metis::wei(1_000 * RPB));
    assert_eq!((record.owner, record.signer), (owner, next_key.address()));
    assert_eq!(record.pubkey[..], next_key.bytes64());
    assert_eq!(record.reward_recipient, Some(account("recipient")));
    assert_eq!((record.status, record.updated_batch), (Status::Active, BatchId(2)));
    assert_eq!((by_owner, old, new), (Some(ID), SignerUse::Burnt, SignerUse::Of(ID)));
    assert_eq!((counts.inactive, counts.active, counts.unlocked), (0, 1, 0));
    assert_eq!(ask(&world, views::sequencer(world.pool, SequencerId(2), at)).await, None);
}

#[tokio::test]
async fn parameters_and_totals_are_read_together() {
    let world = World::start("LockingPool").await;
    let owner = world.owner("owner").await;
    lock(&world, owner).await;
    let at = BlockId::Hash(world.head().await.hash);

    let questions = (
        views::pool_parameters(world.pool, at),
        views::escrow_parameters(world.info, at),
        views::token_balance(world.token, owner, at),
        views::token_allowance(world.token, owner, world.info, at),
        views::whitelisted(world.pool, owner, at),
        views::implementation(world.pool, at),
    );
    let (pool, escrow, balance, allowance, whitelisted, implementation) = ask(&world, questions).await;

    assert_eq!((pool.escrow, pool.owner, pool.mpc), (world.info, world.deployer, world.mpc));
    assert_eq!((pool.reward_per_block, pool.exit_delay_secs), (Metis::wei(RPB), 21 * 86_400));
    assert_eq!((pool.total_sequencers, pool.batch.id, pool.paused), (ID, BatchId(1), false));
    assert_eq!((escrow.manager, escrow.bridge, escrow.l1_token), (world.pool, world.bridge, world.token));
    assert_eq!((escrow.min_lock, escrow.max_lock), (Metis::whole(20_000), Metis::whole(100_000)));
    assert_eq!((escrow.total_locked, escrow.l2_chain_id), (Metis::whole(20_000), L2_CHAIN));
    assert_eq!((balance, allowance, whitelisted), (Metis::whole(180_000), Metis::ZERO, true));
    assert_eq!(implementation, world.pool_implementation);
}

#[tokio::test]
async fn a_claim_that_pays_the_quoted_fee_reaches_the_bridge() {
    let world = World::start("LockingPool").await;
    let owner = world.owner("owner").await;
    lock(&world, owner).await;
    pay_batch(&world, node_keys()[0].address(), 10).await;

    let oracle = views::fee_oracle(&world.chain, world.bridge, BlockId::Latest).await.expect("an oracle");
    let fee = domain::fee::quote(0, oracle, Metis::wei(10 * RPB)).expect("a price");
    assert_eq!(fee, Eth::wei(200_000 * WEI_PER_L2_GAS));
    let claim = calldata::claim(ID, 0);
    let short = CallRequest {
        from: Some(owner),
        to: world.pool,
        input: claim.clone(),
        value: fee.0 - U256::from(1),
        ..Default::default()
    };
    let refused =
        ask(&world, call::call(&short, BlockId::Latest).attempt()).await.expect_err("a wei is missing");
    assert_eq!(revert::of_node(&refused), Some(Revert::BridgeFee { required: fee }));

    let claimed = world.sends(owner, world.pool, claim, fee.0).await;
    assert_eq!(names(&world, &claimed.logs).last(), Some(&"ClaimRewards"));
}

#[tokio::test]
async fn a_reward_batch_is_found_in_its_transaction_and_in_its_trace() {
    let world = World::start("LockingPool").await;
    let owner = world.owner("owner").await;
    lock(&world, owner).await;
    let signer = node_keys()[0].address();
    let paid = pay_batch(&world, signer, 77).await;

    let questions =
        (call::transaction(paid.transaction_hash), call::trace_transaction(paid.transaction_hash));
    let (transaction, trace) = ask(&world, questions).await;

    let batch = RewardBatch::decode(&transaction.expect("it was mined").input).expect("calldata of a batch");
    assert_eq!((&batch.signers[..], &batch.blocks[..]), (&[signer][..], &[U256::from(77)][..]));
    // The proxy's delegate call to its implementation must not count as a second batch.
    assert_eq!(RewardBatch::all_in(&trace, world.pool), [batch]);
}

#[tokio::test]
async fn logs_are_the_same_by_range_and_by_block() {
    let world = World::start("LockingPool").await;
    let owner = world.owner("owner").await;
    lock(&world, owner).await;
    let head = world.head().await;
    let filter = LogFilter { addresses: vec![world.info, world.pool], topics: vec![] };

    let all = ask(&world, call::logs_of_range(0, head.number, &filter)).await;
    let by_block = ask(&world, call::logs_of_block(head.hash, &filter)).await;

    assert_eq!(all[all.len() - by_block.len()..], by_block);
    let first: Vec<&str> = names(&world, &all).into_iter().take(4).collect();
    assert_eq!(first, ["Upgraded", "OwnershipTransferred", "Initialized", "AdminChanged"]);
}

#[tokio::test]
async fn an_event_survives_its_json() {
    let world = World::start("LockingPool").await;
    let owner = world.owner("owner").await;
    for event in events(&world, &lock(&world, owner).await) {
        let args = event.args();
        assert!(args.as_object().expect("an object").values().all(|value| !value.is_number()), "{args}");
        assert_eq!(ChainEvent::from_parts(event.name(), args).expect("what we wrote"), event);
    }
}

#[tokio::test]
async fn a_refused_call_tells_the_contracts_reason() {
    let world = World::start("LockingPool").await;
    let stranger = CallRequest {
        from: Some(account("stranger")),
        to: world.pool,
        input: calldata::withdraw(ID, Metis::wei(1)),
        ..Default::default()
    };
    let error = world.chain.ask(call::call(&stranger, BlockId::Latest)).await.expect_err("not whitelisted");
    assert_eq!(revert::of(&error), Some(Revert::NotWhitelisted));
    let error = world.chain.ask(call::estimate_gas(&stranger)).await.expect_err("not whitelisted");
    assert_eq!(revert::of(&error), Some(Revert::NotWhitelisted));
}

#[tokio::test]
async fn an_estimate_knows_nothing_of_what_waits_in_a_pool() {
    let world = World::start("LockingPool").await;
    let stranger = account("stranger");
    let call = CallRequest {
        from: Some(stranger),
        to: world.pool,
        input: calldata::withdraw(ID, Metis::wei(1)),
        ..Default::default()
    };
    world.anvil.rpc("evm_setAutomine", json!([false])).await.expect("blocks stop");
    let admit = LockingPool::setWhitelistCall { addr: stranger, yes: true }.abi_encode();
    let waits = json!([{ "from": world.deployer, "to": world.pool, "data": Bytes::from(admit) }]);
    world.anvil.rpc("eth_sendTransaction", waits).await.expect("in the pool");
    let error = world.chain.ask(call::estimate_gas(&call)).await.expect_err("not yet whitelisted");
    assert_eq!(revert::of(&error), Some(Revert::NotWhitelisted));
}

fn spec(world: &World) -> NetworkSpec {
    NetworkSpec {
        name: "devnet".parse().expect("a name"),
        l1: L1Spec {
            chain_id: CHAIN,
            locking_pool: world.pool,
            locking_info: world.info,
            metis: world.token,
            bridge: world.bridge,
            start_block: Height(0),
            confirmations: 1,
        },
        l2: Some(L2Spec { chain_id: L2_CHAIN, sequencer_set: Address::ZERO, start_block: Height(0) }),
    }
}

async fn mismatches(world: &World, spec: &NetworkSpec) -> Vec<Mismatch> {
    match verify::l1(spec, &world.chain).await.expect_err("the configuration is wrong") {
        VerifyError::Mismatched { mismatches, .. } => mismatches,
        other => unreachable!("the chain answers: {other:?}"),
    }
}

#[tokio::test]
async fn contracts_are_verified_and_each_mismatch_is_named() {
    let world = World::start("LockingPool").await;
    let right = spec(&world);
    let verified = verify::l1(&right, &world.chain).await.expect("all is as configured");
    assert_eq!(verified.pool_implementation, world.pool_implementation);
    assert_eq!(verified.variant, Variant::Unknown);

    let mut wrong = right.clone();
    wrong.l1.metis = world.bridge;
    wrong.l2 = Some(L2Spec { chain_id: 1, sequencer_set: Address::ZERO, start_block: Height(0) });
    assert_eq!(
        mismatches(&world, &wrong).await,
        [
            Mismatch::Address {
                question: "LockingInfo.l1Token()",
                expected: world.bridge,
                found: world.token
            },
            Mismatch::L2Chain { expected: 1, found: L2_CHAIN },
        ]
    );

    let mut absent = right.clone();
    absent.l1.locking_pool = account("nobody");
    let expected = Mismatch::NoCode { contract: "LockingPool", address: account("nobody") };
    assert_eq!(mismatches(&world, &absent).await, [expected]);

    let mut elsewhere = right;
    elsewhere.l1.chain_id = 1;
    assert_eq!(mismatches(&world, &elsewhere).await, [Mismatch::Chain { expected: 1, found: CHAIN }]);
}
