//! An operator on gRPC: our services hold the keys, sign and send.

use age::secrecy::ExposeSecret;
use alloy_primitives::Address;
use anyhow::{Context, Result, bail, ensure};
use api::indexer::v1::{
    GetNodeRequest, NodeEndpoints, RegisterNodeRequest, SignerOnNetwork, get_node_request::Selector as OfNode,
};
use api::keys::v1::{BackupKeysRequest, CreateKeyRequest, Key, KeyRole, VerifyBackupRequest};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{
    BuildListingRequest, ClaimParameters, CreateOperationRequest, GetSequencerRequest, IncreaseParameters,
    ListTransitionsRequest, ListingFields, LockParameters, Operation, OperationMode, OperationParameters,
    OperationState, Phase, RegisterSequencerRequest, Sequencer, UnlockParameters, WatchOperationRequest,
    WithdrawFinalParameters, WithdrawParameters, get_sequencer_request::Selector, register_sequencer_request,
};
use api::rewards::v1::GetBalanceRequest;
use api::types::v1::Verdict;
use domain::amount::Metis;
use testkit::simulator::Endpoints;

use super::{Accounts, Act, Driver, Readiness, Rewards, Seen};
use crate::clients::{Clients, request_id};
use crate::stack::NETWORK;

/// The whole history of a journey is far shorter.
const PAGE: i32 = 100;

/// The operator, and what it has made so far.
#[derive(Debug)]
pub struct Managed {
    clients: Clients,
    name: String,
    keys: Option<(Key, Key)>,
    id: String,
}

impl Managed {
    /// An operator who makes a sequencer of this name.
    pub fn new(clients: Clients, name: &str) -> Self {
        Self { clients, name: name.to_owned(), keys: None, id: String::new() }
    }

    /// Id of the sequencer in the register; empty before it is registered.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name in the register.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn keys(&self) -> Result<&(Key, Key)> {
        self.keys.as_ref().context("the keys are made first")
    }

    async fn create_key(&mut self, role: KeyRole) -> Result<Key> {
        let suffix = if role == KeyRole::Owner { "owner" } else { "signer" };
        let request = CreateKeyRequest {
            request_id: request_id(),
            name: format!("{}-{suffix}", self.name),
            role: role.into(),
            labels: [("fleet".to_owned(), "dev".to_owned())].into(),
            ..CreateKeyRequest::default()
        };
        self.clients.keys.create_key(request).await?.into_inner().key.context("the key that was made")
    }

    /// The sequencer with everything that the API says of it.
    ///
    /// # Errors
    /// When lifecycle does not answer.
    pub async fn whole(&mut self) -> Result<Sequencer> {
        let selector = Some(Selector::Id(self.id.clone()));
        let request = GetSequencerRequest { network: NETWORK.to_owned(), selector };
        let answer = self.clients.lifecycle.get_sequencer(request).await?.into_inner();
        answer.sequencer.context("the sequencer")
    }

    /// Asks for an operation and follows it to its end.
    ///
    /// # Errors
    /// When it is refused or fails.
    pub async fn operate(&mut self, parameters: Parameters) -> Result<Operation> {
        let request = CreateOperationRequest {
            request_id: request_id(),
            sequencer: self.id.clone(),
            parameters: Some(OperationParameters { parameters: Some(parameters) }),
            mode: OperationMode::Managed.into(),
            validate_only: false,
            terms: None,
        };
        let created = self.clients.lifecycle.create_operation(request).await?.into_inner();
        let id = created.operation.context("the operation")?.id;
        let watch = WatchOperationRequest { id };
        let mut changes = self.clients.lifecycle.watch_operation(watch).await?.into_inner();
        while let Some(change) = changes.message().await? {
            let operation = change.operation.context("the operation")?;
            match operation.state() {
                OperationState::Confirmed => return Ok(operation),
                OperationState::Failed | OperationState::Cancelled | OperationState::Expired => {
                    bail!(
                        "{}: {} ({})",
                        operation.state().as_str_name(),
                        operation.reason,
                        operation.reason_code
                    )
                }
                _ => {}
            }
        }
        bail!("the stream ended before the operation did")
    }
}

