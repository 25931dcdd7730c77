//! An installation of the keys service: a Postgres, certificates, a configuration, and the process.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use alloy_primitives::U256;
use alloy_sol_types::{SolCall, sol};
use anyhow::{Context, Result, ensure};
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::keys::v1::{
    CreateKeyRequest, Key, KeyRole, ListKeysRequest, SignTransactionRequest, SignTransactionResponse,
    SigningIntent,
};
use api::types::v1::UnsignedTransaction;
use domain::network::NetworkSpec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::client::{self, Peer};
use runtime::tls::{Tls, TlsConfig};
use testkit::postgres::Options;
use testkit::{Cluster, Pki, free_port, wait_until};
use tokio::process::{Child, Command};

use crate::postgres::role_url;
use crate::program::beside;

const TRUST_DOMAIN: &str = "metis.local";
const NETWORK: &str = "sepolia";
/// Far beyond every target.
const READY_MAX: Duration = Duration::from_secs(60);

sol! {
    function approve(address spender, uint256 value) external returns (bool);
}

/// A client of one identity.
pub type Client = KeysServiceClient<Peer>;

/// Everything but the process.
pub struct Installation {
    folder: tempfile::TempDir,
    pki: Pki,
    listen: String,
    admin: String,
    cluster: Cluster,
}

/// A process that is ready; killed when dropped.
pub struct Running {
    child: Child,
    pub operator: Client,
    pub lifecycle: Client,
}

impl Installation {
    /// With this kind of key-encryption key.
    pub async fn make(kind: &str, secret: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("metis-bench-").tempdir().context("making a folder")?;
        // As root the server's user must get through.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        let options = Options { dir: Some(folder.path().join("postgres")), durable: true };
        let cluster = Cluster::start(options).await.context("starting PostgreSQL")?;
        let pki = Pki::new(folder.path().join("certs"), TRUST_DOMAIN)?;
        pki.identity("keys")?;
        let [listen, admin] = [free_port()?, free_port()?].map(|port| format!("127.0.0.1:{port}"));
        let made = Self { folder, pki, listen, admin, cluster };
        let admin_url = made.cluster.url().to_owned();
        fs::write(made.path("role.url"), role_url(&admin_url, "keys")?)?;
        fs::write(made.path("admin.url"), &admin_url)?;
        fs::write(made.path("secret"), secret)?;
        fs::write(made.path("seqd.toml"), made.configuration(kind))?;
        let mut migrate = Command::new(beside("seqd")?);
        let output = migrate.arg("migrate").arg("--config").arg(made.path("seqd.toml")).output().await?;
        ensure!(output.status.success(), "migrating: {}", String::from_utf8_lossy(&output.stderr));
        Ok(made)
    }

    fn configuration(&self, kind: &str) -> String {
        let [certs, admin, role, secret] =
            ["certs", "admin.url", "role.url", "secret"].map(|name| self.path(name));
        format!(
            "[telemetry]\nlog_format = \"json\"\nlog_filter = \"warn\"\n\
             [tls]\ndir = {certs:?}\ntrust_domain = \"{TRUST_DOMAIN}\"\n\
             [database]\nadmin_url = {{ file = {admin:?} }}\nurls.keys = {{ file = {role:?} }}\n\
             [listen]\nkeys = \"{}\"\nadmin = \"{}\"\n\
             [networks.{NETWORK}]\npreset = \"sepolia\"\n\
             l1.rpc = [\"https://l1.example.invalid\"]\nl2.rpc = [\"https://l2.example.invalid\"]\n\
             [keys]\n{kind} = {{ file = {secret:?} }}\n",
            self.listen, self.admin
        )
    }

    /// Starts the service and waits until it is ready.
    pub async fn start(&self) -> Result<Running> {
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut command = Command::new(beside("seqd")?);
        command.arg("keys").arg("--config").arg(self.path("seqd.toml")).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("starting seqd")?;
        wait_until("the service is ready", READY_MAX, || self.is_ready()).await;
        Ok(Running { child, operator: self.client("operator/bench")?, lifecycle: self.client("lifecycle")? })
    }

    async fn is_ready(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(&self.admin).await else { return false };
        let asked =
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        let mut answer = String::new();
        asked.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }

    fn client(&self, name: &str) -> Result<Client> {
        let identity = self.pki.identity(name)?;
        let tls = Tls::load(&TlsConfig {
            cert: identity.certificate,
            key: identity.key,
            ca: self.pki.ca(),
            trust_domain: TRUST_DOMAIN.to_owned(),
        })?;
        let channel = client::channel(&self.listen, "keys", tls);
        Ok(KeysServiceClient::new(channel.with_methods(api::methods::grpc())))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("the service runs")
    }

    /// Stops it at once: state is in Postgres.
    pub async fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid()?.try_into()?), Signal::SIGKILL)?;
        self.child.wait().await?;
        Ok(())
    }
}

/// Makes a key.
pub async fn create(operator: &Client, name: String) -> Result<Key> {
    let request = CreateKeyRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        name,
        role: KeyRole::Owner.into(),
        ..CreateKeyRequest::default()
    };
    operator.clone().create_key(request).await?.into_inner().key.context("the key that was made")
}

/// All keys, page by page.
pub async fn keys(operator: &Client) -> Result<Vec<Key>> {
    let mut all = Vec::new();
    let mut request = ListKeysRequest { page_size: 500, ..ListKeysRequest::default() };
    loop {
        let page = operator.clone().list_keys(request.clone()).await?.into_inner();
        all.extend(page.keys);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        request.page_token = page.next_page_token;
    }
}

/// Signs an allowance of one METIS to LockingInfo, which the preset policy allows.
pub async fn sign(lifecycle: &Client, key: &Key, nonce: u64) -> Result<SignTransactionResponse> {
    let l1 = NetworkSpec::sepolia().l1;
    let value = U256::from(10).pow(U256::from(18));
    let data = approveCall { spender: l1.locking_info, value }.abi_encode();
    let request = SignTransactionRequest {
        key_id: key.id.clone(),
        network: NETWORK.to_owned(),
        transaction: Some(UnsignedTransaction {
            chain_id: l1.chain_id,
            from: key.public_key.clone().context("the public key")?.address,
            to: l1.metis.to_string(),
            nonce: Some(nonce),
            value_wei: "0".to_owned(),
            data: format!("0x{}", hex::encode(data)),
            gas_limit: 500_000,
            max_fee_per_gas_wei: "20000000000".to_owned(),
            max_priority_fee_per_gas_wei: "1000000000".to_owned(),
        }),
        intent: SigningIntent::New.into(),
        operation_id: "bench".to_owned(),
        approved_value_wei_max: String::new(),
    };
    Ok(lifecycle.clone().sign_transaction(request).await?.into_inner())
}
