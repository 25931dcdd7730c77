//! The process: its configuration, its life, and how to speak with it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alloy_primitives::U256;
use alloy_sol_types::{SolCall, sol};
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::keys::v1::{Key, ListKeysRequest, SignTransactionRequest, SignTransactionResponse, SigningIntent};
use api::types::v1::UnsignedTransaction;
use domain::network::NetworkSpec;
use runtime::client::{self, Peer};
use runtime::tls::{Tls, TlsConfig};
use testkit::{Pki, TestDb, wait_until};
use tonic::Status;

const TRUST_DOMAIN: &str = "metis.test";
const NETWORK: &str = "sepolia";
/// The server is shared with every other test of this machine.
const CONNECTIONS: u32 = 4;
/// A debug build on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

sol! {
    function approve(address spender, uint256 value) external returns (bool);
}

pub type Client = KeysServiceClient<Peer>;

/// A folder with certificates, secrets and logs, and the addresses of a service.
pub struct Place {
    pub folder: tempfile::TempDir,
    pki: Pki,
    listen: String,
    admin: String,
}

/// A running service; killed when dropped.
pub struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As by `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Place {
    pub fn new(db: &TestDb) -> Self {
        runtime::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path().join("certs"), TRUST_DOMAIN).unwrap();
        for name in ["keys", "operator/alice", "lifecycle"] {
            pki.identity(name).unwrap();
        }
        let place = Self { folder, pki, listen: free_address(), admin: free_address() };
        fs::write(place.path("database"), db.url_for("keys")).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration; `section` is what stands under `[keys]`.
    pub fn configure(&self, section: &str) {
        let text = format!(
            "[telemetry]\nlog_format = \"json\"\nlog_filter = \"trace\"\n\
             [tls]\ndir = {:?}\ntrust_domain = \"{TRUST_DOMAIN}\"\n\
             [database]\nconnections = {CONNECTIONS}\nurls.keys = {{ file = {:?} }}\n\
             [listen]\nkeys = \"{}\"\nadmin = \"{}\"\n\
             [networks.{NETWORK}]\npreset = \"sepolia\"\n\
             l1.rpc = [\"https://l1.example.invalid\"]\nl2.rpc = [\"https://l2.example.invalid\"]\n\
             [keys]\n{section}\n",
            self.path("certs"),
            self.path("database"),
            self.listen,
            self.admin
        );
        fs::write(self.path("seqd.toml"), text).unwrap();
    }

    /// Starts the service; what it writes goes to the file `log`.
    pub async fn start(&self) -> Process {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_seqd"));
        command.arg("keys").arg("--config").arg(self.path("seqd.toml"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = Process { child: command.spawn().unwrap() };
        let http = http();
        let ready = format!("http://{}/readyz", self.admin);
        wait_until("the service is ready", SOON, || async {
            http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        process
    }

    pub async fn metrics(&self) -> String {
        http().get(format!("http://{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap()
    }

    pub fn log(&self) -> Vec<u8> {
        fs::read(self.path("log")).unwrap()
    }

    pub fn client(&self, name: &str) -> Client {
        let identity = self.pki.identity(name).unwrap();
        let tls = Tls::load(&TlsConfig {
            cert: identity.certificate,
            key: identity.key,
            ca: self.pki.ca(),
            trust_domain: TRUST_DOMAIN.to_owned(),
        });
        let channel = client::channel(&self.listen, "keys", tls.unwrap());
        KeysServiceClient::new(channel.with_methods(api::methods::grpc()))
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap()
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Every key, in order of creation.
pub async fn keys(operator: &Client) -> Vec<Key> {
    let mut all = Vec::new();
    let mut request = ListKeysRequest { page_size: 500, ..ListKeysRequest::default() };
    loop {
        let page = operator.clone().list_keys(request.clone()).await.unwrap().into_inner();
        all.extend(page.keys);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// Signs an allowance of one METIS to LockingInfo, which the preset policy allows.
pub async fn sign(lifecycle: &Client, key: &Key, nonce: u64) -> Result<SignTransactionResponse, Status> {
    let l1 = NetworkSpec::sepolia().l1;
    let value = U256::from(10).pow(U256::from(18));
    let data = approveCall { spender: l1.locking_info, value }.abi_encode();
    let request = SignTransactionRequest {
        key_id: key.id.clone(),
        network: NETWORK.to_owned(),
        transaction: Some(UnsignedTransaction {
            chain_id: l1.chain_id,
            from: key.public_key.clone().unwrap().address,
            to: l1.metis.to_string(),
            nonce: Some(nonce),
            value_wei: "0".to_owned(),
            data: format!("0x{}", hex::encode(data)),
            gas_limit: 500_000,
            max_fee_per_gas_wei: "20000000000".to_owned(),
            max_priority_fee_per_gas_wei: "1000000000".to_owned(),
        }),
        intent: SigningIntent::New.into(),
        operation_id: "op-1".to_owned(),
        approved_value_wei_max: String::new(),
    };
    Ok(lifecycle.clone().sign_transaction(request).await?.into_inner())
}
