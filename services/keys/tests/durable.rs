//! No answer leaves before its record is durable: the database is held and killed in the middle.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::keys::v1::{KeyRole, SignTransactionRequest};
use keys::audit::{Head, verify};
use keys::db::audit::page;
use keys::policy::call::approveCall;
use migrations::Passwords;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sea_orm::{ConnectionTrait, TransactionTrait};
use testkit::postgres::{Cluster, Options};
use testkit::wait_until;

use crate::stand::{INFO, METIS, Stand, address_of, config, metis, request};

const WAIT: Duration = Duration::from_secs(60);
/// Far longer than a signature takes.
const NO_ANSWER: Duration = Duration::from_millis(500);
/// Enough to be in the middle of many.
const ANSWERS_BEFORE_THE_KILL: usize = 40;

#[tokio::test]
async fn while_the_record_cannot_be_written_there_is_no_answer() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let admin = db.admin().await;
    let holder = admin.begin().await.unwrap();
    holder.execute_unprepared("SELECT * FROM keys.audit_head FOR UPDATE").await.unwrap();

    let asked = request(&key, METIS, &approveCall { spender: INFO, value: metis(1) }, 0);
    let mut client = stand.lifecycle.clone();
    let mut call = tokio::spawn(async move { client.sign_transaction(asked).await });
    assert!(
        tokio::time::timeout(NO_ANSWER, &mut call).await.is_err(),
        "answered before the decision was durable"
    );
    let waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE usename = 'seq_keys' AND datname = current_database() AND wait_event_type = 'Lock'";
    wait_until("the connection that decides is cut", WAIT, || async {
        !admin.query_all_raw(store::statement(waiting, [])).await.unwrap().is_empty()
    })
    .await;
    call.await.unwrap().unwrap_err();
    holder.rollback().await.unwrap();
}

#[tokio::test]
async fn every_answer_has_its_record_after_postgres_was_killed_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
    let options = || Options { dir: Some(folder.path().join("cluster")), durable: true };
    let cluster = Cluster::start(options()).await.unwrap();
    let url = as_keys(cluster.url());
    migrations::run(cluster.url(), &Passwords::default().with("keys", PASSWORD)).await.unwrap();
    let stand = Stand::on(store::connect(&url, 10).await.unwrap(), config()).await;
    let stopped = Arc::new(AtomicBool::new(false));
    let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let mut clients = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let key = stand.create(name, KeyRole::Owner).await;
        let account = address_of(&key).to_string().to_lowercase();
        let (mut client, stopped, sender) = (stand.lifecycle.clone(), Arc::clone(&stopped), sender.clone());
        clients.push(tokio::spawn(async move {
            for nonce in 0.. {
                let call = approveCall { spender: INFO, value: metis(1) };
                let asked: SignTransactionRequest = request(&key, METIS, &call, nonce);
                match client.sign_transaction(asked).await {
                    Ok(answer) => {
                        sender.send((nonce, account.clone(), answer.into_inner().audit_sequence)).unwrap()
                    }
                    Err(_) => return,
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        }));
    }
    drop(sender);
    let mut answered = BTreeMap::new();
    while let Some((nonce, account, sequence)) = answers.recv().await {
        answered.insert(sequence, (nonce, account));
        if answered.len() == ANSWERS_BEFORE_THE_KILL {
            let pid = Pid::from_raw(i32::try_from(cluster.pid().unwrap()).unwrap());
            kill(pid, Signal::SIGKILL).unwrap();
            stopped.store(true, Ordering::Relaxed);
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    drop((stand, cluster));

    let cluster = Cluster::start(options()).await.unwrap();
    let admin = store::connect(cluster.url(), 2).await.unwrap();
    let rows = page(&admin, 0, 10_000).await.unwrap();
    verify(Head::START, &rows).unwrap();
    let forms =
        "SELECT audit_sequence, nonce, '0x' || encode(account, 'hex') AS account FROM keys.signed_form";
    let mut signed = BTreeMap::new();
    for row in admin.query_all_raw(store::statement(forms, [])).await.unwrap() {
        let get = |column| row.try_get::<i64>("", column).unwrap().unsigned_abs();
        signed.insert(get("audit_sequence"), (get("nonce"), row.try_get::<String>("", "account").unwrap()));
    }
    assert!(answered.len() >= ANSWERS_BEFORE_THE_KILL);
    for (sequence, answer) in &answered {
        assert_eq!(signed.get(sequence), Some(answer), "record {sequence} of an answer that was given");
    }
}

const PASSWORD: &str = "of-a-test";

/// The maintenance database as the role of the service.
fn as_keys(url: &str) -> String {
    let (_, place) = url.rsplit_once('@').unwrap();
    format!("postgres://seq_keys:{PASSWORD}@{place}")
}
