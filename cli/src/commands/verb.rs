//! The nine operations as verbs of the command line.

use anyhow::Result;
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{
    ClaimParameters, IncreaseParameters, LockParameters, RotateSignerParameters, SetOwnerParameters,
    SetRecipientParameters, UnlockParameters, WithdrawFinalParameters, WithdrawParameters,
    rotate_signer_parameters,
};
use clap::{Args, Subcommand};
use domain::amount::Metis;

use super::sequencer::key_id;
use super::terms::Terms;
use crate::connect::Session;
use crate::exit::usage;

/// The nine operations as verbs.
#[derive(Subcommand)]
pub enum Verb {
    /// Approves and locks METIS for a sequencer.
    Lock(Of<Lock>),
    /// Adds METIS, or the unclaimed reward, to the lock.
    Increase(Of<Increase>),
    /// Takes part of the principal back to the owner.
    Withdraw(Of<Amount>),
    /// Bridges the unclaimed reward to the L2 recipient.
    Claim(Of<Gas>),
    /// Changes the L2 reward recipient.
    SetRecipient(Of<To>),
    /// Hands the sequencer over to another owner; cannot be undone by us.
    SetOwner(Of<To>),
    /// Replaces the signer; the old one can never be used again.
    RotateSigner(Of<NewSigner>),
    /// Begins the exit; cannot be undone.
    Unlock(Of<Gas>),
    /// Takes the principal after the exit delay.
    WithdrawFinal(Of<Gas>),
}

/// A verb with its object and manner.
#[derive(Args)]
pub struct Of<P: Args> {
    /// Name of the sequencer.
    sequencer: String,
    #[command(flatten)]
    parameters: P,
    #[command(flatten)]
    manner: Manner,
}

/// How an operation is asked for.
#[derive(Args)]
pub struct Manner {
    /// Every check and the simulation; nothing is sent.
    #[arg(long)]
    pub dry_run: bool,
    /// Follows the operation until it is final.
    #[arg(long)]
    pub wait: bool,
    /// Seconds that --wait waits.
    #[arg(long, default_value_t = 600)]
    pub timeout: u64,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
    /// For what cannot be undone: the sequencer's name again.
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Idempotency id; the same one never has two effects.
    #[arg(long)]
    pub request_id: Option<String>,
    /// When it may begin and until when.
    #[command(flatten)]
    pub terms: Terms,
}

/// `lock`.
#[derive(Args)]
pub struct Lock {
    /// METIS, for example 20000.
    #[arg(long)]
    amount: String,
    /// L2 reward recipient; the registered one if absent.
    #[arg(long, default_value = "")]
    recipient: String,
    /// Lock although the node is not ready, for this reason.
    #[arg(long, value_name = "REASON", default_value = "")]
    override_node: String,
}

/// `increase`.
#[derive(Args)]
pub struct Increase {
    /// METIS from the owner.
    #[arg(long, default_value = "0")]
    amount: String,
    /// Convert the unclaimed reward too.
    #[arg(long)]
    with_rewards: bool,
}

/// An amount.
#[derive(Args)]
pub struct Amount {
    /// METIS, for example 1000.5.
    #[arg(long)]
    amount: String,
}

/// Gas of the bridge.
#[derive(Args)]
pub struct Gas {
    /// Gas on L2; 0 for the bridge's minimum.
    #[arg(long, default_value_t = 0)]
    l2_gas: u32,
}

/// An address.
#[derive(Args)]
pub struct To {
    /// Address.
    #[arg(long)]
    to: String,
}

/// A new signer.
#[derive(Args)]
pub struct NewSigner {
    /// Name of a key of ours, or a public key in hex.
    #[arg(long)]
    signer: String,
}

/// What a verb asks for.
pub struct Asked {
    /// Name of the sequencer.
    pub sequencer: String,
    /// What is asked.
    pub parameters: Parameters,
    /// How.
    pub manner: Manner,
    /// Cannot be undone.
    pub irreversible: bool,
}

/// Reads a verb; keys are looked up by name.
pub async fn asked(verb: Verb, session: &Session) -> Result<Asked> {
    let irreversible = matches!(verb, Verb::SetOwner(_) | Verb::RotateSigner(_) | Verb::Unlock(_));
    let (sequencer, manner, parameters) = match verb {
        Verb::Lock(Of { sequencer, manner, parameters: Lock { amount, recipient, override_node } }) => {
            let parameters = LockParameters {
                amount_wei: wei(&amount)?,
                reward_recipient: recipient,
                override_node_reason: override_node,
            };
            (sequencer, manner, Parameters::Lock(parameters))
        }
        Verb::Increase(Of { sequencer, manner, parameters: Increase { amount, with_rewards } }) => {
            let parameters = IncreaseParameters { amount_wei: wei(&amount)?, with_rewards };
            (sequencer, manner, Parameters::Increase(parameters))
        }
        Verb::Withdraw(Of { sequencer, manner, parameters: Amount { amount } }) => {
            (sequencer, manner, Parameters::Withdraw(WithdrawParameters { amount_wei: wei(&amount)? }))
        }
        Verb::Claim(Of { sequencer, manner, parameters: Gas { l2_gas } }) => {
            (sequencer, manner, Parameters::Claim(ClaimParameters { l2_gas }))
        }
        Verb::SetRecipient(Of { sequencer, manner, parameters: To { to } }) => {
            (sequencer, manner, Parameters::SetRecipient(SetRecipientParameters { recipient: to }))
        }
        Verb::SetOwner(Of { sequencer, manner, parameters: To { to } }) => {
            (sequencer, manner, Parameters::SetOwner(SetOwnerParameters { new_owner: to }))
        }
        Verb::RotateSigner(Of { sequencer, manner, parameters: NewSigner { signer } }) => {
            let new_signer = match key_id(session, &signer).await? {
                Some(id) => rotate_signer_parameters::NewSigner::KeyId(id),
                None => rotate_signer_parameters::NewSigner::Pubkey(signer),
            };
            let parameters = RotateSignerParameters { new_signer: Some(new_signer) };
            (sequencer, manner, Parameters::RotateSigner(parameters))
        }
        Verb::Unlock(Of { sequencer, manner, parameters: Gas { l2_gas } }) => {
            (sequencer, manner, Parameters::Unlock(UnlockParameters { l2_gas }))
        }
        Verb::WithdrawFinal(Of { sequencer, manner, parameters: Gas { l2_gas } }) => {
            (sequencer, manner, Parameters::WithdrawFinal(WithdrawFinalParameters { l2_gas }))
        }
    };
    Ok(Asked { sequencer, parameters, manner, irreversible })
}

/// METIS as people write it, in wei.
fn wei(amount: &str) -> Result<String> {
    let metis = Metis::parse(amount).map_err(|malformed| usage(format!("--amount {amount}: {malformed}")))?;
    Ok(metis.wei_string())
}
