//! `seqctl keys`: made, backed up, proven, restored. Secrets come from files, stdin or prompts, never from flags.

mod at_rest;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::keys::v1::import_key_request::Material;
use api::keys::v1::{
    BackupKeysRequest, CreateKeyRequest, ExportNodeKeyRequest, ImportKeyRequest, Key, KeyRole, KeyState,
    KeystoreV3, ListKeysRequest, RestoreKeysRequest, VerifyBackupRequest,
};
use clap::{Args, Subcommand, ValueEnum};

use super::sequencer::key_id;
use super::{keys_backends, labels, request_id};
use crate::connect::Session;
use crate::output::{Printer, Rows, utc, word};

/// What to do with keys.
#[derive(Subcommand)]
pub enum Command {
    /// Makes a key inside the keys service, or in another of its backends.
    Create {
        #[command(flatten)]
        new: New,
        /// Name of the backend in the configuration of keys; without it the key is local.
        #[arg(long)]
        backend: Option<String>,
    },
    /// Takes in a key that a hardware module, a cloud or a remote signer has already.
    Attach(keys_backends::Attach),
    /// Vouches for the backup of a key that cannot leave its backend; stands for the restore drill.
    ConfirmBackup(keys_backends::ConfirmBackup),
    /// Takes in a key: raw hex from stdin, or a file.
    Import {
        #[command(flatten)]
        new: New,
        /// Keystore v3 or priv_validator_key.json; without it, 64 hex digits from stdin.
        #[arg(long)]
        file: Option<PathBuf>,
        /// Address that must come out.
        #[arg(long, default_value = "")]
        expect: String,
    },
    /// All keys.
    List,
    /// The rules that bound what is signed.
    #[command(subcommand)]
    Policy(super::keys_policy::Command),
    #[command(flatten)]
    Approval(super::keys_approval::Command),
    /// Writes an age archive for the given recipients.
    Backup {
        /// age1... recipients.
        #[arg(long = "recipient", required = true)]
        recipients: Vec<String>,
        /// Only these keys, by name.
        #[arg(long = "key")]
        keys: Vec<String>,
        /// Only keys with this label KEY=VALUE; may be repeated, then all must fit.
        #[arg(long = "label")]
        labels: Vec<String>,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// The restore drill: decrypts an archive and compares every address.
    VerifyBackup {
        /// The archive.
        archive: PathBuf,
        /// File with the age identity; without it, asked for or read from stdin.
        #[arg(long)]
        identity: Option<PathBuf>,
    },
    /// Takes the keys of an archive into this installation.
    Restore {
        /// The archive.
        archive: PathBuf,
        /// File with the age identity; without it, asked for or read from stdin.
        #[arg(long)]
        identity: Option<PathBuf>,
        /// Run every check, store nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// After keys or an older database were restored: from which nonce on the key signs again.
    ConfirmFloor(super::confirm_floor::ConfirmFloor),
    /// The node's files, encrypted for the node's age recipient.
    ExportNode {
        /// Name of the key.
        name: String,
        /// age1... recipient of the node.
        #[arg(long)]
        recipient: String,
        /// node_key.json of an existing node, which then keeps its id.
        #[arg(long)]
        node_key: Option<PathBuf>,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    #[command(flatten)]
    AtRest(at_rest::Command),
}

/// A new key.
#[derive(Args)]
pub struct New {
    /// Name, 1 to 63 of a-z, 0-9 and -.
    pub name: String,
    /// What it is for.
    #[arg(long)]
    pub role: Role,
    /// Label KEY=VALUE; may be repeated.
    #[arg(long = "label")]
    pub labels: Vec<String>,
}

/// What a key is for.
#[derive(Clone, Copy, ValueEnum)]
pub enum Role {
    /// Holds METIS.
    Owner,
    /// The node's key.
    Sequencer,
}

impl From<Role> for i32 {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => KeyRole::Owner.into(),
            Role::Sequencer => KeyRole::Sequencer.into(),
        }
    }
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    match command {
        Command::Attach(arguments) => keys_backends::attach(arguments, session, out).await,
        Command::ConfirmBackup(arguments) => keys_backends::confirm(arguments, session, out).await,
        Command::Create { new, backend } => create(new, backend, session, out).await,
        Command::Import { new: New { name, role, labels: pairs }, file, expect } => {
            let request = ImportKeyRequest {
                request_id: request_id(),
                name,
                role: role.into(),
                labels: labels(pairs)?,
                expected_address: expect,
                validate_only: false,
                material: Some(material(file.as_deref())?),
            };
            let answer = session.keys().import_key(request).await?.into_inner();
            out.print("sequencer.keys.v1.ImportKeyResponse", &answer, || rows(answer.key.iter()))
        }
        Command::List => {
            let mut request = ListKeysRequest { page_size: 500, ..ListKeysRequest::default() };
            let mut answer = session.keys().list_keys(request.clone()).await?.into_inner();
            while !answer.next_page_token.is_empty() {
                request.page_token = std::mem::take(&mut answer.next_page_token);
                let page = session.keys().list_keys(request.clone()).await?.into_inner();
                answer.keys.extend(page.keys);
                answer.next_page_token = page.next_page_token;
            }
            out.print("sequencer.keys.v1.ListKeysResponse", &answer, || rows(answer.keys.iter()))
        }
        Command::Policy(command) => super::keys_policy::run(command, session, out).await,
        Command::Approval(command) => super::keys_approval::run(command, session, out).await,
        Command::Backup { recipients, keys, labels: pairs, out: path } => {
            let request = BackupKeysRequest { recipients, labels: labels(pairs)?, key_ids: Vec::new() };
            backup(session, out, request, keys, &path).await
        }
        Command::VerifyBackup { archive, identity } => {
            verify_backup(session, out, &archive, identity.as_deref()).await
        }
        Command::Restore { archive, identity, dry_run } => {
            let request = RestoreKeysRequest {
                request_id: request_id(),
                archive: file(&archive)?.into(),
                identity: secret(identity.as_deref())?,
                validate_only: dry_run,
            };
            let answer = session.keys().restore_keys(request).await?.into_inner();
            out.print("sequencer.keys.v1.RestoreKeysResponse", &answer, || rows(answer.restored.iter()))?;
            if !dry_run && !answer.restored.is_empty() {
                out.note("What they signed since the archive was made is not known here: `seqctl audit head` lists the accounts that");
                out.note("sign nothing until `seqctl keys confirm-floor` says from which nonce on.");
            }
            Ok(())
        }
        Command::ConfirmFloor(command) => super::confirm_floor::run(command, session, out).await,
        Command::ExportNode { name, recipient, node_key, out: path } => {
            export_node(session, out, &name, recipient, node_key.as_deref(), &path).await
        }
        Command::AtRest(command) => at_rest::run(command, session, out).await,
    }
}

async fn create(new: New, backend: Option<String>, session: &Session, out: &Printer) -> Result<()> {
    let New { name, role, labels: pairs } = new;
    let request = CreateKeyRequest {
        request_id: request_id(),
        name,
        role: role.into(),
        labels: labels(pairs)?,
        validate_only: false,
        backend: backend.unwrap_or_default(),
    };
    let answer = session.keys().create_key(request).await?.into_inner();
    out.print("sequencer.keys.v1.CreateKeyResponse", &answer, || rows(answer.key.iter()))?;
    out.note(match answer.key.as_ref().is_none_or(|key| key.backend_reference.is_empty()) {
        true => "not yet proven restorable: run `seqctl keys backup` and `seqctl keys verify-backup`",
        false => "back it up where it is, then run `seqctl keys confirm-backup`",
    });
    Ok(())
}

async fn verify_backup(
    session: &Session,
    out: &Printer,
    archive: &Path,
    identity: Option<&Path>,
) -> Result<()> {
    let request = VerifyBackupRequest { archive: file(archive)?.into(), identity: secret(identity)? };
    let answer = session.keys().verify_backup(request).await?.into_inner();
    out.print("sequencer.keys.v1.VerifyBackupResponse", &answer, || {
        let mut rows = Rows::properties();
        let contents = answer.contents.clone().unwrap_or_default();
        rows.add(["proven restorable", &answer.proven_key_ids.len().to_string()])
            .add(["not in this archive", &answer.missing_key_ids.len().to_string()])
            .add(["made", &utc(contents.create_time.as_ref())])
            .add(["policy version", &contents.policy_version.to_string()])
            .add(["audit log ended at", &contents.audit_sequence.to_string()])
            .add(["with hash", &contents.audit_hash]);
        rows
    })
}

async fn export_node(
    session: &Session,
    out: &Printer,
    name: &str,
    recipient: String,
    node_key: Option<&Path>,
    path: &Path,
) -> Result<()> {
    let id = key_id(session, name).await?.context("give the key by name")?;
    let node_key = node_key.map(file).transpose()?.unwrap_or_default();
    let node_key_json = String::from_utf8(node_key).context("the node key is not text")?;
    let request = ExportNodeKeyRequest { id, recipient, node_key_json };
    let answer = session.keys().export_node_key(request).await?.into_inner();
    write_new(path, &answer.archive)?;
    out.note(&format!("{} files of node {} in {}", answer.files.len(), answer.node_id, path.display()));
    Ok(())
}

async fn backup(
    session: &Session,
    out: &Printer,
    mut request: BackupKeysRequest,
    names: Vec<String>,
    path: &Path,
) -> Result<()> {
    for name in names {
        request.key_ids.push(key_id(session, &name).await?.context("give keys by name")?);
    }
    let mut answer = session.keys().backup_keys(request).await?.into_inner();
    write_new(path, &answer.archive)?;
    // The archive is in the file; on the screen it would only be noise.
    answer.archive.clear();
    out.print("sequencer.keys.v1.BackupKeysResponse", &answer, || {
        let mut rows = Rows::properties();
        rows.add(["archive", &path.display().to_string()])
            .add(["keys", &answer.key_ids.len().to_string()])
            .add(["sha256", &answer.sha256]);
        rows
    })
}

fn material(path: Option<&Path>) -> Result<Material> {
    let Some(path) = path else {
        let text = stdin_line("private key, 64 hex digits: ")?;
        return Ok(Material::Raw(hex_bytes(&text)?.into()));
    };
    let json = String::from_utf8(file(path)?).context("the file is not text")?;
    let value: serde_json::Value = serde_json::from_str(&json).context("the file is not JSON")?;
    if value.get("priv_key").is_some() {
        return Ok(Material::PrivValidatorKeyJson(json));
    }
    let passphrase = stdin_line("passphrase of the keystore: ")?;
    Ok(Material::KeystoreV3(KeystoreV3 { json, passphrase }))
}

fn hex_bytes(text: &str) -> Result<Vec<u8>> {
    let digits = text.trim().trim_start_matches("0x");
    let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    bytes.context("not hex digits")
}

/// A secret from a file, or from stdin without echo.
fn secret(path: Option<&Path>) -> Result<String> {
    match path {
        None => stdin_line("age identity: "),
        Some(path) => {
            let text = String::from_utf8(file(path)?).context("the file is not text")?;
            // Identity files carry comments.
            let line = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-"));
            Ok(line.context("no AGE-SECRET-KEY- line in the file")?.trim().to_owned())
        }
    }
}

fn stdin_line(prompt: &str) -> Result<String> {
    use std::io::IsTerminal;
    if std::io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password(prompt)?);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    match text.trim() {
        "" => bail!("nothing on stdin"),
        line => Ok(line.to_owned()),
    }
}

fn file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Never over an existing file: it may be the only backup there is.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create_new(path).with_context(|| format!("writing {}", path.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

pub fn rows<'a>(keys: impl Iterator<Item = &'a Key>) -> Rows {
    let mut rows = Rows::new(["NAME", "ROLE", "STATE", "ADDRESS", "BACKUP PROVEN", "ID"]);
    for key in keys {
        let proven = utc(key.backup_proven_time.as_ref());
        rows.add([
            &key.name,
            &word(KeyRole::try_from(key.role).unwrap_or_default().as_str_name(), "KEY_ROLE_"),
            &word(KeyState::try_from(key.state).unwrap_or_default().as_str_name(), "KEY_STATE_"),
            key.public_key.as_ref().map_or("", |forms| &forms.address),
            if proven.is_empty() { "never" } else { &proven },
            &key.id,
        ]);
    }
    rows
}
