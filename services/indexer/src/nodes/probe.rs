//! Asking the processes of a node how they are (P 3.4, 3.5). Reads only.

use std::num::ParseIntError;

use alloy_primitives::{Address, B256};
use reqwest::StatusCode;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::client::{Answer, Client, read};
use super::verdict::{Bridge, Facts, L2geth, Recognition, Themis, Validator};
use crate::db::node;

/// Names and versions are shown as they come; longer ones are none.
const TEXT_CHARS_MAX: usize = 100;
/// `last_updated` is the L1 block times this plus the log's place (P 3.5).
const LOGS_PER_BLOCK: u64 = 100_000;

/// Asks all processes of a node at once; about the lock only if there is one.
pub async fn facts(client: &Client, node: &node::Row, lock: Option<(B256, u64)>) -> Facts {
    let (themis, bridge, l2geth, dtl, validator, lock) = tokio::join!(
        themis(client, &node.themis_rpc),
        bridge(client, &node.bridge),
        l2geth(client, &node.l2geth),
        dtl(client, &node.dtl),
        validator(client, &node.themis_rest, node.signer.0),
        recognised(client, &node.themis_rest, lock),
    );
    Facts { themis, bridge, l2geth, dtl, validator, lock }
}

/// A number, as JSON number or as text: tendermint and themis use both.
#[derive(Deserialize)]
#[serde(try_from = "Written")]
struct Number(u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl TryFrom<Written> for Number {
    type Error = ParseIntError;

    fn try_from(written: Written) -> Result<Self, ParseIntError> {
        match written {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).map(Self),
                None => text.parse().map(Self),
            },
        }
    }
}

fn number(number: Option<Number>) -> Option<u64> {
    number.map(|Number(number)| number)
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
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

async fn themis(client: &Client, url: &str) -> Result<Themis, String> {
    let (status, peers) = tokio::join!(
        client.get::<Answer<Status>>(format!("{url}/status")),
        client.get::<Answer<NetInfo>>(format!("{url}/net_info")),
    );
    let Status { sync_info, node_info } = status?.result;
    Ok(Themis {
        network: shown(&node_info.network),
        version: shown(&node_info.version),
        height: sync_info.latest_block_height.0,
        block_time: OffsetDateTime::parse(&sync_info.latest_block_time, &Rfc3339).ok(),
        catching_up: sync_info.catching_up,
        peers: peers.ok().and_then(|peers| u32::try_from(peers.result.n_peers.0).ok()),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Health {
    is_current_sequencer: Option<Number>,
    l2: HealthL2,
    mpc: HealthMpc,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HealthL2 {
    block_number: Option<Number>,
    timestamp: Option<Number>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HealthMpc {
    is_mpc_proposer: Option<Number>,
    sign_id: String,
    sign_success: Option<Number>,
    timestamp: Option<Number>,
}

async fn bridge(client: &Client, url: &str) -> Result<Bridge, String> {
    let Health { is_current_sequencer, l2, mpc } = client.get(format!("{url}/health")).await?;
    let yes = |flag| number(flag).is_some_and(|flag| flag != 0);
    // Zeros are what the bridge begins with, not what it has seen.
    let seen = |value| number(value).filter(|value| *value != 0);
    let time = |value| {
        seen(value)
            .and_then(|secs| i64::try_from(secs).ok())
            .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
    };
    Ok(Bridge {
        current_sequencer: yes(is_current_sequencer),
        l2_height: seen(l2.block_number),
        l2_seen: time(l2.timestamp),
        mpc_proposer: yes(mpc.is_mpc_proposer),
        mpc_sign_id: shown(&mpc.sign_id),
        mpc_sign_success: yes(mpc.sign_success),
        mpc_time: time(mpc.timestamp),
    })
}

#[derive(Deserialize)]
struct RollupStatus {
    syncing: bool,
}

async fn l2geth(client: &Client, url: &str) -> Result<L2geth, String> {
    let (height, rollup, peers, version) = tokio::join!(
        client.rpc::<Number>(url, "eth_blockNumber"),
        client.rpc::<RollupStatus>(url, "rollup_getInfo"),
        client.rpc::<Number>(url, "net_peerCount"),
        client.rpc::<String>(url, "web3_clientVersion"),
    );
    Ok(L2geth {
        height: height?.0,
        syncing: rollup.ok().map(|rollup| rollup.syncing),
        peers: peers.ok().and_then(|peers| u32::try_from(peers.0).ok()),
        version: version.map(|version| shown(&version)).unwrap_or_default(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HighestL1 {
    block_number: Number,
}

async fn dtl(client: &Client, url: &str) -> Result<u64, String> {
    client.get::<HighestL1>(format!("{url}/highest/l1")).await.map(|highest| highest.block_number.0)
}

#[derive(Deserialize)]
struct ValidatorRecord {
    nonce: Number,
    power: Number,
    #[serde(default)]
    jailed: bool,
    last_updated: Option<Number>,
}

#[derive(Deserialize)]
struct Current {
    result: bool,
}

/// The validator record of a signer: themis answers 400 for one it does not know.
async fn validator(client: &Client, url: &str, signer: Address) -> Result<Option<Validator>, String> {
    let response = client.look(format!("{url}/staking/signer/{signer:#x}")).await?;
    if matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) {
        return Ok(None);
    }
    let record: Answer<ValidatorRecord> = read(response).await?;
    let ValidatorRecord { nonce, power, jailed, last_updated } = record.result;
    let current: Result<Answer<Current>, String> =
        client.get(format!("{url}/staking/validator-status/{signer:#x}")).await;
    Ok(Some(Validator {
        nonce: nonce.0,
        power: power.0,
        jailed,
        current: current.ok().map(|current| current.result.result),
        updated_block: number(last_updated).map(|updated| updated / LOGS_PER_BLOCK),
    }))
}

/// Whether themis has processed the log of the lock: 404 if not, 500 below 12 confirmations.
async fn recognised(client: &Client, url: &str, lock: Option<(B256, u64)>) -> Option<Recognition> {
    let (transaction, log_index) = lock?;
    let asked = format!("{url}/staking/isoldtx?txhash={transaction:#x}&logindex={log_index}");
    Some(match client.look(asked).await {
        Err(why) => Recognition::Unknown(why),
        Ok(response) => match response.status() {
            StatusCode::NOT_FOUND => Recognition::NotYet,
            StatusCode::INTERNAL_SERVER_ERROR => Recognition::NotConfirmed,
            _ => match read::<Answer<bool>>(response).await {
                Ok(Answer { result: true }) => Recognition::Yes,
                Ok(Answer { result: false }) => Recognition::NotYet,
                Err(why) => Recognition::Unknown(why),
            },
        },
    })
}
