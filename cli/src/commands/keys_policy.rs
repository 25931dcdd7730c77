//! `seqctl keys policy`: the rules, what a draft would change, which rule decides, and what is at stake.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use api::keys::v1::{
    ExplainPolicyRequest, GetBlastRadiusRequest, GetPolicyRequest, PolicyVerdict, Reach, SetPolicyRequest,
    SigningIntent, TestPolicyRequest,
};
use api::types::v1::UnsignedTransaction;
use clap::{Args, Subcommand};

use super::sequencer::key_id;
use crate::connect::Session;
use crate::output::{Printer, Rows, metis, utc};

/// What to do with the policy.
#[derive(Subcommand)]
pub enum Command {
    /// The policy in force.
    Show,
    /// Replaces the policy by a document.
    Set {
        /// The document in TOML.
        file: PathBuf,
        /// Version that the document was made from.
        #[arg(long)]
        expect: u64,
        /// Run every check, change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Judges the last requests to sign by a draft, and shows what would change.
    Test {
        /// The draft in TOML.
        #[arg(long)]
        draft: PathBuf,
        /// How many requests.
        #[arg(long, default_value_t = 1000)]
        last: u32,
    },
    /// Which rule decides a transaction, and which come nearest.
    Explain(Explain),
    /// What each identity and key could move in 24 hours.
    BlastRadius {
        /// A draft in TOML; without it, the policy in force.
        #[arg(long)]
        draft: Option<PathBuf>,
    },
}

/// A transaction.
#[derive(Args)]
pub struct Explain {
    /// Name of the key.
    #[arg(long)]
    key: String,
    /// Target.
    #[arg(long)]
    to: String,
    /// Calldata, 0x hex.
    #[arg(long, default_value = "0x")]
    data: String,
    /// ETH sent along, wei.
    #[arg(long, default_value = "0")]
    value_wei: String,
    /// Gas limit.
    #[arg(long, default_value_t = 500_000)]
    gas_limit: u64,
    /// Highest fee per gas, wei.
    #[arg(long, default_value = "20000000000")]
    max_fee_wei: String,
    /// EIP-155 chain id.
    #[arg(long)]
    chain_id: u64,
    /// Identity that would ask; lifecycle if not given.
    #[arg(long, default_value = "")]
    caller: String,
    /// A cancel of the nonce.
    #[arg(long)]
    cancel: bool,
    /// A draft in TOML; without it, the policy in force.
    #[arg(long)]
    draft: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    match command {
        Command::Show => {
            let answer = session.keys().get_policy(GetPolicyRequest {}).await?.into_inner();
            let policy = answer.policy.clone().unwrap_or_default();
            out.print("sequencer.keys.v1.GetPolicyResponse", &answer, || {
                let mut rows = Rows::properties();
                rows.add(["version", &policy.version.to_string()])
                    .add(["set by", &policy.set_by])
                    .add(["set at", &utc(policy.set_time.as_ref())]);
                rows
            })?;
            out.note(&format!("\n{}", policy.toml));
            Ok(())
        }
        Command::Set { file, expect, dry_run } => {
            let toml = text(&file)?;
            let request = SetPolicyRequest { toml, expected_version: expect, validate_only: dry_run };
            let answer = session.keys().set_policy(request).await?.into_inner();
            out.print("sequencer.keys.v1.SetPolicyResponse", &answer, || {
                let mut rows = Rows::properties();
                let version = answer.policy.as_ref().map(|policy| policy.version).unwrap_or_default();
                rows.add(["version in force", &version.to_string()]);
                rows
            })
        }
        Command::Test { draft, last } => test(session, out, &draft, last).await,
        Command::Explain(asked) => explain(session, out, asked).await,
        Command::BlastRadius { draft } => {
            let toml = draft.as_deref().map(text).transpose()?.unwrap_or_default();
            let answer = session.keys().get_blast_radius(GetBlastRadiusRequest { toml }).await?.into_inner();
            out.print("sequencer.keys.v1.GetBlastRadiusResponse", &answer, || {
                let columns = [
                    "WHO",
                    "METIS IN 24 H",
                    "ETH IN 24 H",
                    "CAN",
                    "METIS WITH APPROVALS",
                    "ETH WITH APPROVALS",
                ];
                let mut rows = Rows::new(columns);
                let identities = answer
                    .identities
                    .iter()
                    .map(|one| (format!("identity {}", one.identity), &one.alone, &one.approved));
                let keys =
                    answer.keys.iter().map(|one| (format!("key {}", one.name), &one.alone, &one.approved));
                for (who, alone, approved) in identities.chain(keys) {
                    let (alone, approved) =
                        (alone.clone().unwrap_or_default(), approved.clone().unwrap_or_default());
                    let [metis, eth] = sums(&alone);
                    let [metis_approved, eth_approved] = sums(&approved);
                    rows.add([&who, &metis, &eth, &abilities(&alone), &metis_approved, &eth_approved]);
                }
                rows
            })
        }
    }
}

async fn test(session: &Session, out: &Printer, draft: &Path, last: u32) -> Result<()> {
    let request = TestPolicyRequest { toml: text(draft)?, last };
    let answer = session.keys().test_policy(request).await?.into_inner();
    out.print("sequencer.keys.v1.TestPolicyResponse", &answer, || {
        let mut rows = Rows::new(["RECORD", "TIME", "INTENT", "NOW", "BY THE DRAFT"]);
        for change in &answer.changes {
            rows.add([
                &change.audit_sequence.to_string(),
                &utc(change.time.as_ref()),
                &change.intent,
                &words(change.before.as_ref()),
                &words(change.after.as_ref()),
            ]);
        }
        rows
    })?;
    out.note(&format!(
        "{} requests examined against version {}: {} newly refused, {} newly allowed, {} with other approvals; {} skipped",
        answer.examined,
        answer.policy_version,
        answer.newly_refused,
        answer.newly_allowed,
        answer.other_approvals,
        answer.skipped
    ));
    out.note(&format!("difference: {}", answer.difference));
    Ok(())
}

async fn explain(session: &Session, out: &Printer, asked: Explain) -> Result<()> {
    let Explain { key, to, data, value_wei, gas_limit, max_fee_wei, chain_id, caller, cancel, draft } = asked;
    let id = key_id(session, &key).await?.context("give the key by name")?;
    let selector = api::keys::v1::get_key_request::Selector::Id(id.clone());
    let get = api::keys::v1::GetKeyRequest { selector: Some(selector) };
    let key = session.keys().get_key(get).await?.into_inner().key.unwrap_or_default();
    let intent = if cancel { SigningIntent::Cancel } else { SigningIntent::New };
    let request = ExplainPolicyRequest {
        key_id: id,
        network: session.network()?,
        transaction: Some(UnsignedTransaction {
            chain_id,
            from: key.public_key.map(|forms| forms.address).unwrap_or_default(),
            to,
            nonce: None,
            value_wei,
            data,
            gas_limit,
            max_fee_per_gas_wei: max_fee_wei,
            max_priority_fee_per_gas_wei: "0".to_owned(),
        }),
        intent: intent.into(),
        caller,
        toml: draft.as_deref().map(text).transpose()?.unwrap_or_default(),
    };
    let answer = session.keys().explain_policy(request).await?.into_inner();
    out.print("sequencer.keys.v1.ExplainPolicyResponse", &answer, || {
        let mut rows = Rows::new(["RULE", "SAYS", "FIELD", "ASKS FOR", "MET"]);
        for rule in &answer.denying {
            rows.add([rule.as_str(), "denies", "", "", ""]);
        }
        for rule in &answer.allowing {
            let approvals = format!("{} approvals", rule.approvals);
            rows.add([rule.rule.as_str(), "allows", "", &approvals, ""]);
        }
        for rule in &answer.nearest {
            rows.add([rule.rule.as_str(), "does not fit", &rule.field, &rule.bound, &rule.value]);
        }
        rows
    })?;
    out.note(&format!("{}: {}", answer.words, words(answer.verdict.as_ref())));
    out.note(&format!("approvals of it are bound to {}", answer.intent_digest));
    Ok(())
}

fn words(verdict: Option<&PolicyVerdict>) -> String {
    let Some(PolicyVerdict { allowed, rule, approvals, field, bound, value }) = verdict else {
        return String::new();
    };
    match (allowed, approvals) {
        (true, 0) => format!("allowed by {rule}"),
        (true, approvals) => format!("allowed by {rule} with {approvals} approvals"),
        (false, _) => format!("refused by {rule}: {field} is {value}, not {bound}"),
    }
}

fn sums(reach: &Reach) -> [String; 2] {
    let sum = |wei: &str, unbounded: bool| if unbounded { "all there is".to_owned() } else { metis(wei) };
    [sum(&reach.metis_wei, reach.metis_unbounded), sum(&reach.eth_wei, reach.eth_unbounded)]
}

fn abilities(reach: &Reach) -> String {
    let can = [
        (reach.can_unlock, "unlock"),
        (reach.can_give_away, "give away"),
        (reach.can_redirect_rewards, "redirect rewards"),
        (reach.can_sign_messages, "sign messages"),
    ];
    can.into_iter().filter(|(can, _)| *can).map(|(_, word)| word).collect::<Vec<_>>().join(", ")
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
