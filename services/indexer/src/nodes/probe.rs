//! Asking the processes of a node how they are (P 3.4, 3.5). Reads only, each within a time limit and a size.

use std::time::Duration;

use alloy_primitives::Address;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::verdict::{Facts, L2geth, Themis, Validator};
use crate::db::node;

/// A healthy process answers within milliseconds; one that needs longer is not healthy.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// The largest honest answer, the peer list of a busy node, is well below.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longer sentences about an error help nobody.
const WHY_CHARS_MAX: usize = 200;

/// The client for all nodes.
///
/// # Errors
/// If this process cannot make HTTP clients.
pub fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .timeout(ANSWER_WAIT)
        .connect_timeout(ANSWER_WAIT)
        // A redirect could lead to what the policy for URLs forbids.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("seqd/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Asks all processes of a node at once.
pub async fn facts(client: &Client, node: &node::Row) -> Facts {
    let (themis, bridge, l2geth, dtl, validator) = tokio::join!(
        themis(client, &node.themis_rpc),
        bridge(client, &node.bridge),
        l2geth(client, &node.l2geth),
        dtl(client, &node.dtl),
        validator(client, &node.themis_rest, node.signer.0),
    );
    Facts { themis, bridge, l2geth, dtl, validator }
}

#[derive(Deserialize)]
struct Answer<T> {
    result: T,
}

#[derive(Deserialize)]
struct Status {
    sync_info: SyncInfo,
    node_info: NodeInfo,
}

#[derive(Deserialize)]
struct SyncInfo {
    latest_block_height: Number,
    latest_block_time: String,
    catching_up: bool,
}

#[derive(Deserialize)]
struct NodeInfo {
    network: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct NetInfo {
    n_peers: Number,
}

/// A number, as JSON number or as text: tendermint and themis use both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

impl Number {
    fn get(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) => match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).unwrap_or(0),
                None => text.parse().unwrap_or(0),
            },
        }
    }
}

async fn themis(client: &Client, url: &str) -> Result<Themis, String> {
    let (status, peers) = tokio::join!(
        get::<Answer<Status>>(client, format!("{url}/status")),
        get::<Answer<NetInfo>>(client, format!("{url}/net_info")),
    );
    let Status { sync_info, node_info } = status?.result;
    Ok(Themis {
        network: node_info.network,
        version: node_info.version,
        height: sync_info.latest_block_height.get(),
        block_time: OffsetDateTime::parse(&sync_info.latest_block_time, &Rfc3339).ok(),
        catching_up: sync_info.catching_up,
        peers: peers.ok().and_then(|peers| u32::try_from(peers.result.n_peers.get()).ok()),
    })
}

async fn bridge(client: &Client, url: &str) -> Result<(), String> {
    get::<Value>(client, format!("{url}/health")).await.map(drop)
}

#[derive(Deserialize)]
struct RollupStatus {
    syncing: bool,
}

async fn l2geth(client: &Client, url: &str) -> Result<L2geth, String> {
    let (height, rollup, version) = tokio::join!(
        rpc::<Number>(client, url, "eth_blockNumber"),
        rpc::<RollupStatus>(client, url, "rollup_getInfo"),
        rpc::<String>(client, url, "web3_clientVersion"),
    );
    Ok(L2geth {
        height: height?.get(),
        syncing: rollup.ok().map(|rollup| rollup.syncing),
        version: version.unwrap_or_default(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HighestL1 {
    block_number: Number,
}

async fn dtl(client: &Client, url: &str) -> Result<u64, String> {
    get::<HighestL1>(client, format!("{url}/highest/l1")).await.map(|highest| highest.block_number.get())
}

#[derive(Deserialize)]
struct ValidatorRecord {
    nonce: Number,
    power: Number,
}

/// The validator record of a signer: themis answers 400 for one it does not know.
async fn validator(client: &Client, url: &str, signer: Address) -> Result<Option<Validator>, String> {
    let response = ask(client.get(format!("{url}/staking/signer/{signer:#x}"))).await?;
    if matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) {
        return Ok(None);
    }
    let record: Answer<ValidatorRecord> = read(response).await?;
    let ValidatorRecord { nonce, power } = record.result;
    Ok(Some(Validator { nonce: nonce.get(), power: power.get() }))
}

async fn rpc<T: DeserializeOwned>(client: &Client, url: &str, method: &str) -> Result<T, String> {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [] });
    read::<Answer<T>>(ask(client.post(url).json(&call)).await?).await.map(|answer| answer.result)
}

async fn get<T: DeserializeOwned>(client: &Client, url: String) -> Result<T, String> {
    read(ask(client.get(url)).await?).await
}

async fn ask(request: reqwest::RequestBuilder) -> Result<Response, String> {
    request.send().await.map_err(sentence)
}

async fn read<T: DeserializeOwned>(mut response: Response) -> Result<T, String> {
    if !response.status().is_success() {
        return Err(format!("it answers with HTTP status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(sentence)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("its answer is too large".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| "its answer is not what this process answers".to_owned())
}

/// What went wrong, in words without the URL, which is the operator's business.
fn sentence(error: reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        format!("no answer within {} s", ANSWER_WAIT.as_secs())
    } else if error.is_connect() {
        "it cannot be reached".to_owned()
    } else {
        runtime::report(&error.without_url())
    };
    text.truncate(text.char_indices().nth(WHY_CHARS_MAX).map_or(text.len(), |(end, _)| end));
    text
}
