use serde_json::json;
use testkit::anvil::{Anvil, Options, State};

#[tokio::test]
async fn chains_differ_by_their_options_and_run_side_by_side() {
    let one =
        Options { chain_id: Some(1337), number: Some(1_000_000), accounts: Some(1), ..Options::default() };
    let other = Options { chain_id: Some(59_901), hardfork: Some("berlin".to_owned()), ..Options::default() };
    let (one, other) = tokio::join!(Anvil::start(one), Anvil::start(other));
    let (one, other) = (one.expect("a chain"), other.expect("a chain"));
    assert_eq!(one.rpc("eth_chainId", json!([])).await.expect("an answer"), "0x539");
    assert_eq!(one.rpc("eth_blockNumber", json!([])).await.expect("an answer"), "0xf4240");
    assert_eq!(other.rpc("eth_chainId", json!([])).await.expect("an answer"), "0xe9fd");
    let head = other.rpc("eth_getBlockByNumber", json!(["latest", false])).await.expect("an answer");
    assert_eq!(head["baseFeePerGas"], json!(null), "berlin knows no base fee");
    one.rpc("eth_nonsense", json!([])).await.expect_err("refused");
}

#[tokio::test]
async fn kept_state_is_there_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options { state: Some(State::Keep(dir.path().join("state.json"))), ..Options::default() };
    let account = "0x00000000000000000000000000000000000000aa";
    let first = Anvil::start(options.clone()).await.expect("a chain");
    first.rpc("anvil_setBalance", json!([account, "0x7"])).await.expect("set");
    drop(first);
    let second = Anvil::start(options).await.expect("a chain");
    assert_eq!(second.rpc("eth_getBalance", json!([account, "latest"])).await.expect("an answer"), "0x7");
}

#[tokio::test]
async fn a_dropped_chain_is_gone() {
    let chain = Anvil::start(Options::default()).await.expect("a chain");
    let port = chain.port();
    drop(chain);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
