use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use store::{
    in_transaction,
    notify::{self, Wake},
    statement,
};
use testkit::wait_until;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

fn woken(payload: &str) -> Wake {
    Wake::Notified { channel: "heads".to_owned(), payload: payload.to_owned() }
}

#[tokio::test]
async fn wakes_come_with_the_commit_and_not_without() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let listener = notify::listener(&db, &["heads"]).await.expect("listening");
    let mut wakes = listener.wakes();
    let undone = db.begin().await.expect("begun");
    notify::notify(&undone, "heads", "never").await.expect("sent");
    undone.rollback().await.expect("rolled back");
    notify::notify(&db, "elsewhere", "other").await.expect("sent");
    notify::notify(&db, "heads", "1").await.expect("sent");
    assert_eq!(timeout(SOON, wakes.next()).await.expect("woken"), woken("1"));
}

#[tokio::test]
async fn a_transaction_tells_once_after_its_commit_and_nothing_if_it_fails() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let listener = notify::listener(&db, &["heads"]).await.expect("listening");
    let mut wakes = listener.wakes();
    let tell = async |payload: &'static str, fails: bool| {
        in_transaction(&db, |tx| {
            Box::pin(async move {
                notify::notify(&*tx, "heads", payload).await?;
                notify::notify(&*tx, "heads", payload).await?;
                let sql = if fails { "SELECT 1 / 0" } else { "SELECT 1" };
                tx.execute_raw(statement(sql, [])).await.map_err(store::Error::at("asking"))?;
                Ok::<_, store::Error>(())
            })
        })
        .await
    };
    tell("never", true).await.expect_err("it fails");
    tell("1", false).await.expect("committed");
    assert_eq!(timeout(SOON, wakes.next()).await.expect("woken"), woken("1"));
    tell("2", false).await.expect("committed");
    assert_eq!(timeout(SOON, wakes.next()).await.expect("woken"), woken("2"), "the first was told once");
}

#[tokio::test]
async fn a_broken_connection_is_made_again_and_told() {
    let test = testkit::database().await;
    let (db, admin) = (test.connect("indexer").await, test.admin().await);
    let listener = notify::listener(&db, &["heads"]).await.expect("listening");
    let mut wakes = listener.wakes();
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    admin.execute_raw(statement(sql, [])).await.expect("broken");
    assert_eq!(timeout(SOON, wakes.next()).await.expect("told"), Wake::Missed);
    let heard = tokio::spawn(async move { while wakes.next().await != woken("2") {} });
    wait_until("a wake-up is heard again", SOON, || async {
        notify::notify(&db, "heads", "2").await.expect("sent");
        heard.is_finished()
    })
    .await;
}
