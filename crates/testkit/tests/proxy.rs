use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt, future::join_all};
use reqwest::Response;
use serde_json::{Value, json};
use testkit::{
    Anvil, Proxy,
    anvil::Options,
    proxy::{Chance, Faults, HttpStatus, Lie, LogLimits, Lost, NodeError, Provider, Stall, TruncateLogs},
    wait_until,
};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const DEADLINE: Duration = Duration::from_secs(10);
const LOGGER: &str = "0x00000000000000000000000000000000000000aa";
/// Logs the first word of its input, as topic and as data.
const LOGGER_CODE: &str = "0x60003560005260003560206000a100";

/// A chain whose blocks 1 to `HEIGHT` have one log each, behind a proxy.
struct World {
    anvil: Anvil,
    proxy: Proxy,
    client: reqwest::Client,
}

const HEIGHT: u64 = 10;

/// Topic of odd blocks is 1, of even ones 0.
fn topic(block: u64) -> String {
    format!("{:#066x}", block % 2)
}

async fn world() -> World {
    let anvil = Anvil::start(Options { chain_id: Some(1337), ..Options::default() }).await.expect("a chain");
    let accounts = anvil.rpc("eth_accounts", json!([])).await.expect("accounts");
    anvil.rpc("anvil_setCode", json!([LOGGER, LOGGER_CODE])).await.expect("a contract");
    for block in 1..=HEIGHT {
        let transaction = json!({ "from": accounts[0], "to": LOGGER, "data": topic(block) });
        anvil.rpc("eth_sendTransaction", json!([transaction])).await.expect("a log");
        let mined = || async { height(&anvil).await == block };
        wait_until("the log is in a block", DEADLINE, mined).await;
    }
    let proxy = Proxy::start(anvil.url()).await.expect("a proxy");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    World { anvil, proxy, client }
}

async fn height(anvil: &Anvil) -> u64 {
    number(&anvil.rpc("eth_blockNumber", json!([])).await.expect("a height"))
}

fn number(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("a quantity");
    u64::from_str_radix(digits, 16).expect("hex digits")
}

fn call(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn all_logs() -> Value {
    json!([{ "fromBlock": "0x0", "toBlock": "latest", "address": LOGGER }])
}

impl World {
    async fn send(&self, body: Value) -> Result<Response, reqwest::Error> {
        self.client.post(self.proxy.url()).json(&body).send().await
    }

    async fn answer(&self, method: &str, params: Value) -> Value {
        let response = self.send(call(7, method, params)).await.expect("a response");
        response.json().await.expect("JSON")
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params).await;
        assert_eq!((&answer["id"], &answer["error"]), (&json!(7), &Value::Null));
        answer["result"].take()
    }

    async fn refusal(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.answer(method, params).await;
        let code = answer["error"]["code"].as_i64().expect("an error");
        (code, answer["error"]["message"].as_str().expect("a text").to_owned())
    }

    async fn logs(&self) -> Vec<Value> {
        self.ask("eth_getLogs", all_logs()).await.as_array().expect("logs").clone()
    }

    fn times(&self, fault: &str) -> u64 {
        self.proxy.counts().faults.get(fault).copied().unwrap_or_default()
    }
}

#[tokio::test]
async fn without_faults_it_is_the_node_and_counts() {
    let world = world().await;
    let bodies = async |url: String| {
        let batch = json!([call(1, "eth_getLogs", all_logs()), call(2, "eth_nonsense", json!([]))]);
        let response = world.client.post(url).json(&batch).send().await.expect("a response");
        response.text().await.expect("a body")
    };
    assert_eq!(bodies(world.proxy.url()).await, bodies(world.anvil.url()).await);
    world.logs().await;
    let counts = world.proxy.counts();
    assert_eq!((counts.http, counts.calls, counts.by_method["eth_getLogs"]), (2, 3, 2));
    assert!(counts.faults.is_empty());
    world.proxy.reset_counts();
    assert_eq!(world.proxy.counts().http, 0);
}

#[tokio::test]
async fn it_stops_when_dropped_and_takes_only_urls_of_nodes() {
    let World { proxy, .. } = world().await;
    let address = proxy.url().replace("http://", "");
    drop(proxy);
    let gone = || async { TcpStream::connect(&address).await.is_err() };
    wait_until("the port is closed", DEADLINE, gone).await;
    for no_url in ["", "127.0.0.1:1", "https://example.org"] {
        assert!(Proxy::start(no_url).await.is_err(), "{no_url}");
    }
}

