//! How keys lie: the key-encryption key and its rotation, the history of drills, and a key as keystore.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use api::keys::v1::{
    DrillKind, ExportKeystoreRequest, ListDrillsRequest, RotateKekRequest, RotateKekResponse,
};
use clap::Subcommand;

use super::super::sequencer::key_id;
use super::{stdin_line, write_new};
use crate::connect::Session;
use crate::output::{Printer, Rows, utc, word};

/// A call wraps thousands; more calls than this would be more keys than there are.
const CALLS_MAX: usize = 1_000;
/// Drills that are shown.
const DRILLS_SHOWN: i32 = 500;

/// What to do about secrets at rest.
#[derive(Subcommand)]
pub enum Command {
    /// Wraps all keys under the key-encryption key that is configured now; goes on where it was cut off.
    RotateKek {
        /// Only say how far it is.
        #[arg(long)]
        dry_run: bool,
    },
    /// What was proven restorable, when and by whom; newest first.
    Drills {
        /// Only drills of this key, by name.
        #[arg(long = "key")]
        key: Option<String>,
    },
    /// A key as keystore v3; needs a right that the configuration of the service gives.
    ExportKeystore {
        /// Name of the key.
        name: String,
        /// Why, for the audit log.
        #[arg(long)]
        reason: String,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    match command {
        Command::RotateKek { dry_run } => {
            let status = RotateKekRequest { from_generation: 0, validate_only: true };
            let before = session.keys().rotate_kek(status).await?.into_inner();
            let answer = if dry_run { before } else { rotate(session, out, before).await? };
            out.print("sequencer.keys.v1.RotateKekResponse", &answer, || {
                let mut rows = Rows::properties();
                rows.add(["generation", &answer.generation.to_string()])
                    .add(["source", &answer.source])
                    .add(["wrapped now", &answer.rewrapped.to_string()])
                    .add(["under older ones", &answer.remaining.to_string()]);
                rows
            })?;
            if answer.remaining == 0 && !dry_run {
                out.note("no key is under an older one: keys.kek_previous may be removed");
            }
            Ok(())
        }
        Command::Drills { key } => {
            let key_id = match key {
                Some(name) => key_id(session, &name).await?.context("give the key by name")?,
                None => String::new(),
            };
            let request =
                ListDrillsRequest { page_size: DRILLS_SHOWN, key_id, ..ListDrillsRequest::default() };
            let answer = session.keys().list_drills(request).await?.into_inner();
            out.print("sequencer.keys.v1.ListDrillsResponse", &answer, || {
                let mut rows =
                    Rows::new(["PROVEN", "KIND", "BY", "KEYS", "NOT IN IT", "ARCHIVE OF", "SHA-256"]);
                for drill in &answer.drills {
                    let kind = DrillKind::try_from(drill.kind).unwrap_or_default().as_str_name();
                    rows.add([
                        &utc(drill.proven_time.as_ref()),
                        &word(kind, "DRILL_KIND_"),
                        &drill.caller,
                        &drill.proven_keys.to_string(),
                        &drill.missing_keys.to_string(),
                        &utc(drill.archive_create_time.as_ref()),
                        &drill.archive_sha256,
                    ]);
                }
                rows
            })
        }
        Command::ExportKeystore { name, reason, out: path } => {
            let id = key_id(session, &name).await?.context("give the key by name")?;
            let passphrase = stdin_line("passphrase for the keystore: ")?;
            let request = ExportKeystoreRequest { id, passphrase, reason };
            let answer = session.keys().export_keystore(request).await?.into_inner();
            write_new(&path, answer.json.as_bytes())?;
            out.note(&format!("keystore of {name} in {}", path.display()));
            Ok(())
        }
    }
}

/// Leaves the newest generation, or goes on with what was cut off, until nothing remains.
async fn rotate(session: &Session, out: &Printer, before: RotateKekResponse) -> Result<RotateKekResponse> {
    let unfinished = before.remaining > 0;
    let from_generation = if unfinished { before.generation - 1 } else { before.generation };
    let mut wrapped = 0;
    for _ in 0..CALLS_MAX {
        let request = RotateKekRequest { from_generation, validate_only: false };
        let answer = session.keys().rotate_kek(request).await?.into_inner();
        wrapped += answer.rewrapped;
        if answer.remaining == 0 {
            return Ok(RotateKekResponse { rewrapped: wrapped, ..answer });
        }
        ensure!(answer.rewrapped > 0, "{} keys remain and none could be wrapped", answer.remaining);
        out.note(&format!("{wrapped} wrapped, {} remain", answer.remaining));
    }
    anyhow::bail!("{wrapped} wrapped, and still some remain: run this again")
}
