use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use store::{
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