#[tokio::test]
async fn a_thousand_requests_are_delayed_at_once() {
    let world = world().await;
    let delay = Duration::from_millis(300);
    world.proxy.set(Faults { delay, jitter: delay, ..Faults::default() });
    let start = Instant::now();
    join_all((0..1_000).map(|_| world.ask("eth_chainId", json!([])))).await;
    let took = start.elapsed();
    assert!(took >= delay && took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn the_way_drops_cuts_stalls_and_refuses() {
    let world = world().await;
    let question = || call(1, "eth_getLogs", all_logs());

    world.proxy.set(Faults { drop: Chance::ALWAYS, ..Faults::default() });
    world.send(question()).await.expect_err("no answer");

    world.proxy.set(Faults { cut: Chance::ALWAYS, ..Faults::default() });
    let response = world.send(question()).await.expect("the beginning of an answer");
    assert!(response.content_length().is_some_and(|length| length > 1_000));
    response.bytes().await.expect_err("the rest does not come");

    let duration = Duration::from_millis(200);
    let stall = Some(Stall { chance: Chance::ALWAYS, duration });
    world.proxy.set(Faults { stall, ..Faults::default() });
    let start = Instant::now();
    world.logs().await;
    assert!(start.elapsed() >= duration);

    let tired = HttpStatus { chance: Chance::ALWAYS, status: 429, retry_after_secs: Some(3) };
    let never = HttpStatus { chance: Chance::NEVER, status: 500, retry_after_secs: None };
    world.proxy.set(Faults { http_status: vec![never, tired], ..Faults::default() });
    let response = world.send(question()).await.expect("a response");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"3".parse().unwrap())
    );

    let faults = world.proxy.counts().faults;
    assert_eq!(
        faults.into_iter().collect::<Vec<_>>(),
        [("cut", 1), ("drop", 1), ("http_status", 1), ("stall", 1)]
    );
    world.proxy.set(Faults::default());
    assert_eq!(world.logs().await.len(), 10);
}

#[tokio::test]
async fn chance_depends_on_the_question_and_the_seed_but_not_on_the_order() {
    let world = world().await;
    let fates = async |seed: u64, heights: Vec<u64>| {
        let node_error = Some(NodeError {
            chance: Chance::percent(50),
            code: -32603,
            message: "internal error".to_owned(),
            methods: vec!["eth_getBlockByNumber"],
        });
        world.proxy.set(Faults { seed, node_error, ..Faults::default() });
        let mut fates = Vec::new();
        for height in heights {
            let params = json!([format!("{height:#x}"), false]);
            fates.push((height, world.answer("eth_getBlockByNumber", params).await["error"]["code"].clone()));
        }
        assert_eq!(world.ask("eth_chainId", json!([])).await, "0x539", "of other methods there are none");
        fates.sort_by_key(|(height, _)| *height);
        fates
    };
    let (up, down): (Vec<u64>, Vec<u64>) = ((0..40).collect(), (0..40).rev().collect());
    let first = fates(1, up.clone()).await;
    assert_eq!(first, fates(1, down).await);
    assert_ne!(first, fates(2, up).await);
    let failed = first.iter().filter(|(_, code)| *code == -32603).count();
    assert!((8..=32).contains(&failed), "{failed} of 40");
}

#[tokio::test]
async fn batches_are_answered_in_another_order_and_single_calls_can_fail_in_them() {
    let world = world().await;
    let strip_methods = vec!["eth_getCode"];
    world.proxy.set(Faults { reorder: true, strip_methods, ..Faults::default() });
    let methods = ["eth_chainId", "eth_getCode", "eth_blockNumber", "eth_gasPrice"];
    let batch: Vec<Value> = (0..4).map(|id| call(id, methods[id as usize], json!([]))).collect();
    let answers: Vec<Value> = world.send(json!(batch)).await.expect("sent").json().await.expect("a batch");
    let ids: Vec<u64> = answers.iter().map(|answer| answer["id"].as_u64().expect("an id")).collect();
    assert_ne!(ids, [0, 1, 2, 3]);
    let of = |id: u64| answers.iter().find(|answer| answer["id"] == id).expect("all are answered");
    assert_eq!(of(0)["result"], "0x539");
    assert_eq!(of(1)["error"]["code"], -32601);
    assert_eq!(of(2)["result"], "0xa");
    assert!(world.times("reorder") == 1 && world.times("strip_methods") == 1);
}