impl Driver for Managed {
    async fn create_keys(&mut self) -> Result<Accounts> {
        let owner = self.create_key(KeyRole::Owner).await.context("making the owner's key")?;
        let signer = self.create_key(KeyRole::Sequencer).await.context("making the node's key")?;
        let accounts = Accounts { owner: address_of(&owner)?, signer: address_of(&signer)? };
        self.keys = Some((owner, signer));
        Ok(accounts)
    }

    async fn prove_backup(&mut self) -> Result<String> {
        let (owner, signer) = self.keys()?;
        let key_ids = vec![owner.id.clone(), signer.id.clone()];
        let identity = age::x25519::Identity::generate();
        let recipients = vec![identity.to_public().to_string()];
        let backup = BackupKeysRequest { key_ids: key_ids.clone(), recipients, labels: [].into() };
        let archive = self.clients.keys.backup_keys(backup).await?.into_inner().archive;
        let size = archive.len();
        let drill =
            VerifyBackupRequest { archive, identity: identity.to_string().expose_secret().to_owned() };
        let proven = self.clients.keys.verify_backup(drill).await?.into_inner().proven_key_ids;
        ensure!(key_ids.iter().all(|id| proven.contains(id)), "only {proven:?} are proven");
        Ok(format!("{} keys restored from an archive of {size} bytes", proven.len()))
    }

    async fn register(&mut self, recipient: Address) -> Result<()> {
        let (owner, signer) = self.keys()?;
        let request = RegisterSequencerRequest {
            request_id: request_id(),
            network: NETWORK.to_owned(),
            name: self.name.clone(),
            owner: Some(register_sequencer_request::Owner::OwnerKeyId(owner.id.clone())),
            signer: Some(register_sequencer_request::Signer::SignerKeyId(signer.id.clone())),
            reward_recipient: recipient.to_string(),
            labels: [("fleet".to_owned(), "dev".to_owned())].into(),
            listing: Some(listing_fields(&self.name)),
            validate_only: false,
        };
        let answer = self.clients.lifecycle.register_sequencer(request).await?.into_inner();
        self.id = answer.sequencer.context("the sequencer")?.id;
        Ok(())
    }

    async fn listing(&mut self) -> Result<String> {
        let request = BuildListingRequest { sequencer: self.id.clone() };
        let answer = self.clients.lifecycle.build_listing(request).await?.into_inner();
        let failing: Vec<String> = answer
            .checks
            .iter()
            .filter(|check| check.verdict() == Verdict::Fail)
            .map(|c| c.name.clone())
            .collect();
        ensure!(failing.is_empty(), "the entry breaks {failing:?}");
        Ok(answer.json)
    }

    async fn register_node(&mut self, endpoints: Endpoints) -> Result<()> {
        let Endpoints { themis_rpc, themis_rest, bridge, l2geth, dtl } = endpoints;
        let request = RegisterNodeRequest {
            request_id: request_id(),
            network: NETWORK.to_owned(),
            name: self.name.clone(),
            signer: address_of(&self.keys()?.1)?.to_string(),
            endpoints: Some(NodeEndpoints { themis_rpc, themis_rest, bridge, l2geth, dtl }),
            validate_only: false,
        };
        self.clients.nodes.register_node(request).await?;
        Ok(())
    }

