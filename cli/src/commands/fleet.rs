//! One call for many sequencers: plan, begin, follow, stop.

use anyhow::{Context, Result};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{
    ApproveFleetRequest, CancelFleetRequest, ClaimParameters, CreateFleetRequest, FleetOperation, FleetSpec,
    GetFleetRequest, IncreaseParameters, ListFleetMembersRequest, ListFleetsRequest, LockParameters,
    OperationParameters, PauseFleetRequest, PlanFleetRequest, PlanFleetResponse, RejectFleetRequest,
    ResumeFleetRequest, SetRecipientParameters, UnlockParameters, WithdrawFinalParameters,
};
use clap::{Args, Subcommand, ValueEnum};
use domain::amount::{Eth, Metis};

use super::confirm::typed;
use super::{labels, request_id};
use crate::connect::Session;
use crate::exit::usage;
use crate::output::{Printer, Rows, utc, word};

/// What a plan for nobody says.
const NOBODY: &str = "no managed sequencer of this network has all these labels: nothing would be done";

/// Operations of whole fleets.
#[derive(Subcommand)]
pub enum Command {
    /// What would be done for whom, at what cost, and who is left out and why.
    Plan(Spec),
    /// Plans, shows the plan, and begins it.
    Start {
        #[command(flatten)]
        spec: Spec,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        /// For exits, which cannot be undone: the word unlock.
        #[arg(long, value_name = "KIND")]
        confirm: Option<String>,
        /// Idempotency id; the same one never has two effects.
        #[arg(long)]
        request_id: Option<String>,
    },
    /// Fleet operations, newest first.
    List,
    /// One with its counts.
    Get(Which),
    /// The members of one with their results.
    Members(Which),
    /// Begins no further member until resumed.
    Pause(Why),
    /// Goes on.
    Resume {
        /// Id.
        id: String,
        /// New fee budget in ETH.
        #[arg(long)]
        budget: Option<String>,
    },
    /// Begins no further member, for good; what was begun goes on.
    Cancel(Why),
    /// Says yes to the plan with this digest.
    Approve {
        /// Id.
        id: String,
        /// Digest, as `fleet get` shows it.
        #[arg(long)]
        digest: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Says no.
    Reject(Why),
}

/// One of them.
#[derive(Args)]
pub struct Which {
    /// Id.
    id: String,
}

/// One of them, with a reason.
#[derive(Args)]
pub struct Why {
    /// Id.
    id: String,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
}

/// What is asked for each member.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Lock,
    Increase,
    Claim,
    SetRecipient,
    Unlock,
    WithdrawFinal,
}

/// What is to be done for which sequencers.
#[derive(Args)]
pub struct Spec {
    /// What is asked for each.
    kind: Kind,
    /// Sequencers with all these labels.
    #[arg(long = "label", value_name = "KEY=VALUE", required = true)]
    labels: Vec<String>,
    /// Lock and increase: METIS for each.
    #[arg(long, default_value = "0")]
    amount: String,
    /// Increase: convert the unclaimed reward too.
    #[arg(long)]
    with_rewards: bool,
    /// Set-recipient: the L2 address.
    #[arg(long, default_value = "")]
    to: String,
    /// Claim and unlock: set this recipient first where there is none.
    #[arg(long, default_value = "")]
    recipient_if_unset: String,
    /// So many must be confirmed before the others begin.
    #[arg(long, default_value_t = 1)]
    canary: u32,
    /// Unfinished members at once.
    #[arg(long, default_value_t = 5)]
    in_flight: u32,
    /// Seconds between two members.
    #[arg(long, default_value_t = 0)]
    every: u32,
    /// Most ETH that fees and bridge may cost in all.
    #[arg(long)]
    budget: Option<String>,
}

