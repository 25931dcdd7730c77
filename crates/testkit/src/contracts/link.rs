//! A connection to an anvil: calls, transactions from anyone, and the chain's clock.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use chain::rpc::{Ask, BlockId, Endpoint, EndpointUrl, Header, Receipt, call};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::Error;

/// Nothing that is deployed or done here needs more.
const GAS: u64 = 5_000_000;
/// L2 has no base fee, and takes no transaction without a price.
const LEGACY_GAS_PRICE: u64 = 1_000_000_000;
/// ETH that an impersonated sender is topped up to when it cannot pay for gas.
const GAS_MONEY: u128 = 10_000_000_000_000_000_000;
const CALL_MAX: Duration = Duration::from_secs(30);
/// Automine answers before its block is there.
const MINED_MAX: Duration = Duration::from_secs(10);
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// Transactions that fill several blocks are mined in as many.
const BLOCKS_MAX: u32 = 50;

/// A connection to an anvil, cheap to clone. As JSON it is the URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Link {
    url: String,
    endpoint: Endpoint,
    http: reqwest::Client,
}

/// Something to be done on the chain by someone.
#[derive(Debug, Clone)]
pub struct Action {
    /// What it is, for errors.
    pub name: &'static str,
    /// Who does it; needs no key.
    pub from: Address,
    /// The contract; none creates one.
    pub to: Option<Address>,
    /// Calldata, or the code of the new contract.
    pub data: Bytes,
    /// Native value sent along.
    pub value: U256,
}

impl Action {
    /// A call of a contract's function.
    pub fn call<C: SolCall>(from: Address, to: Address, call: &C) -> Self {
        let name = C::SIGNATURE.split('(').next().unwrap_or(C::SIGNATURE);
        Self { name, from, to: Some(to), data: call.abi_encode().into(), value: U256::ZERO }
    }

    /// The same with native value.
    pub fn paying(self, value: U256) -> Self {
        Self { value, ..self }
    }

    fn request(&self, legacy: bool) -> Value {
        let Self { name: _, from, to, data, value } = self;
        let mut request = json!({ "from": from, "data": data, "value": value, "gas": format!("{GAS:#x}") });
        if let Some(to) = to {
            request["to"] = json!(to);
        }
        if legacy {
            request["gasPrice"] = json!(format!("{LEGACY_GAS_PRICE:#x}"));
        }
        request
    }
}

impl Link {
    /// A connection to the anvil at `url`.
    ///
    /// # Errors
    /// When this is no URL, or one of another machine.
    pub fn to(url: &str) -> Result<Self, Error> {
        let parsed: EndpointUrl = url.parse().map_err(|_| Error::NotAUrl(url.to_owned()))?;
        // It sends as anyone and turns the clock: what is not on this machine is none of its business.
        if !is_loopback(url) {
            return Err(Error::NotLoopback(parsed.to_string()));
        }
        let endpoint =
            Endpoint::new(url, parsed).map_err(|source| Error::Ask { what: "connecting", source })?;
        let http = reqwest::Client::builder().no_proxy().timeout(CALL_MAX).build();
        let http = http.expect("a client without TLS settings can be built");
        Ok(Self { url: url.to_owned(), endpoint, http })
    }

