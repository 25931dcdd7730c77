use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sea_orm::DatabaseConnection;
use store::{
    group_commit::{self, Batches, ITEMS_MAX, QUEUE_MAX},
    in_transaction,
};
use tokio::sync::Semaphore;

use crate::{Error, effect, effects};

/// Writes all items in one transaction, once the gate lets it; counts its commits.
fn batches(
    db: &DatabaseConnection,
    gate: &Arc<Semaphore>,
    commits: &Arc<AtomicUsize>,
) -> Batches<String, usize, Error> {
    let (db, gate, commits) = (db.clone(), Arc::clone(gate), Arc::clone(commits));
    Batches::start(move |items: Arc<Vec<String>>| {
        let (db, gate, commits) = (db.clone(), Arc::clone(&gate), Arc::clone(&commits));
        async move {
            let _pass = gate.acquire().await.map_err(|_| Error::Refused)?;
            commits.fetch_add(1, Ordering::Relaxed);
            let items = &items;
            in_transaction(&db, |tx| {
                Box::pin(async move {
                    for item in items.iter() {
                        effect(&tx, item).await?;
                    }
                    Ok(items.iter().map(String::len).collect())
                })
            })
            .await
        }
    })
}

/// Hands in items while the gate is closed, so that they queue up, then opens it.
async fn submit_all(
    batches: &Batches<String, usize, Error>,
    gate: &Semaphore,
    items: &[&str],
) -> Vec<Result<usize, group_commit::Error<Error>>> {
    let mut submitted: Vec<_> =
        items.iter().map(|item| Box::pin(batches.submit((*item).to_owned()))).collect();
    for pending in &mut submitted {
        assert!(futures_poll(pending.as_mut()).await, "waits for its result");
    }
    gate.add_permits(1);
    let mut results = Vec::new();
    for pending in submitted {
        results.push(pending.await);
    }
    results
}

/// Polls once; whether it is still pending.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn callers_that_queue_up_share_commits_and_get_their_own_results() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let (gate, commits) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let batches = batches(&db, &gate, &commits);
    let items: Vec<String> = (0..ITEMS_MAX + 50).map(|n| "x".repeat(n + 1)).collect();
    let names: Vec<&str> = items.iter().map(String::as_str).collect();
    let results = submit_all(&batches, &gate, &names).await;
    let lengths: Vec<usize> = results.into_iter().map(|result| result.expect("committed")).collect();
    assert_eq!(lengths, (1..=ITEMS_MAX + 50).collect::<Vec<_>>());
    assert!(commits.load(Ordering::Relaxed) <= 3, "{commits:?}");
    assert_eq!(effects(&db).await.len(), items.len());
}

#[tokio::test]
async fn one_bad_item_harms_only_its_own_caller() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let (gate, commits) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let batches = batches(&db, &gate, &commits);
    // An empty id breaks a CHECK, and a repeated one the primary key.
    let results = submit_all(&batches, &gate, &["a", "", "b", "a", "c"]).await;
    let done: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true, false, true]);
    assert_eq!(effects(&db).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_full_queue_refuses_instead_of_growing() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let (gate, commits) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let batches = batches(&db, &gate, &commits);
    let mut waiting: Vec<_> = (0..QUEUE_MAX).map(|n| Box::pin(batches.submit(n.to_string()))).collect();
    for pending in &mut waiting {
        assert!(futures_poll(pending.as_mut()).await);
    }
    let refused = batches.submit("one too many".to_owned()).await.expect_err("refused");
    assert!(matches!(refused, group_commit::Error::Full));
    gate.add_permits(1);
    for pending in waiting {
        pending.await.expect("committed");
    }
}

#[tokio::test]
async fn an_item_that_nobody_waits_for_any_more_is_not_committed() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let (gate, commits) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let batches = batches(&db, &gate, &commits);
    let mut first = Box::pin(batches.submit("first".to_owned()));
    assert!(futures_poll(first.as_mut()).await);
    // The first is taken up before the others come.
    testkit::wait_until("it is taken up", std::time::Duration::from_secs(5), || async {
        batches.depth()() == 0
    })
    .await;
    let mut gone = Box::pin(batches.submit("gone".to_owned()));
    let mut kept = Box::pin(batches.submit("kept".to_owned()));
    assert!(futures_poll(gone.as_mut()).await && futures_poll(kept.as_mut()).await);
    drop(gone);
    gate.add_permits(1);
    first.await.expect("committed");
    kept.await.expect("committed");
    assert_eq!(effects(&db).await, ["first", "kept"]);
}

#[tokio::test]
async fn several_items_are_handed_in_together_or_not_at_all() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let (gate, commits) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicUsize::new(0)));
    let batches = batches(&db, &gate, &commits);
    let too_many = (0..=QUEUE_MAX).map(|number| number.to_string()).collect();
    let refused = batches.submit_all(too_many).await.expect_err("refused");
    assert!(matches!(refused, group_commit::Error::Full));
    assert_eq!(effects(&db).await, [""; 0]);
    let items = ["a", "b", "c"].map(str::to_owned).to_vec();
    let results = batches.submit_all(items).await.expect("there is room");
    assert!(results.into_iter().all(|result| result.is_ok()));
    assert_eq!(effects(&db).await, ["a", "b", "c"]);
}
