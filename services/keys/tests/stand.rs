//! A keys service on a database of its own, with clients for an operator and for lifecycle.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, U256, address};
use alloy_sol_types::SolCall;
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::keys::v1::{
    CreateKeyRequest, GetPolicyRequest, Key, KeyRole, Policy, SetPolicyRequest, SignTransactionRequest,
    SignTransactionResponse, SigningIntent,
};
use api::types::v1::UnsignedTransaction;
use keys::config::Rights;
use keys::{Config, Contracts, Ports};
use runtime::client::{self, Peer};
use runtime::config::Secret;
use runtime::errors::{Decoded, refusal_of};
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use runtime::tls::{Tls, TlsConfig};
use sea_orm::DatabaseConnection;
use testkit::{Pki, TestDb};
use tokio::net::TcpListener;
use tonic::Status;

pub const NETWORK: &str = "devnet";
pub const CHAIN_ID: u64 = 31337;
pub const POOL: Address = address!("00000000000000000000000000000000000000a1");
pub const INFO: Address = address!("00000000000000000000000000000000000000a2");
pub const METIS: Address = address!("00000000000000000000000000000000000000a3");
pub const STRANGER: Address = address!("00000000000000000000000000000000000000ff");
/// A key-encryption key, and so a canary: it must never be seen anywhere.
pub const KEK: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

pub type Client = KeysServiceClient<Peer>;

pub struct Stand {
    pub operator: Client,
    /// Another operator.
    pub colleague: Client,
    pub lifecycle: Client,
    pub gateway: Client,
    /// As the operator and as lifecycle, for requests that no generated client makes.
    pub manager: Peer,
    pub signer: Peer,
    pub health: Health,
    shutdown: Shutdown,
    _certificates: tempfile::TempDir,
}

pub fn config() -> Config {
    Config { kek: Some(Secret::new(KEK.to_owned())), ..Config::default() }
}

/// With every right for the operator.
pub fn trusting() -> Config {
    let alice = vec!["operator:alice".to_owned()];
    let rights = Rights { export_node_key: alice.clone(), export_keystore: alice };
    Config { rights, ..config() }
}

pub fn contracts() -> BTreeMap<String, Contracts> {
    let contracts = Contracts { chain_id: CHAIN_ID, locking_pool: POOL, locking_info: INFO, metis: METIS };
    BTreeMap::from([(NETWORK.to_owned(), contracts)])
}

impl Stand {
    pub async fn start(db: &TestDb) -> Self {
        Self::with(db, config()).await
    }

    pub async fn with(db: &TestDb, config: Config) -> Self {
        Self::on(db.connect("keys").await, config).await
    }

    /// On a connection of one's own.
    pub async fn on(database: DatabaseConnection, config: Config) -> Self {
        runtime::install_crypto_provider();
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::new(directory.path(), "metis.test").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let health = Health::new();
        let ports = Ports { listener, tls: tls(&pki, "keys"), database, health: health.clone() };
        let shutdown = Shutdown::new();
        let service = keys::build(config, contracts(), ports).await.unwrap();
        let run = service.run(shutdown.clone());
        shutdown.spawn("keys", async move { run.await.unwrap() });
        let peer =
            |name: &str| client::channel(target, "keys", tls(&pki, name)).with_methods(api::methods::grpc());
        let client = |name: &str| KeysServiceClient::new(peer(name));
        Self {
            operator: client("operator:alice"),
            colleague: client("operator:bob"),
            lifecycle: client("lifecycle"),
            gateway: client("gateway"),
            manager: peer("operator:alice"),
            signer: peer("lifecycle"),
            health,
            shutdown,
            _certificates: directory,
        }
    }

    pub async fn stop(self) {
        self.shutdown.stop();
        self.shutdown.finish().await.unwrap();
    }

    pub async fn create(&self, name: &str, role: KeyRole) -> Key {
        let request = CreateKeyRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            name: name.to_owned(),
            role: role.into(),
            ..CreateKeyRequest::default()
        };
        self.operator.clone().create_key(request).await.unwrap().into_inner().key.unwrap()
    }

    pub async fn sign(&self, request: SignTransactionRequest) -> Result<SignTransactionResponse, Decoded> {
        self.lifecycle
            .clone()
            .sign_transaction(request)
            .await
            .map(|r| r.into_inner())
            .map_err(|s| refusal(&s))
    }
}

