//! Secrets that the system is given or makes, and a search for them in everything it has written.

use std::fs;

use age::secrecy::ExposeSecret;
use anyhow::{Context, Result, bail, ensure};
use api::keys::v1::import_key_request::Material;
use api::keys::v1::{BackupKeysRequest, ImportKeyRequest, KeyRole, VerifyBackupRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dev::clients::request_id;
use serde_json::json;
use std::sync::Mutex;
use testkit::contracts::secret;

use crate::process::Seqd;
use crate::stage::Stage;

/// Shorter ones would be found by chance.
const SECRET_CHARS_MIN: usize = 16;

/// What must not be found, and what was heard beside the log.
#[derive(Debug)]
pub struct Canary {
    secrets: Vec<(String, String)>,
    heard: Mutex<String>,
}

impl Canary {
    /// Uses every kind of secret once: an imported key, a drill with an age identity, an API key, and those that the
    /// configuration refers to.
    pub async fn plant(stage: &Stage) -> Result<Self> {
        let mut canary = Self { secrets: Vec::new(), heard: Mutex::default() };
        canary.configured(stage)?;
        canary.imported(stage).await?;
        let (frontend, key) = stage.frontend().await?;
        // Once as it should be, and once in a call that is refused.
        frontend.call("sequencer_list", json!({ "network": "devnet" })).await?;
        let refused = frontend.ask("sequencer_cancel", json!({ "id": "nobody" })).await?;
        ensure!(refused.is_err(), "nobody was cancelled");
        let secret = key.rsplit('_').next().context("the secret part of an API key")?;
        canary.secret("API key", secret)?;
        Ok(canary)
    }

    /// Reads what the process shows on its admin port.
    pub async fn listen(&self, seqd: &Seqd) -> Result<()> {
        let heard = format!("{}{}", seqd.metrics().await?, seqd.ready_body().await);
        self.heard.lock().expect("nobody panics with it").push_str(&heard);
        Ok(())
    }

    /// No secret was written anywhere.
    pub fn is_silent(&self, stage: &Stage) -> Result<()> {
        let log = fs::read_to_string(stage.log()).context("reading the log")?;
        let everything =
            log.contains("listens on") && log.contains("TRACE") && log.contains("INSERT INTO keys.key");
        ensure!(everything, "too little was logged to prove anything: {} bytes", log.len());
        let said = format!("{log}{}", self.heard.lock().expect("nobody panics with it")).to_lowercase();
        for (name, secret) in &self.secrets {
            // Not the text: this message is a log, too.
            if let Some(at) = said.find(&secret.to_lowercase()) {
                bail!("the {name} was written, at character {at}");
            }
        }
        Ok(())
    }

    fn secret(&mut self, name: &str, text: &str) -> Result<()> {
        ensure!(text.len() >= SECRET_CHARS_MIN, "the {name} is too short to be searched for");
        self.secrets.push((name.to_owned(), text.to_owned()));
        Ok(())
    }

    fn configured(&mut self, stage: &Stage) -> Result<()> {
        let config = stage.world.config();
        for (service, url) in &config.database.urls {
            let url = url.expose()?;
            let (credentials, _) = url.rsplit_once('@').context("a URL with credentials")?;
            let (_, password) = credentials.rsplit_once(':').context("a URL with a password")?;
            self.secret(&format!("database password of {service}"), password)?;
        }
        let kek = config.keys.kek.as_ref().context("there is a key-encryption key")?.expose()?;
        self.secret("key-encryption key", &kek)
    }

    async fn imported(&mut self, stage: &Stage) -> Result<()> {
        let raw = secret("canary").to_bytes().to_vec();
        self.secret("private key as hex", &hex::encode(&raw))?;
        self.secret("private key as base64", STANDARD.encode(&raw).trim_end_matches('='))?;
        self.secret("private key as numbers", format!("{raw:?}").trim_matches(['[', ']']))?;
        let request = ImportKeyRequest {
            request_id: request_id(),
            name: "canary".to_owned(),
            role: KeyRole::Owner.into(),
            labels: [].into(),
            material: Some(Material::Raw(raw.into())),
            expected_address: String::new(),
            validate_only: false,
        };
        let mut keys = stage.clients.keys.clone();
        let key = keys.import_key(request).await?.into_inner().key.context("the key")?;
        let identity = age::x25519::Identity::generate();
        let recipients = vec![identity.to_public().to_string()];
        let backup = BackupKeysRequest { key_ids: vec![key.id], recipients, labels: [].into() };
        let archive = keys.backup_keys(backup).await?.into_inner().archive;
        let identity = identity.to_string();
        self.secret("age identity", identity.expose_secret())?;
        let drill = VerifyBackupRequest { archive, identity: identity.expose_secret().to_owned() };
        keys.verify_backup(drill).await?;
        Ok(())
    }
}