    async fn node(&mut self) -> Result<Readiness> {
        let signer = address_of(&self.keys()?.1)?.to_string();
        let selector = Some(OfNode::Signer(SignerOnNetwork { network: NETWORK.to_owned(), signer }));
        let answer = self.clients.nodes.get_node(GetNodeRequest { selector }).await?.into_inner();
        let node = answer.node.context("the node")?;
        let stops = node.checks.iter().filter(|check| check.verdict() == Verdict::Fail);
        let stopped_by = stops.map(|check| check.name.clone()).collect();
        Ok(Readiness { ready_to_lock: node.ready_to_lock, stopped_by })
    }

    async fn act(&mut self, act: Act) -> Result<()> {
        let parameters = match act {
            Act::Lock(amount) => {
                Parameters::Lock(LockParameters { amount_wei: amount.wei_string(), ..Default::default() })
            }
            Act::Increase(amount) => Parameters::Increase(IncreaseParameters {
                amount_wei: amount.wei_string(),
                with_rewards: false,
            }),
            Act::Withdraw(amount) => {
                Parameters::Withdraw(WithdrawParameters { amount_wei: amount.wei_string() })
            }
            Act::Claim => Parameters::Claim(ClaimParameters { l2_gas: 0 }),
            Act::Unlock => Parameters::Unlock(UnlockParameters { l2_gas: 0 }),
            Act::WithdrawFinal => Parameters::WithdrawFinal(WithdrawFinalParameters { l2_gas: 0 }),
        };
        self.operate(parameters).await.map(drop)
    }

    async fn sequencer(&mut self) -> Result<Seen> {
        let seen = self.whole().await?;
        Ok(Seen {
            phase: phase_name(seen.phase()),
            sequencer_id: Some(seen.sequencer_id)
                .filter(|id| !id.is_empty())
                .map(|id| id.parse())
                .transpose()?,
            locked: if seen.locked_wei.is_empty() {
                Metis::ZERO
            } else {
                Metis::parse_wei(&seen.locked_wei)?
            },
            withdrawable_at: seen.withdrawable_time.map(|time| u64::try_from(time.seconds)).transpose()?,
        })
    }

    async fn rewards(&mut self) -> Result<Rewards> {
        let sequencer_id = self.whole().await?.sequencer_id;
        let request = GetBalanceRequest { network: NETWORK.to_owned(), sequencer_id, at_block: 0 };
        let answer = self.clients.rewards.get_balance(request).await?.into_inner();
        let balance = answer.balance.context("the balance")?;
        Ok(Rewards {
            accrued: Metis::parse_wei(&balance.accrued_wei)?,
            unclaimed: Metis::parse_wei(&balance.unclaimed_wei)?,
            claimed: Metis::parse_wei(&balance.claimed_wei)?,
            paid_at_exit: Metis::parse_wei(&balance.paid_at_exit_wei)?,
        })
    }

    async fn history(&mut self) -> Result<Vec<String>> {
        let request = ListTransitionsRequest {
            sequencer: self.id.clone(),
            at_block: 0,
            include_undone: false,
            page_size: PAGE,
            page_token: String::new(),
        };
        let answer = self.clients.lifecycle.list_transitions(request).await?.into_inner();
        Ok(answer.transitions.iter().map(|change| phase_name(change.to())).collect())
    }
}

/// The L1 address of a key.
pub(crate) fn address_of(key: &Key) -> Result<Address> {
    let forms = key.public_key.as_ref().context("a key has a public side")?;
    domain::address::parse(&forms.address).context("the address of a key")
}

/// `ACTIVE` for `PHASE_ACTIVE`.
pub(crate) fn phase_name(phase: Phase) -> String {
    let name = phase.as_str_name();
    name.strip_prefix("PHASE_").unwrap_or(name).to_owned()
}

/// A listing that every rule of the dashboard accepts.
pub(crate) fn listing_fields(name: &str) -> ListingFields {
    ListingFields {
        name: name.to_owned(),
        description: "A sequencer of the private network.".to_owned(),
        avatar: format!("{name}.png"),
        url: "https://sequencer.example".to_owned(),
        lst_name: String::new(),
        lst_url: String::new(),
    }
}
