use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::ConnectionTrait;
use testkit::{
    Cluster, Error, TestDb,
    postgres::{Halt, Options},
};

fn kept(dir: &tempfile::TempDir) -> Options {
    Options { dir: Some(dir.path().join("cluster")), durable: true }
}

/// A folder whose parents the server's user can traverse, also when we are root.
fn folder() -> tempfile::TempDir {
    folder_with(0o711)
}

fn folder_with(mode: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("changed");
    dir
}

#[tokio::test]
async fn kept_data_survives_and_a_folder_has_one_user_at_a_time() {
    let dir = folder();
    let first = Cluster::start(kept(&dir)).await.expect("a server");
    let db = store::connect(first.url(), 1).await.expect("a pool");
    db.execute_unprepared("CREATE TABLE kept (a int)").await.expect("made");
    db.close().await.expect("closed");
    assert!(matches!(Cluster::start(kept(&dir)).await, Err(Error::InUse(_))));
    drop(first);

    let second = Cluster::start(kept(&dir)).await.expect("a server");
    let db = store::connect(second.url(), 1).await.expect("a pool");
    db.execute_unprepared("SELECT a FROM kept").await.expect("still there");
}

#[tokio::test]
async fn a_crashed_server_recovers_on_the_next_start() {
    let dir = folder();
    let first = Cluster::start(kept(&dir)).await.expect("a server");
    let pid = i32::try_from(first.pid().expect("ours")).expect("an id");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
    drop(first);
    Cluster::start(kept(&dir)).await.expect("a server again");
}

#[tokio::test]
async fn a_server_that_was_halted_comes_back_in_its_place_with_what_was_committed() {
    let dir = folder();
    let mut cluster = Cluster::start(kept(&dir)).await.expect("a server");
    let db = TestDb::on(&cluster).await.expect("a database");
    let place = db.admin_url.clone();
    for (number, how) in (1..).zip([Halt::Fast, Halt::Immediate]) {
        let open = db.connect("lifecycle").await;
        let admin = db.admin().await;
        admin.execute_unprepared(&format!("CREATE TABLE kept{number} (a int)")).await.expect("made");
        cluster.halt(how).await.expect("halted");
        open.execute_unprepared("SELECT 1").await.expect_err("nobody answers");
        cluster.start_again().await.expect("a server again");
        let admin = store::connect(&place, 1).await.expect("in the same place");
        admin.execute_unprepared(&format!("SELECT a FROM kept{number}")).await.expect("still there");
    }
}

#[tokio::test]
async fn the_server_answers_only_to_its_password() {
    let cluster = Cluster::start(Options::default()).await.expect("a server");
    let (_, place) = cluster.url().rsplit_once('@').expect("credentials");
    store::connect(&format!("postgres://postgres:wrong@{place}"), 1).await.expect_err("refused");
}

#[tokio::test]
async fn a_folder_that_the_server_cannot_reach_is_named() {
    if !nix::unistd::geteuid().is_root() {
        return; // An ordinary user's server is the user itself.
    }
    let closed = folder_with(0o700);
    let error = Cluster::start(kept(&closed)).await.expect_err("unreachable");
    assert!(matches!(&error, Error::Unreachable { .. }), "{error:?}");
}

/// What a process holds open, as links.
fn held_open(pid: u32) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("a running process");
    open.flatten().filter_map(|one| fs::read_link(one.path()).ok()).collect()
}

#[tokio::test]
async fn a_server_holds_nothing_open_that_its_starter_has_inherited() {
    if !Path::new("/proc/self/fd").exists() {
        return; // Only Linux shows what others hold open.
    }
    let inherited = tempfile::NamedTempFile::new().expect("a file");
    // A plain copy goes to every child, as a shell's lock or the pipe of a build tool does.
    let copies = [3, 100].map(|from| fcntl(&inherited, FcntlArg::F_DUPFD(from)).expect("a copy"));
    let cluster = Cluster::start(Options::default()).await.expect("a server");
    let held = held_open(cluster.pid().expect("ours"));
    assert!(held_open(std::process::id()).contains(&inherited.path().to_owned()), "we do");
    assert!(held.iter().any(|open| open.ends_with("log")), "{held:?}");
    assert!(!held.contains(&inherited.path().to_owned()), "{held:?}");
    for copy in copies {
        nix::unistd::close(copy).expect("closed");
    }
}

/// The `testdb` program with a temporary directory of its own.
fn testdb(dir: &tempfile::TempDir, command: &str) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_testdb"))
        .arg(command)
        .env("TMPDIR", dir.path())
        .env_remove("TESTKIT_DATABASE_URL")
        .output()
        .expect("started");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[tokio::test]
async fn the_shared_server_is_one_for_all_until_it_is_stopped() {
    let dir = &folder();
    let urls: Vec<String> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3).map(|_| scope.spawn(|| testdb(dir, "start"))).collect();
        starts.into_iter().map(|start| start.join().expect("no panic")).collect()
    });
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    store::connect(&urls[0], 1).await.expect("it lives on without its starter");
    testdb(dir, "stop");
    store::connect(&urls[0], 1).await.expect_err("stopped");
}

#[tokio::test]
async fn a_server_left_behind_by_a_dead_parent_is_stopped_before_the_next() {
    let dir = folder();
    let orphan = testdb(&dir, "start");
    let left = fs::read_dir(dir.path()).expect("a folder").flatten().next().expect("one folder in it").path();
    let next = Cluster::start(Options { dir: Some(left), durable: false }).await.expect("a server");
    assert_ne!(next.url(), orphan);
    store::connect(&orphan, 1).await.expect_err("gone");
    store::connect(next.url(), 1).await.expect("the next one answers");
}
