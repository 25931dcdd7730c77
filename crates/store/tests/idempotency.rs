use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::{
    idempotency::{self, Begun},
    in_transaction, statement,
};

use crate::{Error, SCHEMA, effect, effects};

/// One request: its effect has a fresh name each time, and its answer is that name.
async fn handle(
    db: &DatabaseConnection,
    id: &str,
    body: &[u8],
    effects_made: &AtomicU32,
) -> Result<Begun, Error> {
    in_transaction(db, |tx| {
        Box::pin(async move {
            let begun = idempotency::begin(&tx, SCHEMA, id, "Create", body).await?;
            if begun != Begun::New {
                return Ok(begun);
            }
            let name = format!("effect {}", effects_made.fetch_add(1, Ordering::Relaxed));
            effect(&tx, &name).await?;
            idempotency::finish(&tx, SCHEMA, id, "Create", name.as_bytes()).await?;
            Ok(Begun::Replay(name.into_bytes()))
        })
    })
    .await
}

#[tokio::test]
async fn same_request_twice_has_one_effect_and_one_answer() {
    let test = testkit::database().await;
    let (db, made) = (test.connect(SCHEMA).await, AtomicU32::new(0));
    let first = handle(&db, "id", b"body", &made).await.expect("done");
    let second = handle(&db, "id", b"body", &made).await.expect("done");
    assert_eq!(first, second);
    assert_eq!(handle(&db, "id", b"other", &made).await.expect("done"), Begun::Reused);
    assert_eq!(effects(&db).await, ["effect 0"]);
}

#[tokio::test]
async fn twins_at_the_same_time_have_one_effect() {
    let test = testkit::database().await;
    let (db, made) = (test.connect(SCHEMA).await, std::sync::Arc::new(AtomicU32::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (db, made) = (db.clone(), made.clone());
        tasks.spawn(async move { handle(&db, "id", b"body", &made).await.expect("done") });
    }
    let answers = tasks.join_all().await;
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(effects(&db).await.len(), 1);
}

#[tokio::test]
async fn request_that_failed_can_be_made_again() {
    let test = testkit::database().await;
    let (db, made) = (test.connect(SCHEMA).await, AtomicU32::new(0));
    let failed: Result<(), Error> = in_transaction(&db, |tx| {
        Box::pin(async move {
            assert_eq!(idempotency::begin(&tx, SCHEMA, "id", "Create", b"body").await?, Begun::New);
            Err(Error::Refused)
        })
    })
    .await;
    failed.expect_err("refused");
    handle(&db, "id", b"body", &made).await.expect("done");
    assert_eq!(effects(&db).await, ["effect 0"]);
}

#[tokio::test]
async fn only_old_requests_are_forgotten_and_only_so_many_at_once() {
    let test = testkit::database().await;
    let (db, made) = (test.connect(SCHEMA).await, AtomicU32::new(0));
    for id in ["a", "b", "c"] {
        handle(&db, id, b"body", &made).await.expect("done");
    }
    let hour = Duration::from_secs(3_600);
    assert_eq!(idempotency::forget(&db, SCHEMA, hour, 10).await.expect("asked"), 0);
    let sql =
        "UPDATE indexer.request SET created_at = created_at - interval '2 hours' WHERE method = 'Create'";
    db.execute_raw(statement(sql, [])).await.expect("aged");
    assert_eq!(idempotency::forget(&db, SCHEMA, hour, 2).await.expect("asked"), 2);
    assert_eq!(idempotency::forget(&db, SCHEMA, hour, 2).await.expect("asked"), 1);
}