impl Spec {
    fn asked(&self, network: String) -> Result<FleetSpec> {
        let wei = |text: &str| {
            Metis::parse(text)
                .map(Metis::wei_string)
                .map_err(|malformed| usage(format!("--amount {text}: {malformed}")))
        };
        let parameters = match self.kind {
            Kind::Lock => {
                let amount_wei = wei(&self.amount)?;
                Parameters::Lock(LockParameters { amount_wei, ..LockParameters::default() })
            }
            Kind::Increase => Parameters::Increase(IncreaseParameters {
                amount_wei: wei(&self.amount)?,
                with_rewards: self.with_rewards,
            }),
            Kind::Claim => Parameters::Claim(ClaimParameters::default()),
            Kind::SetRecipient => {
                Parameters::SetRecipient(SetRecipientParameters { recipient: self.to.clone() })
            }
            Kind::Unlock => Parameters::Unlock(UnlockParameters::default()),
            Kind::WithdrawFinal => Parameters::WithdrawFinal(WithdrawFinalParameters::default()),
        };
        Ok(FleetSpec {
            network,
            labels: labels(self.labels.clone())?,
            parameters: Some(OperationParameters { parameters: Some(parameters) }),
            recipient_if_unset: self.recipient_if_unset.clone(),
            canary: self.canary,
            in_flight_max: self.in_flight,
            interval_secs: self.every,
            fee_budget_wei: self.budget.as_deref().map(budget).transpose()?.unwrap_or_default(),
        })
    }
}

/// ETH as people write it, in wei.
fn budget(text: &str) -> Result<String> {
    Eth::parse(text).map(Eth::wei_string).map_err(|malformed| usage(format!("--budget {text}: {malformed}")))
}

/// Runs a command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    let mut fleets = session.fleets();
    let changed = match command {
        Command::Plan(spec) => {
            let spec = Some(spec.asked(session.network()?)?);
            let plan = fleets.plan_fleet(PlanFleetRequest { spec }).await?.into_inner();
            return out.print("sequencer.lifecycle.v1.PlanFleetResponse", &plan, || plan_words(&plan));
        }
        Command::Start { spec, yes, confirm, request_id: id } => {
            let irreversible = spec.kind == Kind::Unlock;
            let spec = Some(spec.asked(session.network()?)?);
            let plan = fleets.plan_fleet(PlanFleetRequest { spec: spec.clone() }).await?.into_inner();
            out.note(&plan_words(&plan));
            // A plan for nobody is refused with its reason: there is nothing to confirm.
            match (plan.included, irreversible, confirm.as_deref()) {
                (0, ..) | (_, true, Some("unlock")) => {}
                (_, true, Some(other)) => {
                    return Err(usage(format!("--confirm says {other}, what is asked is unlock")));
                }
                (_, true, None) => typed("unlock", "--confirm unlock")?,
                (_, false, _) if yes => {}
                (_, false, _) => typed("yes", "--yes")?,
            }
            let request = CreateFleetRequest {
                request_id: id.unwrap_or_else(request_id),
                spec,
                plan_digest: plan.digest,
            };
            fleets.create_fleet(request).await?.into_inner().fleet
        }
        Command::List => return list(session, out).await,
        Command::Members(Which { id }) => return members(session, out, id).await,
        Command::Get(Which { id }) => fleets.get_fleet(GetFleetRequest { id }).await?.into_inner().fleet,
        Command::Pause(Why { id, reason }) => {
            fleets.pause_fleet(PauseFleetRequest { id, reason }).await?.into_inner().fleet
        }
        Command::Resume { id, budget: more } => {
            let fee_budget_wei = more.as_deref().map(budget).transpose()?.unwrap_or_default();
            fleets.resume_fleet(ResumeFleetRequest { id, fee_budget_wei }).await?.into_inner().fleet
        }
        Command::Cancel(Why { id, reason }) => {
            fleets.cancel_fleet(CancelFleetRequest { id, reason }).await?.into_inner().fleet
        }
        Command::Approve { id, digest, reason } => {
            fleets.approve_fleet(ApproveFleetRequest { id, digest, reason }).await?.into_inner().fleet
        }
        Command::Reject(Why { id, reason }) => {
            fleets.reject_fleet(RejectFleetRequest { id, reason }).await?.into_inner().fleet
        }
    };
    print(out, &changed.context("lifecycle answered without a fleet operation")?)
}

