//! A frontend on JSON-RPC: the gateway prepares, the user's wallet signs, and we never see a key.

use alloy_primitives::{Address, U256};
use anyhow::{Context, Result, bail, ensure};
use api::indexer::v1::{NodeEndpoints, RegisterNodeRequest};
use domain::amount::Metis;
use serde_json::{Value, json};
use testkit::simulator::Endpoints;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::rpc::JsonRpc;
use super::wallet::Wallet;
use super::{Accounts, Act, Driver, Readiness, Rewards, SEEN_MAX, Seen};
use crate::clients::{Clients, request_id};
use crate::stack::{Access, NETWORK};
use crate::wait::until;

/// The frontend, its user, and the operator who watches the user's node.
#[derive(Debug)]
pub struct Prepared {
    rpc: JsonRpc,
    /// Nodes are registered by operators; there is no JSON-RPC for it.
    operator: Clients,
    owner: Wallet,
    signer: Wallet,
    name: String,
    id: String,
}

impl Prepared {
    /// A frontend with a new user, whose sequencer will have this name.
    ///
    /// # Errors
    /// When the stack has no API key, which it has once its services run.
    pub fn new(access: &Access, name: &str) -> Result<Self> {
        let key = access.api_key.as_deref().context("the stack has no API key yet")?;
        Ok(Self {
            rpc: JsonRpc::new(&access.gateway, key)?,
            operator: Clients::of(access)?,
            owner: Wallet::create(access.l1.link.clone())?,
            signer: Wallet::create(access.l1.link.clone())?,
            name: name.to_owned(),
            id: String::new(),
        })
    }

    /// Id of the sequencer in the register; empty before it is registered.
    pub fn id(&self) -> &str {
        &self.id
    }

    async fn operation(&self, id: &str) -> Result<Value> {
        Ok(self.rpc.call("sequencer_operation", json!({ "id": id })).await?["operation"].take())
    }

    /// Waits until the transaction with this place is in a block, or the operation is over.
    async fn mined(&self, id: &str, place: usize) -> Result<()> {
        until("the transaction is mined", SEEN_MAX, || async {
            let operation = self.operation(id).await?;
            let state = operation["transactions"][place]["state"].as_str().unwrap_or_default().to_owned();
            ensure!(
                matches!(state.as_str(), "MINED" | "CONFIRMED"),
                "it is {state}: {}",
                operation["reason"]
            );
            Ok(())
        })
        .await
    }

    async fn sign_and_send(&self, id: &str, asked: &Value, ourselves: bool) -> Result<()> {
        let signed = self.owner.sign(asked).await?;
        let submission = if ourselves {
            self.owner.send(&signed).await?;
            json!({ "operationId": id, "transactionHash": signed.hash })
        } else {
            json!({ "operationId": id, "rawTransaction": signed.raw })
        };
        self.rpc.call("sequencer_submit", submission).await.map(drop)
    }
}

impl Driver for Prepared {
    async fn create_keys(&mut self) -> Result<Accounts> {
        Ok(Accounts { owner: self.owner.address(), signer: self.signer.address() })
    }

    async fn prove_backup(&mut self) -> Result<String> {
        ensure!(self.owner.restores() && self.signer.restores(), "a key cannot be read back");
        Ok("2 keys read back by the wallet".to_owned())
    }

    async fn register(&mut self, recipient: Address) -> Result<()> {
        let params = json!({
            "requestId": request_id(),
            "network": NETWORK,
            "name": self.name,
            "ownerAddress": self.owner.address().to_string(),
            "signerPubkey": self.signer.public_key().listing(),
            "rewardRecipient": recipient.to_string(),
            "labels": { "fleet": "dev" },
            "listing": {
                "name": self.name,
                "description": "A sequencer of somebody else.",
                "avatar": format!("{}.png", self.name),
                "url": "https://frontend.example",
            },
        });
        let answer = self.rpc.call("sequencer_register", params).await?;
        self.id = answer["sequencer"]["id"].as_str().context("the id of the sequencer")?.to_owned();
        Ok(())
    }

    async fn listing(&mut self) -> Result<String> {
        let answer = self.rpc.call("sequencer_listing", json!({ "sequencer": self.id })).await?;
        let failing = names_of_failing(&answer["checks"]);
        ensure!(failing.is_empty(), "the entry breaks {failing:?}");
        Ok(answer["json"].as_str().context("the entry")?.to_owned())
    }

    async fn register_node(&mut self, endpoints: Endpoints) -> Result<()> {
        let Endpoints { themis_rpc, themis_rest, bridge, l2geth, dtl } = endpoints;
        let request = RegisterNodeRequest {
            request_id: request_id(),
            network: NETWORK.to_owned(),
            name: self.name.clone(),
            signer: self.signer.address().to_string(),
            endpoints: Some(NodeEndpoints { themis_rpc, themis_rest, bridge, l2geth, dtl }),
            validate_only: false,
        };
        self.operator.nodes.register_node(request).await?;
        Ok(())
    }

