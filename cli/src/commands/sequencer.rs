//! `seqctl sequencer`: the register.

use anyhow::{Result, bail};
use api::keys::v1::{GetKeyRequest, get_key_request};
use api::lifecycle::v1::{
    BuildListingRequest, GetSequencerAtRequest, GetSequencerRequest, ListSequencersRequest,
    ListTransitionsRequest, ListingFields, Phase, RegisterSequencerRequest, Sequencer, get_sequencer_request,
    register_sequencer_request,
};
use clap::{Args, Subcommand};

use super::{labels, request_id};
use crate::connect::Session;
use crate::output::{Printer, Rows, metis, utc, word};

/// What to do with the register.
#[derive(Subcommand)]
pub enum Command {
    /// Adds a sequencer.
    Register(Register),
    /// All sequencers of the network.
    List {
        /// Only those that we manage.
        #[arg(long)]
        managed: bool,
    },
    /// One sequencer.
    Get {
        /// Name.
        name: String,
    },
    /// State and record at an L1 block, and why.
    At {
        /// Name.
        name: String,
        /// L1 block; 0 for the last applied one.
        block: u64,
    },
    /// State changes with their causes.
    History {
        /// Name.
        name: String,
        /// Only up to this L1 block.
        #[arg(long, default_value_t = 0)]
        at_block: u64,
        /// Also what a reorganisation undid.
        #[arg(long)]
        undone: bool,
    },
    /// The dashboard entry, ready for the pull request.
    Listing {
        /// Name.
        name: String,
    },
}

/// A new sequencer.
#[derive(Args)]
pub struct Register {
    /// Name, 1 to 63 of a-z, 0-9 and -.
    name: String,
    /// Owner: name of a key of ours, or an address.
    #[arg(long)]
    owner: String,
    /// Signer: name of a key of ours, or a public key in hex.
    #[arg(long)]
    signer: String,
    /// L2 reward recipient; the owner's address if absent.
    #[arg(long, default_value = "")]
    recipient: String,
    /// Label KEY=VALUE; may be repeated.
    #[arg(long = "label")]
    labels: Vec<String>,
    /// Description in the listing.
    #[arg(long, default_value = "")]
    description: String,
    /// https URL in the listing.
    #[arg(long, default_value = "")]
    url: String,
    /// Avatar file name in the listing.
    #[arg(long, default_value = "")]
    avatar: String,
    /// Run every check, store nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    match command {
        Command::Register(register) => self::register(register, session, out).await,
        Command::List { managed } => {
            let request = ListSequencersRequest {
                network: session.network()?,
                managed_only: managed,
                page_size: 500,
                ..ListSequencersRequest::default()
            };
            let answer = session.lifecycle().list_sequencers(request).await?.into_inner();
            out.cut(&answer.next_page_token);
            out.print("sequencer.lifecycle.v1.ListSequencersResponse", &answer, || {
                let mut rows =
                    Rows::new(["NAME", "ID", "PHASE", "LOCKED METIS", "OWNER", "SIGNER", "MANAGED"]);
                for one in &answer.sequencers {
                    let account = |account: &Option<api::lifecycle::v1::Account>| {
                        account.as_ref().map(|account| account.address.clone()).unwrap_or_default()
                    };
                    rows.add([
                        &one.name,
                        &one.sequencer_id,
                        &phase(one.phase),
                        &metis(&one.locked_wei),
                        &account(&one.owner),
                        &account(&one.signer),
                        if one.managed { "yes" } else { "no" },
                    ]);
                }
                rows
            })
        }
        Command::Get { name } => {
            let sequencer = find(session, &name).await?;
            out.print("sequencer.lifecycle.v1.Sequencer", &sequencer, || properties(&sequencer))
        }
        Command::At { name, block } => at(session, out, &name, block).await,
        Command::History { name, at_block, undone } => history(session, out, &name, at_block, undone).await,
        Command::Listing { name } => {
            let request = BuildListingRequest { sequencer: find(session, &name).await?.id };
            let answer = session.lifecycle().build_listing(request).await?.into_inner();
            out.print("sequencer.lifecycle.v1.BuildListingResponse", &answer, || {
                let mut rows = super::operation::check_rows(&answer.checks);
                rows.add(["", "", ""]);
                rows
            })?;
            out.note(&answer.json);
            Ok(())
        }
    }
}