async fn list(session: &Session, out: &Printer) -> Result<()> {
    let request =
        ListFleetsRequest { network: session.network()?, page_size: 500, ..ListFleetsRequest::default() };
    let answer = session.fleets().list_fleets(request).await?.into_inner();
    out.cut(&answer.next_page_token);
    out.print("sequencer.lifecycle.v1.ListFleetsResponse", &answer, || {
        let mut rows = Rows::new(["ID", "ASKED", "STATE", "DONE", "WHY"]);
        for one in &answer.fleets {
            let done = format!("{} of {}", one.confirmed, one.included);
            rows.add([&one.id, &utc(one.create_time.as_ref()), &state(one), &done, &one.reason]);
        }
        rows
    })
}

async fn members(session: &Session, out: &Printer, fleet: String) -> Result<()> {
    let request = ListFleetMembersRequest { fleet, page_size: 500, ..ListFleetMembersRequest::default() };
    let mut answer = session.fleets().list_fleet_members(request.clone()).await?.into_inner();
    while !answer.next_page_token.is_empty() {
        let page_token = std::mem::take(&mut answer.next_page_token);
        let next = ListFleetMembersRequest { page_token, ..request.clone() };
        let next = session.fleets().list_fleet_members(next).await?.into_inner();
        answer.members.extend(next.members);
        answer.next_page_token = next.next_page_token;
    }
    out.print("sequencer.lifecycle.v1.ListFleetMembersResponse", &answer, || {
        let mut rows = Rows::new(["SEQUENCER", "RESULT", "COST", "OPERATION", "WHY"]);
        for one in &answer.members {
            let name = if one.canary { format!("{} (canary)", one.name) } else { one.name.clone() };
            rows.add([&name, &one.result, &eth(&one.spent_wei), &one.operation, &one.reason]);
        }
        rows
    })
}

/// A plan as people read it.
fn plan_words(plan: &PlanFleetResponse) -> String {
    if plan.members.is_empty() {
        return NOBODY.to_owned();
    }
    let mut rows = Rows::new(["SEQUENCER", "DONE", "FEE", "AT MOST", "WHAT"]);
    for one in &plan.members {
        let done = if one.included { "yes" } else { &one.reason_code };
        rows.add([&one.name, done, &eth(&one.fee_wei), &eth(&one.fee_max_wei), &one.words]);
    }
    let within = if plan.within_budget { "" } else { "above the budget: it will stop before" };
    let count = plan.included.to_string();
    rows.add(["all", &count, &eth(&plan.fee_wei), &eth(&plan.fee_max_wei), within]);
    rows.add(["digest", "", "", "", &plan.digest]);
    rows.to_string()
}

fn print(out: &Printer, one: &FleetOperation) -> Result<()> {
    out.print("sequencer.lifecycle.v1.FleetOperation", one, || {
        let mut rows = Rows::properties();
        rows.add(["id", &one.id])
            .add(["state", &state(one)])
            .add(["why", &one.reason])
            .add(["confirmed", &format!("{} of {}", one.confirmed, one.included)])
            .add(["under way", &one.open.to_string()])
            .add(["failed", &one.failed.to_string()])
            .add(["left out", &one.skipped.to_string()])
            .add(["spent", &format!("{} ETH", eth(&one.spent_wei))])
            .add(["digest", &one.digest]);
        for said in &one.approvals {
            rows.add([if said.approved { "approved by" } else { "rejected by" }, &said.identity]);
        }
        rows
    })
}

fn state(one: &FleetOperation) -> String {
    word(one.state().as_str_name(), "FLEET_STATE_")
}

/// Wei as ETH, exact.
fn eth(wei: &str) -> String {
    Eth::parse_wei(wei).map_or_else(|_| wei.to_owned(), |amount| amount.to_string())
}

#[cfg(test)]
mod tests {
    use api::lifecycle::v1::PlannedMember;

    use super::*;

    #[test]
    fn a_plan_for_nobody_says_so_and_any_other_names_its_members() {
        let nobody = PlanFleetResponse { digest: "0x01".to_owned(), ..PlanFleetResponse::default() };
        assert_eq!(plan_words(&nobody), NOBODY);
        let left_out = PlannedMember {
            name: "alpha".to_owned(),
            reason_code: "SEQUENCER_NOT_LOCKED".to_owned(),
            ..PlannedMember::default()
        };
        let words = plan_words(&PlanFleetResponse { members: vec![left_out], ..nobody });
        assert!(["alpha", "SEQUENCER_NOT_LOCKED", "0x01"].iter().all(|part| words.contains(part)), "{words}");
    }
}
