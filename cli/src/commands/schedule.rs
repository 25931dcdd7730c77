//! What is to be done again and again, or once when the chain allows it.

use anyhow::{Context, Result};
use api::lifecycle::v1::schedule_rule::Rule;
use api::lifecycle::v1::{
    ClaimEvery, CompoundEvery, CreateScheduleRequest, DeleteScheduleRequest, GetScheduleRequest,
    ListScheduleRunsRequest, ListSchedulesRequest, Schedule, ScheduleRule, ScheduleState,
    UpdateScheduleRequest, WithdrawWhenAllowed, WorthIt,
};
use clap::{Args, Subcommand};
use domain::amount::Eth;

use super::request_id;
use super::sequencer::find;
use super::terms::moment;
use crate::connect::Session;
use crate::exit::usage;
use crate::output::{Printer, Rows, utc, word};

/// Schedules.
#[derive(Subcommand)]
pub enum Command {
    /// Adds one.
    #[command(subcommand)]
    Add(Add),
    /// Schedules of the network, newest first.
    List {
        /// Only of this sequencer.
        #[arg(long)]
        sequencer: Option<String>,
    },
    /// One with its last decision.
    Get(Which),
    /// What one decided and why, newest first.
    Runs(Which),
    /// Looks at nothing until resumed.
    Pause(Which),
    /// Goes on; what was missed is made up for once.
    Resume(Which),
    /// Removes one; what it asked for goes on.
    Remove(Which),
}

/// One of them.
#[derive(Args)]
pub struct Which {
    /// Id.
    id: String,
}

/// What is to be done.
#[derive(Subcommand)]
pub enum Add {
    /// Claim every N days if the reward exceeds so many times its cost.
    Claim(Earning),
    /// Convert the reward into principal every N days, while it fits below the cap.
    Compound(Earning),
    /// Withdraw the final amount when withdrawable.
    WithdrawFinal {
        /// Name of the sequencer.
        sequencer: String,
    },
}

/// When a reward is worth its cost.
#[derive(Args)]
pub struct Earning {
    /// Name of the sequencer.
    sequencer: String,
    /// Days between two looks.
    #[arg(long)]
    every_days: u32,
    /// The reward must be worth so many times the cost; 0 for always.
    #[arg(long, default_value_t = 0)]
    times_cost: u32,
    /// What one METIS is worth in ETH, by your reckoning.
    #[arg(long, value_name = "ETH")]
    metis_price: Option<String>,
    /// Chain time of the first look, as 2026-12-01T00:00:00Z; now if absent.
    #[arg(long, value_name = "TIME")]
    first_look: Option<String>,
}

impl Earning {
    fn worth(&self) -> Result<WorthIt> {
        let price = self.metis_price.as_deref().map(|text| {
            Eth::parse(text).map_err(|malformed| usage(format!("--metis-price {text}: {malformed}")))
        });
        Ok(WorthIt {
            every_days: self.every_days,
            times_cost: self.times_cost,
            metis_price_wei: price.transpose()?.map(Eth::wei_string).unwrap_or_default(),
        })
    }
}

/// Runs a command.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    let mut schedules = session.schedules();
    let one = match command {
        Command::Add(add) => {
            let (name, rule, first) = match add {
                Add::Claim(of) => {
                    let rule = Rule::ClaimEvery(ClaimEvery { worth_it: Some(of.worth()?) });
                    (of.sequencer, rule, of.first_look)
                }
                Add::Compound(of) => {
                    let rule = Rule::CompoundEvery(CompoundEvery { worth_it: Some(of.worth()?) });
                    (of.sequencer, rule, of.first_look)
                }
                Add::WithdrawFinal { sequencer } => {
                    (sequencer, Rule::WithdrawWhenAllowed(WithdrawWhenAllowed {}), None)
                }
            };
            let request = CreateScheduleRequest {
                request_id: request_id(),
                sequencer: find(session, &name).await?.id,
                rule: Some(ScheduleRule { rule: Some(rule) }),
                first_look: moment("--first-look", first.as_deref())?,
            };
            schedules.create_schedule(request).await?.into_inner().schedule
        }
        Command::List { sequencer } => return list(session, out, sequencer).await,
        Command::Runs(Which { id }) => return runs(session, out, id).await,
        Command::Get(Which { id }) => {
            schedules.get_schedule(GetScheduleRequest { id }).await?.into_inner().schedule
        }
        Command::Pause(Which { id }) => set(session, id, ScheduleState::Paused).await?,
        Command::Resume(Which { id }) => set(session, id, ScheduleState::Active).await?,
        Command::Remove(Which { id }) => {
            schedules.delete_schedule(DeleteScheduleRequest { id }).await?;
            out.note("removed");
            return Ok(());
        }
    };
    print(out, &one.context("lifecycle answered without a schedule")?)
}

async fn set(session: &Session, id: String, state: ScheduleState) -> Result<Option<Schedule>> {
    let mut schedules = session.schedules();
    let before = schedules.get_schedule(GetScheduleRequest { id: id.clone() }).await?.into_inner();
    let etag = before.schedule.context("lifecycle answered without a schedule")?.etag;
    let request = UpdateScheduleRequest { id, etag, rule: None, state: state.into() };
    Ok(schedules.update_schedule(request).await?.into_inner().schedule)
}

async fn list(session: &Session, out: &Printer, sequencer: Option<String>) -> Result<()> {
    let sequencer = match sequencer {
        Some(name) => find(session, &name).await?.id,
        None => String::new(),
    };
    let request = ListSchedulesRequest {
        network: session.network()?,
        sequencer,
        page_size: 500,
        ..ListSchedulesRequest::default()
    };
    let answer = session.schedules().list_schedules(request).await?.into_inner();
    out.cut(&answer.next_page_token);
    out.print("sequencer.lifecycle.v1.ListSchedulesResponse", &answer, || {
        let mut rows = Rows::new(["ID", "WHAT", "STATE", "NEXT LOOK", "LAST DECISION"]);
        for one in &answer.schedules {
            let next = utc(one.next_look.as_ref());
            rows.add([&one.id, &one.words, &state(one), &next, &one.last_decision]);
        }
        rows
    })
}

async fn runs(session: &Session, out: &Printer, schedule: String) -> Result<()> {
    let request = ListScheduleRunsRequest { schedule, page_size: 500, ..ListScheduleRunsRequest::default() };
    let answer = session.schedules().list_schedule_runs(request).await?.into_inner();
    out.cut(&answer.next_page_token);
    out.print("sequencer.lifecycle.v1.ListScheduleRunsResponse", &answer, || {
        let mut rows = Rows::new(["DUE", "DECISION", "WHY", "OPERATION"]);
        for one in &answer.runs {
            rows.add([&utc(one.due_time.as_ref()), &one.decision, &one.reason, &one.operation]);
        }
        rows
    })
}

fn print(out: &Printer, one: &Schedule) -> Result<()> {
    out.print("sequencer.lifecycle.v1.Schedule", one, || {
        let mut rows = Rows::properties();
        rows.add(["id", &one.id])
            .add(["what", &one.words])
            .add(["state", &state(one)])
            .add(["next look", &utc(one.next_look.as_ref())])
            .add(["last decision", &one.last_decision])
            .add(["operation", &one.last_operation]);
        rows
    })
}

fn state(one: &Schedule) -> String {
    word(one.state().as_str_name(), "SCHEDULE_STATE_")
}
