//! The whole system dies by SIGKILL in the middle of a lock. Afterwards there is exactly one lock on chain, and what
//! the dead processes wrote tells no secret.

mod canary;

use alloy_primitives::U256;
use anyhow::{Context, Result};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{IncreaseParameters, Operation, OperationState};
use chain::abi::LockingPool;
use domain::amount::Metis;
use testkit::contracts::L1;
use testkit::wait_for;

use crate::process::Seqd;
use crate::stage::{
    self, Candidate, SEEN_MAX, Stage, candidate, is_known, lock, locks_of, mine_every_second, mine_no_more,
    operation, sent_by, until_state,
};
use canary::Canary;

const LOCK: u64 = 20_000;
const INCREASE: u64 = 1_000;
/// More than anybody logs: what is not written here is written nowhere.
const LOGGED: &str = "trace";
/// A lock is two transactions: the approval, and the lock itself.
const STEPS: [&str; 2] = ["approve", "lock"];
/// Blocks after which the random kills fall: during checks, signature, broadcast, receipt and confirmation.
const KILLS_AFTER_BLOCKS: [u64; 5] = [0, 1, 2, 3, 5];

/// Waits until the step stands still behind its signature, and gives its hash.
async fn stuck(stage: &Stage, id: &str, place: usize, sent: bool) -> String {
    let step = STEPS[place];
    let what = format!("{step} is signed and {}", if sent { "sent" } else { "not sent" });
    wait_for(&what, SEEN_MAX, || async {
        let Operation { transactions, .. } = operation(&stage.clients, id).await?;
        let transaction = transactions.get(place).filter(|one| one.step == step && one.state == "SIGNED")?;
        let known = is_known(stage.world.simulator().l1(), &transaction.hash).await.ok()?;
        (known == sent).then(|| transaction.hash.clone())
    })
    .await
}

/// Waits until a transaction is in the pool: what was signed before the kill is sent after it.
async fn until_pooled(l1: &L1, hash: &str) {
    wait_for("it is sent", SEEN_MAX, || async { is_known(l1, hash).await.ok()?.then_some(()) }).await;
}

async fn locked_once(stage: &Stage, candidate: &Candidate, id: &str, hashes: &[String]) -> Result<()> {
    let done = until_state(&stage.clients, id, OperationState::Confirmed).await;
    let sent: Vec<&String> = done.transactions.iter().map(|one| &one.hash).collect();
    assert_eq!(sent, hashes.iter().collect::<Vec<_>>(), "what was signed before the kill is what was mined");
    one_lock(stage, candidate, LOCK, STEPS.len()).await
}

/// One lock of so many METIS on chain, and no transaction of the owner beside those counted.
async fn one_lock(stage: &Stage, candidate: &Candidate, metis: u64, sent: usize) -> Result<()> {
    let l1 = stage.world.simulator().l1();
    let owner = candidate.accounts.owner;
    assert_eq!(sent_by(l1, owner).await?, u64::try_from(sent)?, "transactions of the owner");
    assert_eq!(locks_of(l1, candidate.accounts.signer).await?, 1, "Locked logs");
    let ids = l1.link.view(l1.locking_pool, &LockingPool::totalSequencersCall {}).await?;
    assert_eq!(ids, U256::ONE, "ids that the pool has given out");
    let id = l1.sequencer_of(owner).await?.context("the owner has a sequencer")?;
    let record = l1.record(id).await?.context("the record")?;
    assert_eq!(record.amount, Metis::whole(metis));
    Ok(())
}

async fn killed_at(failpoint: &str, sent: bool) -> Result<()> {
    let stage = Stage::set().await?;
    // The send stands still there, so that the signal cannot come too late.
    let settings = [(failpoint, "pause"), ("telemetry.log_filter", LOGGED)];
    let mut seqd = stage.seqd(&settings).await?;
    let canary = Canary::plant(&stage).await?;
    let candidate = candidate(&stage.world, &stage.clients, "alpha").await?;
    let l1 = stage.world.simulator().l1();
    // What is sent stays in the pool until the kill, however slow the machine is.
    mine_no_more(l1).await?;
    let asked = stage::ask(&stage.clients, lock(&candidate.id, LOCK)).await?;
    let mut hashes: Vec<String> = Vec::new();
    for place in 0..STEPS.len() {
        if place > 0 {
            until_pooled(l1, &hashes[place - 1]).await;
            l1.link.mine(1).await?;
        }
        hashes.push(stuck(&stage, &asked.id, place, sent).await);
        canary.listen(&seqd).await?;
        seqd.kill()?;
        seqd = stage.seqd(&settings).await?;
    }
    mine_every_second(l1).await?;
    locked_once(&stage, &candidate, &asked.id, &hashes).await?;
    canary.listen(&seqd).await?;
    seqd.kill()?;
    canary.is_silent(&stage)?;
    stage.strike().await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_signing_and_broadcast_it_locks_once_and_tells_no_secret() -> Result<()> {
    killed_at("lifecycle.failpoints.after_store_before_broadcast", false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_broadcast_and_receipt_it_locks_once_and_tells_no_secret() -> Result<()> {
    killed_at("lifecycle.failpoints.after_broadcast_before_record", true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_block_it_does_everything_once() -> Result<()> {
    let stage = Stage::set().await?;
    let mut seqd = stage.seqd(&[]).await?;
    let candidate = candidate(&stage.world, &stage.clients, "alpha").await?;
    let mut asked = stage::ask(&stage.clients, lock(&candidate.id, LOCK)).await?;
    let (mut metis, mut sent) = (LOCK, STEPS.len());
    for blocks in KILLS_AFTER_BLOCKS {
        seqd = killed_after(&stage, seqd, blocks).await?;
        until_state(&stage.clients, &asked.id, OperationState::Confirmed).await;
        one_lock(&stage, &candidate, metis, sent).await?;
        let amount_wei = Metis::whole(INCREASE).wei_string();
        let increase = Parameters::Increase(IncreaseParameters { amount_wei, with_rewards: false });
        asked = stage::ask(&stage.clients, stage::managed(&candidate.id, increase)).await?;
        // An approval and an increase.
        (metis, sent) = (metis + INCREASE, sent + 2);
    }
    until_state(&stage.clients, &asked.id, OperationState::Confirmed).await;
    one_lock(&stage, &candidate, metis, sent).await?;
    drop(seqd);
    stage.strike().await
}

/// Kills so many blocks from now, and starts again.
async fn killed_after(stage: &Stage, seqd: Seqd, blocks: u64) -> Result<Seqd> {
    let l1 = stage.world.simulator().l1();
    let last = l1.link.head().await?.number + blocks;
    wait_for("the block of the kill", SEEN_MAX, || async {
        (l1.link.head().await.ok()?.number >= last).then_some(())
    })
    .await;
    seqd.kill()?;
    stage.seqd(&[]).await
}
