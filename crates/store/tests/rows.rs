//! Rows in bulk: what is written is what is read.

use std::time::Duration;

use alloy_primitives::U256;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::bulk::Bulk;
use store::column::Wei;
use store::rows::Rows;
use store::statement;
use time::OffsetDateTime;
use time::macros::datetime;

/// Longer than anything here takes.
const IDLE_MAX: Duration = Duration::from_secs(30);

const TABLE: &str =
    "pg_temp.kinds (place, word, small, whole, yes, raw, at, amount, maybe_whole, maybe_raw, maybe_amount)";

#[derive(Debug, PartialEq, Eq, Clone, FromQueryResult)]
struct Kinds {
    place: i64,
    word: String,
    small: i16,
    whole: i32,
    yes: bool,
    raw: Vec<u8>,
    at: OffsetDateTime,
    amount: Wei,
    maybe_whole: Option<i64>,
    maybe_raw: Option<Vec<u8>>,
    maybe_amount: Option<Wei>,
}

fn kinds(place: i64, amount: U256, at: OffsetDateTime, maybe: bool) -> Kinds {
    Kinds {
        place,
        word: "Wörter, \"quoted\" {and} NULL".to_owned(),
        small: i16::MIN,
        whole: i32::MAX,
        yes: maybe,
        raw: vec![0, 255, 0],
        at,
        amount: Wei(amount),
        maybe_whole: maybe.then_some(i64::MIN),
        maybe_raw: maybe.then(Vec::new),
        maybe_amount: maybe.then_some(Wei(amount)),
    }
}

#[tokio::test]
async fn rows_of_every_kind_are_read_as_they_were_written() {
    let database = testkit::database().await;
    // Services may make no tables.
    let db = database.admin().await;
    let tx = Bulk::begin(&db, IDLE_MAX).await.expect("begun");
    tx.execute_unprepared(
        "CREATE TEMP TABLE kinds (place bigint, word text, small smallint, whole integer, yes boolean, raw bytea,
             at timestamptz, amount numeric(78, 0), maybe_whole bigint, maybe_raw bytea, maybe_amount numeric(78, 0))",
    )
    .await
    .expect("a table");
    let amounts = [
        U256::ZERO,
        U256::from(1),
        U256::from(9_999),
        U256::from(10_000),
        U256::from(10).pow(U256::from(18)),
        U256::from(10).pow(U256::from(77)),
        U256::MAX,
    ];
    let times = [
        datetime!(1970-01-01 0:00 UTC),
        datetime!(2026-11-22 18:00:00.000001 UTC),
        datetime!(9999-12-31 0:00 UTC),
    ];
    let written: Vec<Kinds> = (0..)
        .zip(amounts)
        .map(|(place, amount)| {
            kinds(place, amount, times[usize::try_from(place).expect("small") % 3], place % 2 == 1)
        })
        .collect();
    let mut rows = Rows::of(TABLE);
    for it in &written {
        let mut row = rows.row();
        row.bigint(it.place)
            .text(&it.word)
            .smallint(it.small)
            .integer(it.whole)
            .boolean(it.yes)
            .bytes(&it.raw);
        row.time(it.at).numeric(it.amount.0).maybe_bigint(it.maybe_whole).maybe_bytes(it.maybe_raw.as_ref());
        row.maybe_numeric(it.maybe_amount.map(|amount| amount.0));
    }
    tx.insert(&rows).await.expect("inserted");
    tx.insert(&Rows::of(TABLE)).await.expect("no rows are no statement");
    let read = Kinds::find_by_statement(statement("SELECT * FROM pg_temp.kinds ORDER BY place", []));
    assert_eq!(read.all(&tx).await.expect("read"), written);
}

#[tokio::test]
async fn what_is_not_committed_is_gone() {
    let database = testkit::database().await;
    let db = database.connect("indexer").await;
    let rows = |place: i64| {
        let mut rows = Rows::of("indexer.implementation (network, number, address)");
        rows.row().text("devnet").bigint(place).bytes([7; 20]);
        rows
    };
    let dropped = Bulk::begin(&db, IDLE_MAX).await.expect("begun");
    dropped.insert(&rows(1)).await.expect("inserted");
    drop(dropped);
    let kept = Bulk::begin(&db, IDLE_MAX).await.expect("begun");
    kept.insert(&rows(2)).await.expect("inserted");
    kept.insert(&rows(2)).await.expect_err("the key is taken");
    drop(kept);
    let committed = Bulk::begin(&db, IDLE_MAX).await.expect("begun");
    committed.insert(&rows(3)).await.expect("inserted");
    committed.commit().await.expect("committed");
    #[derive(FromQueryResult)]
    struct Number {
        number: i64,
    }
    let all = Number::find_by_statement(statement("SELECT number FROM indexer.implementation", []));
    let all: Vec<i64> = all.all(&db).await.expect("read").into_iter().map(|row| row.number).collect();
    assert_eq!(all, [3]);
}

#[tokio::test]
async fn a_writer_that_stands_still_in_the_middle_does_not_hold_up_the_next() {
    let database = testkit::database().await;
    let db = database.connect("indexer").await;
    let mut rows = Rows::of("indexer.implementation (network, number, address)");
    rows.row().text("devnet").bigint(1).bytes([7; 20]);
    let stopped = Bulk::begin(&db, Duration::from_millis(200)).await.expect("begun");
    stopped.insert(&rows).await.expect("inserted");
    // Waits for the first until the server has ended that one.
    let next = Bulk::begin(&db, IDLE_MAX).await.expect("begun");
    tokio::time::timeout(IDLE_MAX, next.insert(&rows)).await.expect("in time").expect("the key is free");
    next.commit().await.expect("committed");
    stopped.commit().await.expect_err("it is over");
}