#[tokio::test]
async fn answers_lack_logs_and_the_missing_ones_are_counted() {
    let world = world().await;
    let truncated = async |chance: Chance, lost: Lost| {
        world.proxy.set(Faults { truncate_logs: Some(TruncateLogs { chance, lost }), ..Faults::default() });
        world.proxy.reset_counts();
        let logs = world.logs().await;
        assert_eq!(world.proxy.counts().logs_dropped, 10 - logs.len() as u64);
        logs
    };
    let whole = world.logs().await;
    assert_eq!(truncated(Chance::ALWAYS, Lost::Last(3)).await, whole[..7]);
    assert!(truncated(Chance::ALWAYS, Lost::Suffix).await.len() < 10);
    assert!(truncated(Chance::ALWAYS, Lost::Random).await.len() < 10);
    const ODD: &str = "0x0000000000000000000000000000000000000000000000000000000000000001";
    let even = truncated(Chance::ALWAYS, Lost::Kind(ODD)).await;
    assert!(even.len() == 5 && even.iter().all(|log| log["topics"][0] == topic(0)));
    assert_eq!(truncated(Chance::NEVER, Lost::Suffix).await, whole);

    truncated(Chance::percent(20), Lost::Last(1)).await;
    for _ in 1..200 {
        world.logs().await;
    }
    let counts = world.proxy.counts();
    assert!((20..=60).contains(&counts.logs_dropped), "{counts:?}");
    assert_eq!(counts.faults["truncate_logs"], counts.logs_dropped);
}

#[tokio::test]
async fn a_stale_node_answers_as_of_its_own_head() {
    let world = world().await;
    world.proxy.set(Faults { stale: Some(3), ..Faults::default() });
    let at = |block: &str| json!([block, false]);
    assert_eq!(world.ask("eth_blockNumber", json!([])).await, "0x7");
    assert_eq!(world.ask("eth_getBlockByNumber", at("latest")).await["number"], "0x7");
    assert_eq!(world.ask("eth_getBlockByNumber", at("0x7")).await["number"], "0x7");
    assert_eq!(world.ask("eth_getBlockByNumber", at("0x8")).await, Value::Null);
    let head = world.anvil.rpc("eth_getBlockByNumber", at("latest")).await.expect("a block");
    assert_eq!(world.ask("eth_getBlockByHash", json!([head["hash"], false])).await, Value::Null);
    assert_eq!(world.logs().await.len(), 7);
    let explicit = json!([{ "fromBlock": "0x5", "toBlock": "0xa", "address": LOGGER }]);
    assert_eq!(world.ask("eth_getLogs", explicit).await.as_array().expect("logs").len(), 3);
    let by_hash = json!([{ "blockHash": head["hash"] }]);
    assert_eq!(world.refusal("eth_getLogs", by_hash).await, (-32000, "unknown block".to_owned()));
    let balance = world.refusal("eth_getBalance", json!([LOGGER, "0x8"])).await;
    assert_eq!(balance, (-32000, "header not found".to_owned()));
    assert_eq!(world.ask("eth_getBalance", json!([LOGGER, "latest"])).await, "0x0");
    // Finality is that of three blocks before: anvil's is two slots of 32 behind, so block 0.
    assert_eq!(world.ask("eth_getBlockByNumber", at("finalized")).await["number"], "0x0");

    world.proxy.set(Faults { stale: Some(3), alternate_stale: true, ..Faults::default() });
    let mut heights = Vec::new();
    for _ in 0..4 {
        heights.push(number(&world.ask("eth_blockNumber", json!([])).await));
    }
    assert_eq!(heights, [7, 10, 7, 10]);
}

#[tokio::test]
async fn an_old_node_has_no_old_state_and_no_times_in_logs() {
    let world = world().await;
    world.proxy.set(Faults { no_archive: Some(2), strip_block_timestamp: true, ..Faults::default() });
    let balance = |block: Value| json!([LOGGER, block]);
    assert_eq!(world.ask("eth_getBalance", balance(json!("latest"))).await, "0x0");
    assert_eq!(world.ask("eth_getBalance", balance(json!("0x8"))).await, "0x0");
    let old = world.anvil.rpc("eth_getBlockByNumber", json!(["0x7", false])).await.expect("a block");
    let by_hash = json!([{ "to": LOGGER }, { "blockHash": old["hash"] }]);
    for (method, params) in [
        ("eth_getBalance", balance(json!("0x7"))),
        ("eth_getStorageAt", json!([LOGGER, "0x0", "0x1"])),
        ("eth_call", by_hash),
    ] {
        let (code, message) = world.refusal(method, params).await;
        assert!(code == -32000 && message.starts_with("missing trie node"), "{method}: {message}");
    }
    assert!(world.logs().await.iter().all(|log| log.get("blockTimestamp").is_none()));
    assert!(world.anvil.rpc("eth_getLogs", all_logs()).await.expect("logs")[0]["blockTimestamp"].is_string());
    let counts = world.proxy.counts().faults;
    assert_eq!((counts["no_archive"], counts["strip_block_timestamp"]), (3, 1));
}

