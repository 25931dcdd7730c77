use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dev::stack::Access;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Fresh data takes seconds; a loaded machine with other tests beside needs longer.
const READY_MAX: Duration = Duration::from_secs(180);
const STOP_MAX: Duration = Duration::from_secs(60);
const DAY: u64 = 86_400;

/// A kept stack comes back on the ports that it had, which another one may have been given meanwhile: one at a time.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Stack {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    states: Vec<String>,
}

impl Stack {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dev"))
            .args(["up", "--json", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("its output is ours")).lines();
        Self { child, lines, states: Vec::new() }
    }

    /// Reads on to a state; gives its line.
    async fn until(&mut self, state: &str) -> Value {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.expect("its output can be read") {
                let line: Value = serde_json::from_str(&line).expect("each line is JSON");
                let told = line["state"].as_str().expect("each line has a state").to_owned();
                self.states.push(told.clone());
                if told == state {
                    return Some(line);
                }
            }
            None
        };
        let found = tokio::time::timeout(READY_MAX, reading).await.expect("it gets there in time");
        let said = if found.is_none() { self.said().await } else { String::new() };
        assert!(found.is_some(), "it ended after {:?}: {said}", self.states);
        found.unwrap_or_default()
    }

    async fn said(&mut self) -> String {
        let mut said = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut said).await.expect("its errors can be read");
        }
        said
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs");
        kill(Pid::from_raw(pid.try_into().expect("a process id")), signal).expect("it is ours");
    }

    async fn ended(&mut self) -> bool {
        let ended = tokio::time::timeout(STOP_MAX, self.child.wait()).await.expect("it stops in time");
        ended.expect("it can be waited for").success()
    }
}

fn pids(access: &Access) -> Vec<Pid> {
    let processes = &access.processes;
    let all = [processes.postgres, Some(processes.l1), Some(processes.l2)].into_iter().flatten();
    all.map(|pid| Pid::from_raw(pid.try_into().expect("a process id"))).collect()
}

async fn post(url: String, body: Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.post(url).json(&body).send().await.expect("the simulator answers");
    assert!(answer.status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_stack_goes_on_where_it_stopped_and_leaves_no_process() {
    let _one = ONE.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path());
    let data = folder.path().join("data");
    let mut first = Stack::start(&data);
    let fleet = first.until("ready").await["fleet"].clone();
    let phases: Vec<&str> =
        fleet.as_array().expect("six").iter().filter_map(|m| m["phase"].as_str()).collect();
    assert_eq!(phases, ["REGISTERED", "WHITELISTED", "LOCKED", "ACTIVE", "ACTIVE", "EXITING"]);
    let order = [
        "starting-postgres",
        "starting-chains",
        "deploying-contracts",
        "migrating",
        "starting-services",
        "healthy",
        "seeding",
        "ready",
    ];
    let told: Vec<&str> =
        first.states.iter().map(String::as_str).filter(|state| *state != "downloading").collect();
    assert_eq!(told, order);

    let access = Access::read(&data.join("stack.json")).expect("stack.json");
    post(format!("{}/time", access.simulator), json!({ "seconds": 22 * DAY })).await;
    let before = access.l1.link.head().await.expect("L1 answers");
    first.signal(Signal::SIGINT);
    first.until("stopped").await;
    assert!(first.ended().await, "{}", first.said().await);
    for pid in pids(&access) {
        assert!(kill(pid, None).is_err(), "process {pid} is still there");
    }

    let mut second = Stack::start(&data);
    let ready = second.until("ready").await;
    assert!(!second.states.contains(&"seeding".to_owned()));
    let names = |fleet: &Value| -> Vec<String> {
        fleet
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|member| member["id"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(names(&ready["fleet"]), names(&fleet));
    let access = Access::read(&data.join("stack.json")).expect("stack.json");
    let after = access.l1.link.mine(1).await.expect("L1 goes on");
    assert!(
        after.number > before.number && after.timestamp >= before.timestamp,
        "{after:?} after {before:?}"
    );

    let mut other = Stack::start(&data);
    assert!(!other.ended().await && other.said().await.contains("in use"), "one folder, one stack");
    second.signal(Signal::SIGTERM);
    second.until("stopped").await;
    assert!(second.ended().await, "{}", second.said().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_stack_is_not_taken_for_a_stopped_one() {
    let _one = ONE.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path());
    let data = folder.path().join("data");
    let mut stack = Stack::start(&data);
    stack.until("healthy").await;
    let access = Access::read(&data.join("stack.json")).expect("stack.json");
    stack.signal(Signal::SIGKILL);
    assert!(!stack.ended().await);
    for pid in pids(&access) {
        kill(pid, Signal::SIGKILL).expect("ours, and left behind");
    }
    let mut next = Stack::start(&data);
    assert!(!next.ended().await);
    let said = next.said().await;
    assert!(said.contains("did not stop in order"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_can_be_interrupted() {
    let _one = ONE.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path());
    let mut stack = Stack::start(&folder.path().join("data"));
    stack.until("starting-postgres").await;
    stack.signal(Signal::SIGINT);
    assert!(stack.ended().await, "{}", stack.said().await);
}

/// As root the database runs as another user, who must get through.
fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).expect("it is ours");
}