async fn register(register: Register, session: &Session, out: &Printer) -> Result<()> {
    use register_sequencer_request::{Owner, Signer};
    let Register { name, owner, signer, recipient, labels: pairs, description, url, avatar, dry_run } =
        register;
    let owner = match key_id(session, &owner).await? {
        Some(id) => Owner::OwnerKeyId(id),
        None => Owner::OwnerAddress(owner),
    };
    let signer = match key_id(session, &signer).await? {
        Some(id) => Signer::SignerKeyId(id),
        None => Signer::SignerPubkey(signer),
    };
    let request = RegisterSequencerRequest {
        request_id: request_id(),
        network: session.network()?,
        listing: Some(ListingFields {
            name: name.clone(),
            description,
            avatar,
            url,
            ..ListingFields::default()
        }),
        name,
        owner: Some(owner),
        signer: Some(signer),
        reward_recipient: recipient,
        labels: labels(pairs)?,
        validate_only: dry_run,
    };
    let answer = session.lifecycle().register_sequencer(request).await?.into_inner();
    out.print("sequencer.lifecycle.v1.RegisterSequencerResponse", &answer, || {
        answer.sequencer.as_ref().map_or_else(Rows::properties, properties)
    })
}

async fn at(session: &Session, out: &Printer, name: &str, at_block: u64) -> Result<()> {
    let request = GetSequencerAtRequest { sequencer: find(session, name).await?.id, at_block };
    let answer = session.lifecycle().get_sequencer_at(request).await?.into_inner();
    out.print("sequencer.lifecycle.v1.GetSequencerAtResponse", &answer, || {
        let mut rows = answer.sequencer.as_ref().map_or_else(Rows::properties, properties);
        if let Some(because) = &answer.because {
            rows.add(["because", &because.cause]);
        }
        rows
    })
}

async fn history(session: &Session, out: &Printer, name: &str, at_block: u64, undone: bool) -> Result<()> {
    let request = ListTransitionsRequest {
        sequencer: find(session, name).await?.id,
        at_block,
        include_undone: undone,
        page_size: 500,
        page_token: String::new(),
    };
    let answer = session.lifecycle().list_transitions(request).await?.into_inner();
    out.cut(&answer.next_page_token);
    out.print("sequencer.lifecycle.v1.ListTransitionsResponse", &answer, || {
        let mut rows = Rows::new(["BLOCK", "TIME", "FROM", "TO", "CAUSE", "TRANSACTION"]);
        for one in &answer.transitions {
            let block = one.block.as_ref();
            let cause = if one.undone { format!("{} (undone)", one.cause) } else { one.cause.clone() };
            rows.add([
                &block.map_or(String::new(), |block| block.number.to_string()),
                &utc(block.and_then(|block| block.time.as_ref())),
                &phase(one.from),
                &phase(one.to),
                &cause,
                one.log.as_ref().map_or("", |log| &log.transaction_hash),
            ]);
        }
        rows
    })
}

/// The sequencer with this name on the session's network.
pub async fn find(session: &Session, name: &str) -> Result<Sequencer> {
    let request = GetSequencerRequest {
        network: session.network()?,
        selector: Some(get_sequencer_request::Selector::Name(name.to_owned())),
    };
    match session.lifecycle().get_sequencer(request).await?.into_inner().sequencer {
        Some(sequencer) => Ok(sequencer),
        None => bail!("lifecycle answered without a sequencer"),
    }
}

/// The id of the key with this name; none if the text is an address or public key.
pub async fn key_id(session: &Session, text: &str) -> Result<Option<String>> {
    if text.starts_with("0x") {
        return Ok(None);
    }
    let request = GetKeyRequest { selector: Some(get_key_request::Selector::Name(text.to_owned())) };
    Ok(session.keys().get_key(request).await?.into_inner().key.map(|key| key.id))
}

/// Empty before there was one.
fn phase(value: i32) -> String {
    match Phase::try_from(value).unwrap_or_default() {
        Phase::Unspecified => String::new(),
        phase => word(phase.as_str_name(), "PHASE_"),
    }
}

fn properties(sequencer: &Sequencer) -> Rows {
    let mut rows = Rows::properties();
    let account = |account: &Option<api::lifecycle::v1::Account>| {
        account.as_ref().map_or(String::new(), |account| match account.key_id.as_str() {
            "" => format!("{} (external)", account.address),
            key => format!("{} (key {key})", account.address),
        })
    };
    rows.add(["name", &sequencer.name])
        .add(["network", &sequencer.network])
        .add(["phase", &phase(sequencer.phase)])
        .add(["sequencer id", &sequencer.sequencer_id])
        .add(["locked", &format!("{} METIS", metis(&sequencer.locked_wei))])
        .add(["owner", &account(&sequencer.owner)])
        .add(["signer", &account(&sequencer.signer)])
        .add(["recipient", &sequencer.reward_recipient])
        .add(["withdrawable", &utc(sequencer.withdrawable_time.as_ref())]);
    for flag in &sequencer.flags {
        rows.add([&flag.name, &flag.reason]);
    }
    if let Some(block) = sequencer.as_of.as_ref().and_then(|as_of| as_of.block.as_ref()) {
        rows.add(["as of", &format!("block {} at {}", block.number, utc(block.time.as_ref()))]);
    }
    rows
}