/// A place to be served at, for a service that is built and not run.
pub async fn ports(database: DatabaseConnection) -> Ports {
    runtime::install_crypto_provider();
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::new(directory.path(), "metis.test").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Ports { listener, tls: tls(&pki, "keys"), database, health: Health::new() }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

/// Sets a policy with these rules on [`contracts`], in place of the one in force.
pub async fn set_rules(stand: &Stand, head: &str, rules: &str) {
    let in_force = stand.operator.clone().get_policy(GetPolicyRequest {}).await.unwrap().into_inner();
    let expected_version = in_force.policy.unwrap().version;
    let set = SetPolicyRequest { toml: document(head, rules), expected_version, validate_only: false };
    stand.operator.clone().set_policy(set).await.unwrap();
}

/// The policy in force without its bounds of ETH, for tests that sign more than anybody should.
pub async fn lift_eth_windows(stand: &Stand) {
    let in_force = stand.operator.clone().get_policy(GetPolicyRequest {}).await.unwrap().into_inner();
    let Policy { toml, version: expected_version, .. } = in_force.policy.unwrap();
    let kept = toml.lines().filter(|line| !line.starts_with("eth_24h_wei_max"));
    let toml = kept.map(|line| format!("{line}\n")).collect();
    let set = SetPolicyRequest { toml, expected_version, validate_only: false };
    stand.operator.clone().set_policy(set).await.unwrap();
}

/// A document of format 2 with these rules on [`contracts`].
pub fn document(head: &str, rules: &str) -> String {
    format!(
        "format = 2\n{head}\n[contracts.{NETWORK}]\nchain_id = {CHAIN_ID}\nlocking_pool = \"{POOL}\"\n\
         locking_info = \"{INFO}\"\nmetis = \"{METIS}\"\n{rules}"
    )
}

/// A rule that allows these functions to owner keys on the network, with these other lines.
pub fn rule(name: &str, functions: &str, lines: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\nnetworks = [\"{NETWORK}\"]\nfunctions = [{functions}]\n\
         max_fee_per_gas_wei = \"500000000000\"\nmax_total_fee_wei = \"300000000000000000\"\n\
         keys = {{ role = \"owner\" }}\n{lines}\n"
    )
}

pub fn tls(pki: &Pki, name: &str) -> Arc<Tls> {
    let identity = pki.identity(name).unwrap();
    Tls::load(&TlsConfig {
        cert: identity.certificate,
        key: identity.key,
        ca: pki.ca(),
        trust_domain: "metis.test".to_owned(),
    })
    .unwrap()
}

pub fn refusal(status: &Status) -> Decoded {
    refusal_of(status).unwrap_or_else(|| panic!("no refusal of ours: {status:?}"))
}

pub fn address_of(key: &Key) -> Address {
    key.public_key.as_ref().unwrap().address.parse().unwrap()
}

pub fn metis(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10).pow(U256::from(18))
}

/// A request that the preset allows, to be changed by tests.
pub fn request(key: &Key, to: Address, call: &impl SolCall, nonce: u64) -> SignTransactionRequest {
    SignTransactionRequest {
        key_id: key.id.clone(),
        network: NETWORK.to_owned(),
        transaction: Some(UnsignedTransaction {
            chain_id: CHAIN_ID,
            from: address_of(key).to_string(),
            to: to.to_string(),
            nonce: Some(nonce),
            value_wei: "0".to_owned(),
            data: format!("0x{}", hex::encode(call.abi_encode())),
            gas_limit: 500_000,
            max_fee_per_gas_wei: "20000000000".to_owned(),
            max_priority_fee_per_gas_wei: "1000000000".to_owned(),
        }),
        intent: SigningIntent::New.into(),
        operation_id: "op-1".to_owned(),
        approved_value_wei_max: String::new(),
    }
}

/// The same request with other fees.
pub fn with_fees(
    mut request: SignTransactionRequest,
    max: u64,
    priority: u64,
    intent: SigningIntent,
) -> SignTransactionRequest {
    let transaction = request.transaction.as_mut().unwrap();
    transaction.max_fee_per_gas_wei = max.to_string();
    transaction.max_priority_fee_per_gas_wei = priority.to_string();
    request.intent = intent.into();
    request
}
