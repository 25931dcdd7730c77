use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use store::{
    Holder, in_transaction,
    lease::{self, Claim, FenceError, Lease},
    statement,
};
use testkit::{wait_for, wait_until};

use crate::{Error, SCHEMA, effect, effects};

const SOON: Duration = Duration::from_secs(10);

fn claim(holder: &Holder, ttl: Duration) -> Claim {
    Claim { schema: SCHEMA, name: "l1:devnet".to_owned(), holder: holder.clone(), ttl }
}

fn long(holder: &Holder) -> Claim {
    claim(holder, Duration::from_secs(600))
}

/// As if the time to live had passed, by the only clock that counts.
async fn expire(db: &DatabaseConnection) {
    let sql = "UPDATE indexer.lease SET expires_at = clock_timestamp() - interval '1 second'";
    db.execute_raw(statement(sql, [])).await.expect("expired");
}

async fn act(db: &DatabaseConnection, lease: Lease, name: &str) -> Result<(), Error> {
    in_transaction(db, |tx| {
        Box::pin(async move {
            lease::fence(&tx, SCHEMA, "l1:devnet", lease.epoch).await?;
            effect(&tx, name).await?;
            Ok(())
        })
    })
    .await
}

#[tokio::test]
async fn only_one_of_many_gets_the_lease() {
    let test = testkit::database().await;
    let db = test.connect(SCHEMA).await;
    let claims: Vec<Claim> = (0..8).map(|n| long(&Holder::new(&format!("holder {n}")))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for claim in claims.clone() {
        let db = db.clone();
        tasks.spawn(async move { lease::acquire(&db, &claim).await.expect("asked") });
    }
    let held: Vec<Lease> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(held, [Lease { epoch: 1 }]);
}

#[tokio::test]
async fn every_holding_has_a_new_epoch() {
    let [a_holder, b_holder] = ["a", "b"].map(Holder::new);
    let test = testkit::database().await;
    let db = test.connect(SCHEMA).await;
    let first = lease::acquire(&db, &long(&a_holder)).await.expect("asked").expect("free");
    assert_eq!(
        lease::acquire(&db, &long(&a_holder)).await.expect("asked"),
        None,
        "not even to the same holder"
    );
    lease::release(&db, &long(&a_holder), first).await.expect("released");
    let second = lease::acquire(&db, &long(&b_holder)).await.expect("asked").expect("released");
    expire(&db).await;
    let third = lease::acquire(&db, &long(&a_holder)).await.expect("asked").expect("expired");
    assert_eq!([first.epoch, second.epoch, third.epoch], [1, 2, 3]);
}

#[tokio::test]
async fn a_holder_that_was_stopped_writes_nothing_when_it_wakes_up() {
    let [old_holder, new_holder] = ["old", "new"].map(Holder::new);
    let test = testkit::database().await;
    let db = test.connect(SCHEMA).await;
    let old = lease::acquire(&db, &long(&old_holder)).await.expect("asked").expect("free");
    act(&db, old, "1 by old").await.expect("held");

    expire(&db).await;
    act(&db, old, "2 by old, late but alone").await.expect("nobody has taken over");
    let new = lease::acquire(&db, &long(&new_holder)).await.expect("asked").expect("expired");

    let late = act(&db, old, "3 by old").await.expect_err("fenced");
    assert!(matches!(late, Error::Fence(FenceError::Fenced { epoch: 1, .. })), "{late:?}");
    lease::release(&db, &long(&old_holder), old).await.expect("harmless");
    act(&db, new, "4 by new").await.expect("still held by the new one");
    assert_eq!(effects(&db).await, ["1 by old", "2 by old, late but alone", "4 by new"]);
}

#[tokio::test]
async fn a_holder_that_is_gone_is_not_waited_for() {
    let [killed, next] = ["killed", "next"].map(Holder::new);
    let test = testkit::database().await;
    let db = test.connect(SCHEMA).await;
    let old = lease::acquire(&db, &long(&killed)).await.expect("asked").expect("free");
    assert_eq!(lease::acquire(&db, &long(&next)).await.expect("asked"), None, "he is there");
    // The last clone takes the connection along, as the end of the process does.
    drop(killed);
    let new = wait_for("the next takes over, ten minutes before the lease ends", SOON, || async {
        lease::acquire(&db, &long(&next)).await.expect("asked")
    })
    .await;
    assert_eq!(new.epoch, 2);
    assert!(act(&db, old, "by a ghost").await.is_err(), "fenced as ever");
}

#[tokio::test]
async fn a_takeover_waits_for_the_effect_that_is_under_way() {
    let [old_holder, new_holder] = ["old", "new"].map(Holder::new);
    let test = testkit::database().await;
    let db = test.connect(SCHEMA).await;
    let old = lease::acquire(&db, &long(&old_holder)).await.expect("asked").expect("free");
    expire(&db).await;
    let tx = db.begin().await.expect("begun");
    lease::fence(&tx, SCHEMA, "l1:devnet", old.epoch).await.expect("held");
    effect(&tx, "by old").await.expect("written");

    let other = db.clone();
    let takeover = tokio::spawn(async move { lease::acquire(&other, &long(&new_holder)).await });
    wait_until("the takeover waits for the row", SOON, || async {
        let sql = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
        db.query_one_raw(statement(sql, [])).await.expect("asked").is_some()
    })
    .await;
    assert!(!takeover.is_finished());
    tx.commit().await.expect("committed");
    let new = takeover.await.expect("no panic").expect("asked").expect("expired");
    assert_eq!(new.epoch, 2);
    assert_eq!(effects(&db).await, ["by old"]);
}

#[tokio::test]
async fn work_is_held_for_longer_than_one_time_to_live() {
    let [a_holder, b_holder] = ["a", "b"].map(Holder::new);
    let test = testkit::database().await;
    let db = test.connect(SCHEMA).await;
    let short = claim(&a_holder, Duration::from_millis(600));
    let work = async |lease: Lease| {
        let first = expiry(&db).await;
        wait_until("the lease was renewed twice beyond its first end", SOON, || async {
            expiry(&db).await > first + 1.2
        })
        .await;
        act(&db, lease, "by a").await
    };
    let done = lease::while_held(&db, &short, work).await.expect("asked");
    done.expect("never lost").expect("fenced effect");
    assert!(lease::acquire(&db, &long(&b_holder)).await.expect("asked").is_some(), "given back at the end");
}

#[tokio::test]
async fn work_is_dropped_when_the_lease_is_lost() {
    let [a_holder, b_holder] = ["a", "b"].map(Holder::new);
    let test = testkit::database().await;
    let db = test.connect(SCHEMA).await;
    let short = claim(&a_holder, Duration::from_millis(300));
    let work = async |_: Lease| {
        wait_for("another takes over", SOON, || async {
            expire(&db).await;
            lease::acquire(&db, &long(&b_holder)).await.expect("asked")
        })
        .await;
        std::future::pending::<()>().await;
    };
    let done = tokio::time::timeout(SOON, lease::while_held(&db, &short, work)).await.expect("ends");
    assert_eq!(done.expect("asked"), None);
}

#[tokio::test]
async fn one_lease_that_is_worked_under_keeps_no_other_from_its_renewal() {
    let holder = Holder::new("a");
    let test = testkit::database().await;
    let db = test.connect(SCHEMA).await;
    let named = |name: String| Claim { name, ..claim(&holder, Duration::from_millis(600)) };
    let names: Vec<String> = (0..50).map(|number| format!("lane/{number:02}")).collect();
    let idle = names.iter().map(|name| {
        let (db, claim) = (db.clone(), named(name.clone()));
        tokio::spawn(async move { lease::while_held(&db, &claim, |_| std::future::pending::<()>()).await })
    });
    let idle: Vec<_> = idle.collect();
    wait_until("all are held", SOON, || async { expiries(&db).await.len() == names.len() }).await;
    let before = expiries(&db).await;
    let tx = db.begin().await.expect("begun");
    lease::fence(&tx, SCHEMA, "lane/07", 1).await.expect("held");
    let locked = expiries(&db).await[7];
    wait_until("all others were renewed twice beyond their end", SOON, || async {
        let now = expiries(&db).await;
        now.iter().zip(&before).enumerate().all(|(place, (now, then))| place == 7 || *now > then + 1.2)
    })
    .await;
    assert!((expiries(&db).await[7] - locked).abs() < f64::EPSILON, "its row is locked");
    tx.commit().await.expect("committed");
    wait_until("it is renewed again", SOON, || async { expiries(&db).await[7] > locked }).await;
    assert!(idle.iter().all(|task| !task.is_finished()), "none was lost");
    idle.iter().for_each(tokio::task::JoinHandle::abort);
}

/// In the order of the names.
async fn expiries(db: &DatabaseConnection) -> Vec<f64> {
    let sql = "SELECT extract(epoch FROM expires_at)::float8 AS at FROM indexer.lease ORDER BY name";
    let rows = db.query_all_raw(statement(sql, [])).await.expect("asked");
    rows.iter().map(|row| row.try_get("", "at").expect("a number")).collect()
}

async fn expiry(db: &DatabaseConnection) -> f64 {
    let sql = "SELECT extract(epoch FROM expires_at)::float8 AS at FROM indexer.lease";
    let row = db.query_one_raw(statement(sql, [])).await.expect("asked").expect("row");
    row.try_get("", "at").expect("a number")
}
