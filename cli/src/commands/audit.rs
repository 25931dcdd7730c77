//! `seqctl audit`: the log of the keys service, taken out and verified. Verification needs no service, no
//! configuration and no network.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use api::keys::v1::{AuditRecord, GetAuditHeadRequest, GetAuditHeadResponse, ListAuditRecordsRequest};
use clap::{Args, Subcommand};
use trail::{Damage, End, HEADER, Head, Heads, Record, Report, Trusted, Unfit, VerifyingKey};

use crate::connect::Session;
use crate::exit::{self, usage};
use crate::output::{Printer, Rows, utc};

/// Largest page of the service.
const PAGE_SIZE: i32 = 500;

/// What to do with the log.
#[derive(Subcommand)]
pub enum Command {
    /// The end of the log, the keys that sign it, and whether the database was found restored.
    Head,
    /// Writes the log up to its present end to a file; the same records always give the same file.
    Export {
        /// File to write; never over an existing one.
        #[arg(long, short = 'f')]
        file: PathBuf,
    },
    /// Checks an export without any service. Exit code 5 if it is damaged.
    Verify(Verify),
}

/// What to check against what.
#[derive(Args)]
pub struct Verify {
    /// The export.
    file: PathBuf,
    /// File of published heads, from where the service cannot rewrite it.
    #[arg(long)]
    head: Option<PathBuf>,
    /// Ed25519 public key of the service, 64 hex digits, as noted at its first start; may be repeated.
    #[arg(long = "public-key")]
    public_keys: Vec<String>,
}

/// Runs a command that asks the service.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<ExitCode> {
    match command {
        Command::Head => head(session, out).await?,
        Command::Export { file } => export(session, out, &file).await?,
        Command::Verify(request) => return verify(&request, out),
    }
    Ok(ExitCode::SUCCESS)
}

async fn head(session: &Session, out: &Printer) -> Result<()> {
    let answer = session.keys().get_audit_head(GetAuditHeadRequest {}).await?.into_inner();
    out.print("sequencer.keys.v1.GetAuditHeadResponse", &answer, || {
        let GetAuditHeadResponse { sequence, hash, signed, public_keys, doubt } = &answer;
        let mut rows = Rows::properties();
        rows.add(["records", &sequence.to_string()]).add(["hash", hash]);
        if let Some(signed) = signed {
            rows.add(["signed up to", &signed.sequence.to_string()])
                .add(["signed at", &utc(signed.time.as_ref())]);
        }
        for key in public_keys {
            rows.add(["public key", key]);
        }
        if let Some(doubt) = doubt {
            let found = if doubt.archive_sha256.is_empty() {
                format!(
                    "record {} was published, the database ended at {}",
                    doubt.published_sequence, doubt.database_sequence
                )
            } else {
                format!(
                    "keys from archive {}, made at record {} of another log",
                    doubt.archive_sha256, doubt.published_sequence
                )
            };
            rows.add(["restored", &found]);
            for account in &doubt.waiting {
                let words = format!("{} on {} ({})", account.key_name, account.network, account.account);
                rows.add(["waits for a floor", &words]);
            }
        }
        rows
    })
}

/// Page by page into the file, checking the chain on the way.
async fn export(session: &Session, out: &Printer, path: &Path) -> Result<()> {
    let end = session.keys().get_audit_head(GetAuditHeadRequest {}).await?.into_inner().sequence;
    let file = File::create_new(path).with_context(|| format!("writing {}", path.display()))?;
    let mut file = BufWriter::new(file);
    writeln!(file, "{HEADER}")?;
    let mut head = Head::START;
    let mut request = ListAuditRecordsRequest { page_size: PAGE_SIZE, ..ListAuditRecordsRequest::default() };
    while head.sequence < end {
        let page = session.keys().list_audit_records(request.clone()).await?.into_inner();
        for record in page.records {
            if head.sequence < end {
                head = write(&mut file, &head, record)?;
            }
        }
        if head.sequence < end && page.next_page_token.is_empty() {
            bail!("the log ends at record {}, its head says {end}", head.sequence);
        }
        request.page_token = page.next_page_token;
    }
    writeln!(file, "{}", End(head).line())?;
    file.into_inner().context("writing the export")?.sync_all()?;
    out.note(&format!("{} records in {}", head.sequence, path.display()));
    Ok(())
}

fn write(file: &mut impl Write, head: &Head, record: AuditRecord) -> Result<Head> {
    let sequence = record.sequence;
    let hash =
        record_hash(&record.hash).with_context(|| format!("the hash of record {sequence} is no hash"))?;
    let record = Record::new(record.body.to_vec(), hash)
        .with_context(|| format!("the body of record {sequence} cannot be decoded"))?;
    writeln!(file, "{}", record.line())?;
    if !record.follows(head) {
        // Written all the same: it is evidence, and `verify` says what was done.
        return Ok(Head { sequence: head.sequence + 1, hash });
    }
    Ok(Head { sequence, hash })
}

fn record_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// Verifies a file; needs nothing else.
pub fn verify(request: &Verify, out: &Printer) -> Result<ExitCode> {
    let Verify { file, head, public_keys } = request;
    let keys = public_keys
        .iter()
        .map(|text| trail::public_key(text).ok_or_else(|| usage(format!("`{text}` is no public key"))))
        .collect::<Result<Vec<VerifyingKey>>>()?;
    let heads = match head {
        None => None,
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            match Heads::read(&text, &keys) {
                Ok(heads) => Some(heads),
                Err(bad) => {
                    out.verdict(&serde_json::json!({ "verdict": "BAD_HEADS", "line": bad.line, "problem": bad.problem }), &bad.to_string());
                    return Ok(ExitCode::from(exit::REFUSED));
                }
            }
        }
    };
    let trusted = Trusted { heads: heads.as_ref(), keys_known: !keys.is_empty() };
    let export = File::open(file).with_context(|| format!("reading {}", file.display()))?;
    match trail::verify(BufReader::new(export), trusted) {
        Ok(report) => {
            intact(&report, out);
            Ok(ExitCode::SUCCESS)
        }
        Err(Unfit::Damaged(damage)) => {
            damaged(&damage, out);
            Ok(ExitCode::from(exit::REFUSED))
        }
        Err(error @ Unfit::Unreadable(_)) => Err(error.into()),
    }
}

fn intact(report: &Report, out: &Printer) {
    let Report { head, heads_found, heads_lost, restorations, not_checked } = report;
    let json = serde_json::json!({
        "verdict": "INTACT",
        "records": head.sequence,
        "headsFound": heads_found,
        "headsLost": heads_lost,
        "restorations": restorations,
        "notChecked": not_checked,
    });
    let mut text = format!("intact: {} records, {heads_found} published heads found", head.sequence);
    for record in restorations {
        text += &format!("\nrecord {record} tells that an older database was restored");
    }
    if *heads_lost > 0 {
        text += &format!("\n{heads_lost} published heads are of records that were lost by that");
    }
    for open in not_checked {
        text += &format!("\nnot checked: {open}");
    }
    out.verdict(&json, &text);
}

fn damaged(damage: &Damage, out: &Printer) {
    let Damage { kind, place, line, detail } = damage;
    let json = serde_json::json!({
        "verdict": "DAMAGED",
        "kind": kind.to_string(),
        "place": place.to_string(),
        "line": line,
        "detail": detail,
    });
    out.verdict(&json, &damage.to_string());
}
