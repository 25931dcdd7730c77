use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::{in_transaction, statement};
use tokio::sync::Barrier;

use crate::{Error, effect, effects};

#[tokio::test]
async fn work_is_there_whole_or_not_at_all() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let borrowed = ["a".to_owned(), "b".to_owned()];
    let names = &borrowed;
    let done: Result<usize, Error> = in_transaction(&db, |tx| {
        Box::pin(async move {
            for name in names {
                effect(&tx, name).await?;
            }
            Ok(names.len())
        })
    })
    .await;
    assert_eq!(done.expect("committed"), 2);
    let refused: Result<(), Error> = in_transaction(&db, |tx| {
        Box::pin(async move {
            effect(&tx, "c").await?;
            Err(Error::Refused)
        })
    })
    .await;
    assert!(matches!(refused, Err(Error::Refused)));
    assert_eq!(effects(&db).await, ["a", "b"]);
}

/// Locks two rows in the given order, meeting the other side in between.
async fn cross(
    db: &DatabaseConnection,
    rows: [&'static str; 2],
    meet: Arc<Barrier>,
    runs: &AtomicU32,
) -> Result<(), Error> {
    let meet = &meet;
    in_transaction(db, |tx| {
        Box::pin(async move {
            let first = runs.fetch_add(1, Ordering::Relaxed) < 2;
            for (place, row) in rows.into_iter().enumerate() {
                let sql = "UPDATE indexer.request SET response = 'x' WHERE request_id = $1";
                tx.execute_raw(statement(sql, [row.into()])).await?;
                if first && place == 0 {
                    meet.wait().await;
                }
            }
            Ok(())
        })
    })
    .await
}

#[tokio::test]
async fn the_victim_of_a_deadlock_tries_again() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    effect(&db, "a").await.expect("row");
    effect(&db, "b").await.expect("row");
    let (meet, runs) = (Arc::new(Barrier::new(2)), AtomicU32::new(0));
    let (one, other) = tokio::join!(
        cross(&db, ["a", "b"], Arc::clone(&meet), &runs),
        cross(&db, ["b", "a"], Arc::clone(&meet), &runs)
    );
    one.expect("committed");
    other.expect("committed");
    assert_eq!(runs.load(Ordering::Relaxed), 3, "one of the two ran twice");
}

#[tokio::test]
async fn conflicts_without_end_are_given_up_after_bounded_attempts() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let runs = AtomicU32::new(0);
    let counter = &runs;
    let result: Result<(), Error> = in_transaction(&db, |tx| {
        Box::pin(async move {
            counter.fetch_add(1, Ordering::Relaxed);
            tx.execute_unprepared("DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$")
                .await?;
            Ok(())
        })
    })
    .await;
    assert!(store::transaction::is_conflict(&result.expect_err("still a conflict")));
    assert_eq!(runs.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_lost_connection_is_not_tried_again() {
    let test = testkit::database().await;
    let (db, admin) = (test.connect("indexer").await, test.admin().await);
    let runs = AtomicU32::new(0);
    let (counter, admin) = (&runs, &admin);
    let result: Result<(), Error> = in_transaction(&db, |tx| {
        Box::pin(async move {
            counter.fetch_add(1, Ordering::Relaxed);
            let row = tx
                .query_one_raw(statement("SELECT pg_backend_pid() AS pid", []))
                .await?
                .ok_or(Error::Refused)?;
            let pid: i32 = row.try_get("", "pid")?;
            admin.execute_raw(statement("SELECT pg_terminate_backend($1, 5000)", [pid.into()])).await?;
            effect(&tx, "a").await?;
            Ok(())
        })
    })
    .await;
    result.expect_err("the connection is gone");
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    testkit::wait_until("the pool has connected again", Duration::from_secs(10), || async {
        store::ping(&db).await.is_ok()
    })
    .await;
    assert!(effects(&db).await.is_empty());
}

#[tokio::test]
async fn transactions_can_be_made_in_spawned_tasks() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let name = String::from("a");
    let shared = db.clone();
    let task = tokio::spawn(async move {
        let name = &name;
        in_transaction(&shared, |tx| Box::pin(async move { effect(&tx, name).await.map_err(Error::from) }))
            .await
    });
    task.await.expect("no panic").expect("committed");
    assert_eq!(effects(&db).await, ["a"]);
}
