//! Prepared mode by hand: prepare online, sign on a machine without a network, submit online; and the documents of
//! wallets and Safes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::lifecycle::v1::submit_transaction_request::Transaction;
use api::lifecycle::v1::{
    CreateOperationRequest, ExportPreparedOperationRequest, OperationMode, OperationParameters, PreparedForm,
    SubmitTransactionRequest,
};
use bundle::{Bundle, SIGNED_FORMAT, Signed, describe};
use clap::{Args, Subcommand, ValueEnum};
use k256::ecdsa::SigningKey;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::confirm::typed;
use super::request_id;
use super::sequencer::find;
use super::verb::{Asked, Manner, Verb, asked};
use crate::connect::Session;
use crate::exit::usage;
use crate::output::Printer;

/// Operations that are signed elsewhere.
#[derive(Subcommand)]
pub enum Command {
    /// Prepares an operation; prints its id and writes its document.
    Prepare {
        #[command(flatten)]
        document: Document,
        /// The operation, as in `lock alpha --amount 20000`.
        #[command(subcommand)]
        verb: Verb,
    },
    /// Writes the document of an operation that was prepared before.
    Export {
        /// Operation id.
        operation: String,
        #[command(flatten)]
        document: Document,
    },
    /// Checks a bundle and signs it. Uses no network and no configuration.
    Sign(Sign),
    /// Hands in a signed bundle.
    Submit {
        /// What `offline sign` wrote.
        #[arg(long)]
        signed: PathBuf,
    },
    /// Tells the hash of what a wallet or Safe has sent.
    Report {
        /// Operation id.
        operation: String,
        /// Transaction hash.
        hash: String,
    },
}

/// Which document, and where to.
#[derive(Args)]
pub struct Document {
    /// For whom.
    #[arg(long, default_value = "bundle")]
    form: Form,
    /// File to write; printed without it.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// For whom a document is.
#[derive(Clone, Copy, ValueEnum)]
pub enum Form {
    /// A machine without a network.
    Bundle,
    /// A wallet: the parameter of wallet_sendCalls.
    Wallet,
    /// A batch for the Safe Transaction Builder.
    Safe,
}

/// What signing needs.
#[derive(Args)]
pub struct Sign {
    /// The bundle.
    #[arg(long)]
    bundle: PathBuf,
    /// File with the secret of the sender, 64 hex digits; - for stdin.
    #[arg(long)]
    key: PathBuf,
    /// File for the signed bundle.
    #[arg(long)]
    out: PathBuf,
    /// Signs without asking.
    #[arg(long)]
    yes: bool,
}

/// What needs the services.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    match command {
        Command::Prepare { document, verb } => {
            let Asked { sequencer, parameters, manner, irreversible: _ } = asked(verb, session).await?;
            if let Some(flag) = without_meaning(&manner) {
                return Err(usage(format!("{flag} means nothing here: somebody else signs and sends")));
            }
            let request = CreateOperationRequest {
                request_id: manner.request_id.clone().unwrap_or_else(request_id),
                sequencer: find(session, &sequencer).await?.id,
                parameters: Some(OperationParameters { parameters: Some(parameters) }),
                mode: OperationMode::Prepared.into(),
                validate_only: false,
                terms: manner.terms.asked()?,
            };
            let answer = session.lifecycle().create_operation(request).await?.into_inner();
            let id = answer.operation.context("lifecycle answered without an operation")?.id;
            export(session, out, id, document).await
        }
        Command::Export { operation, document } => export(session, out, operation, document).await,
        Command::Sign(request) => sign(&request, out),
        Command::Submit { signed } => {
            let signed: Signed = read(&signed)?;
            if signed.format != SIGNED_FORMAT {
                bail!("this is no {SIGNED_FORMAT}");
            }
            for raw in &signed.transactions {
                submit(session, &signed.operation, Transaction::RawTransaction(raw.to_vec().into())).await?;
            }
            out.note(&format!("taken: seqctl operation get {}", signed.operation));
            Ok(())
        }
        Command::Report { operation, hash } => {
            submit(session, &operation, Transaction::TransactionHash(hash)).await?;
            out.note(&format!("taken: seqctl operation get {operation}"));
            Ok(())
        }
    }
}

/// What would be left out in silence: a dry run is `preflight`, and to wait is `operation get`.
fn without_meaning(manner: &Manner) -> Option<&'static str> {
    match manner {
        Manner { dry_run: true, .. } => Some("--dry-run"),
        Manner { wait: true, .. } => Some("--wait"),
        _ => None,
    }
}

async fn submit(session: &Session, operation: &str, transaction: Transaction) -> Result<()> {
    let request =
        SubmitTransactionRequest { operation_id: operation.to_owned(), transaction: Some(transaction) };
    session.lifecycle().submit_transaction(request).await?;
    Ok(())
}

async fn export(session: &Session, out: &Printer, id: String, document: Document) -> Result<()> {
    let form = match document.form {
        Form::Bundle => PreparedForm::OfflineBundle,
        Form::Wallet => PreparedForm::WalletCalls,
        Form::Safe => PreparedForm::SafeBatch,
    };
    let request = ExportPreparedOperationRequest { id: id.clone(), form: form.into() };
    let answer = session.lifecycle().export_prepared_operation(request).await?.into_inner();
    match &document.out {
        Some(path) => write(path, &answer.json)?,
        None => println!("{}", answer.json),
    }
    if document.out.is_some() {
        out.note(&format!("{}\noperation {id}", answer.words));
        for words in &answer.call_words {
            out.note(&format!("  {words}"));
        }
        if !answer.digest.is_empty() {
            out.note(&format!("digest {}: compare it on the cold machine", answer.digest));
        }
    }
    Ok(())
}

/// Shows what would be signed, checks that it is that, asks, and signs. Nothing here touches a network.
pub fn sign(request: &Sign, out: &Printer) -> Result<()> {
    let Sign { bundle: path, key, out: to, yes } = request;
    let bundle: Bundle = read(path)?;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    bundle.check(now).context("the bundle is not signed")?;
    for line in describe(&bundle) {
        out.note(&line);
    }
    if !yes {
        typed("sign", "--yes")?;
    }
    let signed = bundle::sign(&bundle, &secret(key)?, now).context("the bundle is not signed")?;
    write(to, &serde_json::to_string_pretty(&signed)?)?;
    out.note(&format!("signed: bring {} to a machine with a network", to.display()));
    Ok(())
}

fn secret(path: &Path) -> Result<SigningKey> {
    let text = Zeroizing::new(match path.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()).context("reading the secret from stdin")?,
        _ => std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
    });
    let digits = text.trim();
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), bytes.as_mut_slice())
        .ok()
        .and_then(|()| SigningKey::from_slice(bytes.as_slice()).ok())
        .context("the key file holds no secp256k1 secret of 64 hex digits")
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, format!("{text}\n")).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        manner: Manner,
    }

    #[test]
    fn what_a_wallet_cannot_be_asked_is_not_left_out_in_silence() {
        let refused = |flags: &[&str]| {
            let line = Line::try_parse_from([&["prepare"], flags].concat()).expect("flags");
            without_meaning(&line.manner)
        };
        assert_eq!(refused(&["--dry-run"]), Some("--dry-run"));
        assert_eq!(refused(&["--wait"]), Some("--wait"));
        assert_eq!(refused(&["--deadline", "2026-12-01T00:00:00Z", "--request-id", "1", "--yes"]), None);
    }
}