    async fn node(&mut self) -> Result<Readiness> {
        let params = json!({ "network": NETWORK, "signer": self.signer.address().to_string() });
        let node = self.rpc.call("node_get", params).await?["node"].take();
        Ok(Readiness {
            ready_to_lock: node["readyToLock"].as_bool().context("the verdict")?,
            stopped_by: names_of_failing(&node["checks"]),
        })
    }

    async fn act(&mut self, act: Act) -> Result<()> {
        // Some wallets hand over what they signed, others send it themselves: both ways are gone.
        let ourselves = matches!(act, Act::Increase(_) | Act::Withdraw(_));
        let operation = match act {
            Act::Lock(amount) => json!({ "kind": "lock", "amountWei": amount.hex_quantity() }),
            Act::Increase(amount) => json!({ "kind": "increase", "amountWei": amount.hex_quantity() }),
            Act::Withdraw(amount) => json!({ "kind": "withdraw", "amountWei": amount.hex_quantity() }),
            Act::Claim => json!({ "kind": "claim" }),
            Act::Unlock => json!({ "kind": "unlock" }),
            Act::WithdrawFinal => json!({ "kind": "withdraw_final" }),
        };
        let params = json!({ "sequencer": self.id, "operation": operation, "requestId": request_id() });
        let prepared = self.rpc.call("sequencer_prepare", params).await?;
        let id = prepared["operationId"].as_str().context("the id of the operation")?.to_owned();
        let transactions = prepared["sendTransaction"].as_array().context("what to sign")?;
        for (place, asked) in transactions.iter().enumerate() {
            self.sign_and_send(&id, asked, ourselves).await?;
            self.mined(&id, place).await?;
        }
        until("the operation is confirmed", SEEN_MAX, || async {
            let operation = self.operation(&id).await?;
            let state = operation["state"].as_str().unwrap_or_default().to_owned();
            ensure!(state == "CONFIRMED", "it is {state}: {}", operation["reason"]);
            Ok(())
        })
        .await
    }

    async fn sequencer(&mut self) -> Result<Seen> {
        let seen = self.rpc.call("sequencer_get", json!({ "id": self.id })).await?["sequencer"].take();
        let id = seen["sequencerId"].as_str().map(str::parse).transpose().context("the id on chain")?;
        let time = seen["withdrawableTime"].as_str().map(|text| OffsetDateTime::parse(text, &Rfc3339));
        let time = time.transpose().context("the time of the withdrawal")?;
        Ok(Seen {
            phase: seen["phase"].as_str().context("the phase")?.to_owned(),
            sequencer_id: id,
            locked: if seen["lockedWei"].is_null() { Metis::ZERO } else { metis(&seen["lockedWei"])? },
            withdrawable_at: time.map(|time| u64::try_from(time.unix_timestamp())).transpose()?,
        })
    }

    async fn rewards(&mut self) -> Result<Rewards> {
        let id = self.sequencer().await?.sequencer_id.context("it has no id on chain yet")?;
        let params = json!({ "network": NETWORK, "sequencerId": id.to_string() });
        let balance = self.rpc.call("rewards_balance", params).await?["balance"].take();
        Ok(Rewards {
            accrued: metis(&balance["accruedWei"])?,
            unclaimed: metis(&balance["unclaimedWei"])?,
            claimed: metis(&balance["claimedWei"])?,
            paid_at_exit: metis(&balance["paidAtExitWei"])?,
        })
    }

    async fn history(&mut self) -> Result<Vec<String>> {
        let params = json!({ "sequencer": self.id, "pageSize": 100 });
        let answer = self.rpc.call("sequencer_history", params).await?;
        let transitions = answer["transitions"].as_array().context("the transitions")?;
        let phase = |change: &Value| change["to"].as_str().map(str::to_owned).context("a phase");
        transitions.iter().map(phase).collect()
    }
}

fn names_of_failing(checks: &Value) -> Vec<String> {
    let failing = checks.as_array().into_iter().flatten().filter(|check| check["verdict"] == "FAIL");
    failing.filter_map(|check| check["name"].as_str().map(str::to_owned)).collect()
}

/// A 0x quantity of wei.
fn metis(value: &Value) -> Result<Metis> {
    let Some(text) = value.as_str() else { bail!("{value} is no amount") };
    let digits = text.strip_prefix("0x").with_context(|| format!("{text} is no quantity"))?;
    Ok(Metis(U256::from_str_radix(digits, 16).with_context(|| format!("{text} is no quantity"))?))
}