    /// URL of the anvil.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls a JSON-RPC method.
    ///
    /// # Errors
    /// When the node does not answer, answers with an error, or with something else than `T`.
    pub async fn rpc<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, Error> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = self.forward(&call).await?;
        if let Some(error) = answer.get_mut("error") {
            return Err(Error::RpcRefused { method: method.to_owned(), error: error.take() });
        }
        let result = answer["result"].take();
        serde_json::from_value(result).map_err(|source| Error::Answer { method: method.to_owned(), source })
    }

    /// Passes a JSON-RPC envelope on and gives back the node's, whatever it says.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn forward(&self, envelope: &Value) -> Result<Value, Error> {
        let failed = |source| Error::Rpc { method: envelope["method"].to_string(), source };
        let answer = self.http.post(&self.url).json(envelope).send().await.map_err(failed)?;
        answer.json().await.map_err(failed)
    }

    /// Asks one of the typed questions of `chain`.
    ///
    /// # Errors
    /// When the node does not answer, or refuses.
    pub async fn ask<A: Ask>(&self, what: &'static str, ask: A) -> Result<A::Answer, Error> {
        self.endpoint.ask(&ask).await.map_err(|source| Error::Ask { what, source })
    }

    /// Calls a view function at the head.
    ///
    /// # Errors
    /// When the node does not answer, or the call reverts.
    pub async fn view<C: SolCall>(&self, contract: Address, function: &C) -> Result<C::Return, Error> {
        self.ask(C::SIGNATURE, call::view(contract, function, BlockId::Latest)).await
    }

    /// The newest block.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn head(&self) -> Result<Header, Error> {
        let head = self.ask("reading the head", call::header(BlockId::Latest)).await?;
        head.ok_or(Error::Unmined("the head"))
    }

    /// Does something and gives its receipt.
    ///
    /// # Errors
    /// When it reverts, with the chain's reason, or cannot be sent.
    pub async fn act(&self, action: Action) -> Result<Receipt, Error> {
        let mut receipts = self.act_all(&[action]).await?;
        Ok(receipts.swap_remove(0))
    }

    /// Does several things, in as few blocks as they fit in. Those of one sender keep their order.
    ///
    /// # Errors
    /// When one reverts, with the chain's reason, or cannot be sent.
    pub async fn act_all(&self, actions: &[Action]) -> Result<Vec<Receipt>, Error> {
        let legacy = self.head().await?.base_fee_per_gas.is_none();
        let mut hashes = Vec::with_capacity(actions.len());
        let mut known = Vec::new();
        for action in actions {
            if !known.contains(&action.from) {
                self.enable(action.from).await?;
                known.push(action.from);
            }
            let hash: B256 = self.rpc("eth_sendTransaction", json!([action.request(legacy)])).await?;
            hashes.push((action.name, hash));
        }
        self.settle(&hashes).await?;
        let mut receipts = Vec::with_capacity(hashes.len());
        for (action, (name, hash)) in actions.iter().zip(hashes) {
            let receipt: Option<Receipt> = self.rpc("eth_getTransactionReceipt", json!([hash])).await?;
            let receipt = receipt.ok_or(Error::Unmined(name))?;
            if !receipt.succeeded() {
                return Err(self.why_reverted(action, legacy).await);
            }
            receipts.push(receipt);
        }
        Ok(receipts)
    }

    /// Lets an account send without a key, and gives it what gas costs if it has less.
    async fn enable(&self, account: Address) -> Result<(), Error> {
        self.rpc::<Value>("anvil_impersonateAccount", json!([account])).await?;
        let balance: U256 = self.rpc("eth_getBalance", json!([account, "latest"])).await?;
        if balance < U256::from(GAS_MONEY / 10) {
            self.set_balance(account, U256::from(GAS_MONEY)).await?;
        }
        Ok(())
    }

    /// Mines until all are in blocks.
    async fn settle(&self, hashes: &[(&'static str, B256)]) -> Result<(), Error> {
        let Some((name, _)) = hashes.last() else { return Ok(()) };
        let automine: bool = self.rpc("anvil_getAutomine", json!([])).await?;
        let (start, mut blocks) = (Instant::now(), 0);
        loop {
            // The last to be sent is not always the last to be mined, so all are looked at.
            let mut waiting = false;
            for (_, hash) in hashes {
                let receipt: Value = self.rpc("eth_getTransactionReceipt", json!([hash])).await?;
                waiting |= receipt.is_null();
                if waiting {
                    break;
                }
            }
            if !waiting {
                return Ok(());
            }
            if start.elapsed() > MINED_MAX || blocks > BLOCKS_MAX {
                return Err(Error::Unmined(name));
            }
            if automine {
                tokio::time::sleep(LOOK_PAUSE).await;
            } else {
                self.rpc::<Value>("evm_mine", json!([])).await?;
                blocks += 1;
            }
        }
    }

    /// A receipt has no reason; the same as a call fails with one.
    async fn why_reverted(&self, action: &Action, legacy: bool) -> Error {
        let call = self.rpc::<Value>("eth_call", json!([action.request(legacy), "latest"])).await;
        let said = match call {
            Err(Error::RpcRefused { error, .. }) => error.to_string(),
            Err(other) => other.to_string(),
            Ok(_) => "nothing, and it would not revert again".to_owned(),
        };
        Error::Reverted { action: action.name, said }
    }

    /// Sets the native balance of an account.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn set_balance(&self, account: Address, wei: U256) -> Result<(), Error> {
        self.rpc::<Value>("anvil_setBalance", json!([account, wei])).await.map(drop)
    }

    /// Native balance of an account.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn balance(&self, account: Address) -> Result<U256, Error> {
        self.rpc("eth_getBalance", json!([account, "latest"])).await
    }

    /// Mines so many blocks.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn mine(&self, blocks: u64) -> Result<Header, Error> {
        self.rpc::<Value>("anvil_mine", json!([format!("{blocks:#x}")])).await?;
        self.head().await
    }

    /// Lets so many seconds pass, and mines a block that says so.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn advance_time(&self, secs: u64) -> Result<Header, Error> {
        self.rpc::<Value>("evm_increaseTime", json!([secs])).await?;
        self.mine(1).await
    }

    /// Replaces the newest `depth` blocks by others. Transactions of theirs are gone, except those
    /// given here again: signed bytes and the place among the new blocks.
    ///
    /// # Errors
    /// When the node does not answer, or cannot go back so far.
    pub async fn reorg(&self, depth: u64, transactions: &[(Bytes, u64)]) -> Result<Header, Error> {
        self.rpc::<Value>("anvil_reorg", json!([depth, transactions])).await?;
        self.head().await
    }
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

impl TryFrom<String> for Link {
    type Error = Error;

    fn try_from(url: String) -> Result<Self, Error> {
        Self::to(&url)
    }
}

impl From<Link> for String {
    fn from(link: Link) -> Self {
        link.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chains_of_this_machine_are_played_with() {
        for url in
            ["http://127.0.0.1:8545", "http://localhost:1", "http://[::1]:8545/path", "http://127.9.9.9"]
        {
            Link::to(url).expect(url);
        }
        for url in
            ["https://mainnet.example", "http://10.0.0.1:8545", "http://127.0.0.1.example", "http://[::2]:1"]
        {
            assert!(matches!(Link::to(url), Err(Error::NotLoopback(_))), "{url}");
        }
        assert!(matches!(Link::to("127.0.0.1:8545"), Err(Error::NotAUrl(_))));
    }
}
