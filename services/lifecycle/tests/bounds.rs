//! What a transaction in the pools may cost, and how urgent it is: at a bound it says so.

use api::lifecycle::v1::*;
use domain::amount::Metis;
use lifecycle::{Config, Fees};
use prost_types::Timestamp;
use serde_json::{Value, json};
use testkit::proxy::Faults;
use testkit::{wait_for, wait_until};
use time::OffsetDateTime;

use crate::lanes::{blocks_by_themselves, lock_in_the_pool, tip, until_sent, until_waits};
use crate::world::{
    DEADLINE, World, address, handed_to, lock, managed, owner_name, quick, saying, several_looks,
};

const GWEI: u128 = 1_000_000_000;
/// Seconds in which something becomes urgent.
const URGENT_AFTER: u64 = 36_000;

/// Nothing is replaced for having waited.
fn patient() -> Config {
    Config { replace_after_blocks: 1_000, ..quick() }
}

fn max_fee(one: &Transaction) -> u64 {
    one.unsigned.as_ref().unwrap().max_fee_per_gas_wei.parse().unwrap()
}

async fn speed_up(world: &mut World, id: &str) {
    let request = SpeedUpOperationRequest { id: id.to_owned() };
    world.client.speed_up_operation(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_bound_what_is_in_the_pools_says_why_it_is_not_replaced() {
    let mut world = World::with(patient()).await;
    let (operation, first) = lock_in_the_pool(&mut world).await;
    let ceiling = max_fee(&first);
    let at_ceiling = Fees { max_fee_per_gas_wei: ceiling, ..Fees::default() };
    let spent = Fees { budget_per_day_wei: Some(1), ..Fees::default() };
    let bounds = [
        (at_ceiling, "FEE_ABOVE_CEILING", format!("at most {ceiling} are allowed")),
        (spent, "FEE_BUDGET_SPENT", "0.000000000000000001 ETH".to_owned()),
    ];
    for (fees, code, numbers) in bounds {
        world.restart(Config { fees, ..patient() }).await;
        speed_up(&mut world, &operation.id).await;
        let waits = until_waits(&world, &operation.id, code).await;
        assert_eq!(waits.state(), OperationState::Broadcast);
        assert!(waits.reason.contains(&numbers), "{}", waits.reason);
        assert!(waits.terms.unwrap().waits.contains("goes on by itself when"), "it says what ends it");
        assert_eq!(waits.transactions[0].hash, first.hash, "nothing was signed");
    }
    world.restart(patient()).await;
    speed_up(&mut world, &operation.id).await;
    wait_until("it is replaced", DEADLINE, || async {
        let one = world.operation(&operation.id).await.transactions[0].clone();
        one.state == "BROADCAST" && one.hash != first.hash
    })
    .await;
    blocks_by_themselves(&world, true).await;
    let done = world.until_state(&operation.id, OperationState::Confirmed).await;
    assert_eq!(done.reason_code, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pays_too_little_at_the_ceiling_is_not_sent_again_at_every_look() {
    let (mut world, pools) = World::behind(patient(), 1).await;
    let sequencer = world.whitelisted("alpha").await;
    world.l1.approve(address(&owner_name("alpha")), Metis::whole(20_000)).await.unwrap();
    pools[0].set(saying("transaction underpriced"));
    // As much as is needed now, and less than an eighth more.
    let base: u64 = world.l1.link.head().await.unwrap().base_fee_per_gas.unwrap().to();
    let fees = Fees { max_fee_per_gas_wei: base + 200_000_000, ..Fees::default() };
    world.restart(Config { fees, ..patient() }).await;
    let operation = world.ask(&sequencer.id, lock(20_000)).await;
    let waits = until_waits(&world, &operation.id, "FEE_ABOVE_CEILING").await;
    assert!(waits.reason.contains("pays too little, and may pay no more"), "{}", waits.reason);
    let before = handed_to(&pools[0]);
    several_looks(&pools[0]).await;
    let later = world.operation(&operation.id).await;
    assert_eq!((handed_to(&pools[0]), later.steps.len()), (before, waits.steps.len()), "it waits for blocks");
    pools[0].set(Faults::default());
    world.restart(quick()).await;
    world.until_state(&operation.id, OperationState::Confirmed).await;
}

/// Ten blocks in which seven of ten paid 1 gwei and three 4 gwei.
async fn make_a_market(world: &World) {
    let accounts: Vec<String> = world.l1.link.rpc("eth_accounts", json!([])).await.unwrap();
    blocks_by_themselves(world, false).await;
    for _ in 0..10 {
        for (place, account) in accounts.iter().enumerate().take(10) {
            let tip = if place < 7 { GWEI } else { 4 * GWEI };
            let transfer = json!({
                "from": account, "to": account, "value": "0x0",
                "maxPriorityFeePerGas": format!("{tip:#x}"), "maxFeePerGas": format!("{:#x}", 100 * GWEI),
            });
            let _: Value = world.l1.link.rpc("eth_sendTransaction", json!([transfer])).await.unwrap();
        }
        world.l1.link.mine(1).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn age_and_deadline_raise_the_tip_beyond_what_a_replacement_must_add() {
    let fees = Fees { urgent_after_secs: URGENT_AFTER, ..Fees::default() };
    let (mut world, pools) = World::behind(Config { fees, ..quick() }, 1).await;
    let (alpha, beta) = (world.whitelisted("alpha").await, world.whitelisted("beta").await);
    for name in ["alpha", "beta"] {
        world.l1.approve(address(&owner_name(name)), Metis::whole(20_000)).await.unwrap();
    }
    make_a_market(&world).await;
    // What is sent never comes into a block.
    pools[0].set(saying("already known"));
    let old = world.ask(&alpha.id, lock(20_000)).await;
    let calm = tip(&until_sent(&world, &old.id).await);
    let seconds = OffsetDateTime::now_utc().unix_timestamp() + 600;
    let terms = TermsAsked { deadline: Some(Timestamp { seconds, nanos: 0 }), ..TermsAsked::default() };
    let request = CreateOperationRequest { terms: Some(terms), ..managed(&beta.id, lock(20_000)) };
    let near = world.client.create_operation(request).await.unwrap().into_inner().operation.unwrap();
    let urgent = tip(&until_sent(&world, &near.id).await);
    assert!((GWEI..2 * GWEI).contains(&calm), "{calm}: as the lower percentile");
    assert!(urgent > 3 * GWEI && urgent <= 4 * GWEI, "{urgent}: ten minutes of ten hours are left");
    world.clock().advance(i64::try_from(URGENT_AFTER).unwrap());
    world.l1.link.mine(3).await.unwrap();
    let aged = wait_for("it is replaced", DEADLINE, || async {
        let one = world.operation(&old.id).await.transactions[0].clone();
        Some(tip(&one)).filter(|tip| *tip > calm)
    })
    .await;
    assert!(aged > 3 * GWEI, "{aged}: an eighth more than {calm} would not do");
}