#[tokio::test]
async fn large_log_queries_are_refused_in_the_words_of_the_provider() {
    let world = world().await;
    let limited = |provider, blocks_max, results_max| {
        let log_limits = Some(LogLimits { blocks_max, results_max, provider });
        world.proxy.set(Faults { log_limits, ..Faults::default() });
    };
    let range = |from: u64, to: u64| json!([{ "fromBlock": format!("{from:#x}"), "toBlock": format!("{to:#x}"), "address": LOGGER }]);

    limited(Provider::Infura, 1_000, 4);
    let (code, message) = world.refusal("eth_getLogs", range(2, 10)).await;
    assert_eq!(code, -32005);
    assert!(message.ends_with("more than 4 results. Try with this block range [0x2, 0x5]."), "{message}");
    assert_eq!(world.ask("eth_getLogs", range(2, 5)).await.as_array().expect("logs").len(), 4);

    limited(Provider::Erigon, 5, 1_000);
    let refused = world.refusal("eth_getLogs", range(1, 6)).await;
    assert_eq!(refused, (-32000, "exceed maximum block range: 5".to_owned()));
    assert_eq!(world.refusal("eth_getLogs", all_logs()).await, refused, "a tag is a height");
    assert_eq!(world.ask("eth_getLogs", range(1, 5)).await.as_array().expect("logs").len(), 5);

    limited(Provider::Plain413, 1_000, 4);
    let response = world.send(call(1, "eth_getLogs", range(1, 10))).await.expect("a response");
    assert_eq!(response.status().as_u16(), 413);
    response.json::<Value>().await.expect_err("no JSON");
    assert_eq!(world.times("log_limits"), 4);
}

#[tokio::test]
async fn a_liar_names_another_chain_and_logs_that_never_were() {
    let world = world().await;
    let lie = |lie| world.proxy.set(Faults { lie: Some(lie), ..Faults::default() });
    let truth = world.logs().await;

    lie(Lie::WrongChainId(5));
    assert_eq!(world.ask("eth_chainId", json!([])).await, "0x5");
    assert_eq!(world.ask("net_version", json!([])).await, "5");
    assert_eq!(world.logs().await, truth);

    lie(Lie::AlterLogData(Chance::ALWAYS));
    let altered = world.logs().await;
    let differing: Vec<_> = altered.iter().zip(&truth).filter(|(one, other)| one != other).collect();
    assert!(matches!(differing.as_slice(), [(one, other)] if one["data"] != other["data"]));

    lie(Lie::InventLog(Chance::ALWAYS));
    let invented = world.logs().await;
    assert_eq!(invented.len(), truth.len() + 1);
    assert!(truth.iter().all(|log| invented.contains(log)));
    for fault in ["wrong_chain_id", "alter_log_data", "invent_log"] {
        assert!(world.times(fault) >= 1, "{fault}");
    }
}

#[tokio::test]
async fn a_fork_is_consistent_with_itself_and_unknown_to_the_chain() {
    let world = world().await;
    world.proxy.set(Faults { lie: Some(Lie::ForkAbove(7)), ..Faults::default() });
    let header =
        async |block: u64| world.ask("eth_getBlockByNumber", json!([format!("{block:#x}"), false])).await;
    let by_hash = async |hash: &Value| world.ask("eth_getBlockByHash", json!([hash, false])).await;
    let logs = world.logs().await;
    for block in 1..=HEIGHT {
        let (forked, parent) = (header(block).await, header(block - 1).await);
        let params = json!([format!("{block:#x}"), false]);
        let truth = world.anvil.rpc("eth_getBlockByNumber", params).await.expect("a block");
        assert_eq!(forked["hash"] != truth["hash"], block > 7, "{block}");
        assert_eq!(forked["parentHash"], parent["hash"], "{block}");
        assert_eq!(logs[block as usize - 1]["blockHash"], forked["hash"], "{block}");
        assert_eq!(by_hash(&forked["hash"]).await, forked, "{block}");
        assert_eq!(by_hash(&truth["hash"]).await.is_null(), block > 7, "{block}");
        let of_block = world.ask("eth_getLogs", json!([{ "blockHash": forked["hash"] }])).await;
        assert_eq!(of_block[0], logs[block as usize - 1], "{block}");
        let receipt =
            world.ask("eth_getTransactionReceipt", json!([logs[block as usize - 1]["transactionHash"]]));
        assert_eq!(receipt.await["blockHash"], forked["hash"], "{block}");
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn next(socket: &mut Socket) -> Option<Value> {
    let message = tokio::time::timeout(DEADLINE, socket.next()).await.expect("a message in time");
    match message {
        Some(Ok(Message::Text(text))) => Some(serde_json::from_str(text.as_str()).expect("JSON")),
        _ => None,
    }
}

async fn ask(socket: &mut Socket, method: &str, params: Value) -> Value {
    socket.send(Message::text(call(1, method, params).to_string())).await.expect("sent");
    next(socket).await.expect("an answer")
}

impl World {
    async fn socket(&self) -> Socket {
        let (mut socket, _) = connect_async(self.proxy.ws_url()).await.expect("a WebSocket");
        assert!(ask(&mut socket, "eth_subscribe", json!(["newHeads"])).await["result"].is_string());
        socket
    }

    async fn mine(&self) {
        self.anvil.rpc("evm_mine", json!([])).await.expect("a block");
    }
}

#[tokio::test]
async fn heads_come_over_a_websocket_until_it_is_cut_or_refused() {
    let world = world().await;
    let mut socket = world.socket().await;
    world.mine().await;
    assert_eq!(next(&mut socket).await.expect("a head")["params"]["result"]["number"], "0xb");
    assert_eq!(world.proxy.counts().by_method["eth_subscribe"], 1);

    world.proxy.cut_connections();
    assert_eq!(next(&mut socket).await, None);
    drop(world.socket().await);

    world.proxy.set(Faults { ws_refuse: true, ..Faults::default() });
    connect_async(world.proxy.ws_url()).await.expect_err("no WebSocket");
    assert_eq!(world.ask("eth_blockNumber", json!([])).await, "0xb", "HTTP is as before");
    let counts = world.proxy.counts();
    assert_eq!((counts.sockets, counts.http, counts.faults["ws_refuse"]), (3, 1, 1));
}

#[tokio::test]
async fn a_silent_or_stale_websocket_announces_nothing_and_still_answers() {
    let stale = Faults { stale: Some(3), ..Faults::default() };
    let silent = Faults { ws_silent: true, ..Faults::default() };
    for (faults, name, height) in [(silent, "ws_silent", "0xb"), (stale, "stale", "0x8")] {
        let world = world().await;
        let mut socket = world.socket().await;
        world.proxy.set(faults);
        world.mine().await;
        let withheld = || async { world.times(name) > 0 };
        wait_until("a head is withheld", DEADLINE, withheld).await;
        assert_eq!(ask(&mut socket, "eth_blockNumber", json!([])).await["result"], height, "{name}");
        world.proxy.set(Faults::default());
        world.mine().await;
        let announced = next(&mut socket).await.expect("a head");
        assert_eq!(announced["params"]["result"]["number"], "0xc", "{name}: the other one never comes");
    }
}

#[tokio::test]
async fn a_liar_is_the_same_liar_over_its_websocket() {
    let world = world().await;
    let mut socket = world.socket().await;
    world.proxy.set(Faults { lie: Some(Lie::WrongChainId(5)), ..Faults::default() });
    assert_eq!(ask(&mut socket, "eth_chainId", json!([])).await["result"], "0x5");
    world.proxy.set(Faults { lie: Some(Lie::ForkAbove(7)), ..Faults::default() });
    world.mine().await;
    let announced = next(&mut socket).await.expect("a head");
    let header = world.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(announced["params"]["result"]["hash"], header["hash"]);
    let strip_methods = vec!["eth_getLogs"];
    world.proxy.set(Faults { strip_methods, ..Faults::default() });
    assert_eq!(ask(&mut socket, "eth_getLogs", all_logs()).await["error"]["code"], -32601);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_swallows_answers_the_hash_and_has_nothing() {
    let world = world().await;
    world.proxy.set(Faults { swallow: true, ..Faults::default() });
    let raw = "0x02";
    let answer = world.send(call(1, "eth_sendRawTransaction", json!([raw]))).await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(
        answer["result"], "0xf2ee15ea639b73fa3db9b34a245bdfa015c260c598b211bf05a1ecc4b3e3b4f2",
        "the Keccak digest of one byte 2"
    );
    assert_eq!(world.proxy.counts().faults["swallow"], 1);
    world.proxy.set(Faults::default());
    let answer = world.send(call(2, "eth_sendRawTransaction", json!([raw]))).await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert!(answer.get("error").is_some(), "the node itself knows that this is no transaction: {answer}");
}
