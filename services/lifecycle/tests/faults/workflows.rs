//! Workflows under fire: the process dies where a fleet operation begins a member, where a schedule asks for its
//! operation, and where what was approved is admitted, and is started again. Whoever got no answer asks again. Each
//! operation is done once, with one nonce for each of its calls, and the workflow says so.
//!
//! `LIFECYCLE_WORKFLOWS=100` plays so many runs, each point in its turn; `LIFECYCLE_FAULTS_SEED` others.

use std::collections::BTreeMap;
use std::time::Instant;

use api::lifecycle::v1::fleet_service_client::FleetServiceClient;
use api::lifecycle::v1::schedule_rule::Rule;
use api::lifecycle::v1::schedule_service_client::ScheduleServiceClient;
use api::lifecycle::v1::*;
use lifecycle::{ApprovalRule, Approvals, Config, Point};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use runtime::client::Peer;
use testkit::{from_environment, wait_for};
use tonic::Status;

use super::card::Verb;
use super::subject::Subject;
use super::{ANSWER_MAX, RUNS_OF_A_CHAIN, Range, failing_at};
use crate::world::{NETWORK, World, quick, request_id};

/// Every point between the steps of a workflow.
const POINTS: [(Workflow, Point); 5] = [
    (Workflow::Fleet, Point::BeforeMember),
    (Workflow::Fleet, Point::AfterMember),
    (Workflow::Schedule, Point::BeforeRun),
    (Workflow::Schedule, Point::AfterRun),
    (Workflow::Approval, Point::BeforeAdmission),
];
/// Runs in `make test`: each point once. `make test-long` asks for each twenty times.
const RUNS: usize = POINTS.len();
/// Members of a fleet operation, which may all be under way at once.
const MEMBERS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Workflow {
    /// The same for two sequencers.
    Fleet,
    /// When the chain's clock says so.
    Schedule,
    /// When alice and bob have said yes.
    Approval,
}

/// One run.
#[derive(Debug)]
struct Run {
    workflow: Workflow,
    /// Where the process dies.
    point: Point,
    verb: Verb,
    /// Members of a fleet operation that must be confirmed before the others begin.
    canary: u32,
    /// Blocks are made as soon as there is something for them.
    automine: bool,
}

impl Run {
    fn draw((workflow, point): (Workflow, Point), rng: &mut StdRng) -> Self {
        let verbs: &[Verb] = match workflow {
            Workflow::Fleet => &[Verb::Lock, Verb::Increase, Verb::Claim],
            Workflow::Schedule => &[Verb::Claim, Verb::Compound],
            Workflow::Approval => &[Verb::Withdraw, Verb::Unlock],
        };
        let verb = *verbs.choose(rng).expect("a verb");
        Self { workflow, point, verb, canary: rng.random_range(0..=1), automine: rng.random_bool(0.5) }
    }

    /// How many of its operations are stored when it dies there.
    fn stored(&self) -> std::ops::RangeInclusive<i64> {
        match self.point {
            Point::BeforeMember | Point::BeforeRun => 0..=0,
            // The other member begins beside it.
            Point::AfterMember if self.canary == 0 => 1..=2,
            _ => 1..=1,
        }
    }
}

/// What is asked for, and asked for again as it is where no answer came.
#[derive(Clone)]
enum Asked {
    Fleet(CreateFleetRequest),
    Schedule(CreateScheduleRequest),
    Approval(ApproveOperationRequest),
}

/// Withdrawals and exits need two others.
fn guarded() -> Config {
    let rule = ApprovalRule {
        kinds: ["withdraw", "unlock"].map(str::to_owned).into(),
        needed: 2,
        approvers: ["alice", "bob"].map(|name| format!("operator:{name}")).into(),
        ..ApprovalRule::default()
    };
    Config { approvals: Approvals { rules: vec![rule], ..Approvals::default() }, ..quick() }
}

fn fleets(world: &World) -> FleetServiceClient<Peer> {
    FleetServiceClient::new(world.peer_as("operator/test"))
}

fn schedules(world: &World) -> ScheduleServiceClient<Peer> {
    ScheduleServiceClient::new(world.peer_as("operator/test"))
}

impl Range {
    /// All that comes before the last request, which sets the workflow going.
    async fn prepare(&mut self, number: usize, run: &Run, subjects: &[Subject]) -> Asked {
        let first = &subjects[0].id;
        match run.workflow {
            Workflow::Fleet => Asked::Fleet(self.fleet(number, run, subjects).await),
            Workflow::Schedule => {
                let worth_it = Some(WorthIt { every_days: 1, ..WorthIt::default() });
                let rule = match run.verb {
                    Verb::Compound => Rule::CompoundEvery(CompoundEvery { worth_it }),
                    _ => Rule::ClaimEvery(ClaimEvery { worth_it }),
                };
                Asked::Schedule(CreateScheduleRequest {
                    request_id: request_id(),
                    sequencer: first.clone(),
                    rule: Some(ScheduleRule { rule: Some(rule) }),
                    first_look: None,
                })
            }
            Workflow::Approval => {
                let operation = self.world.ask(first, run.verb.parameters("")).await;
                let digest = operation.terms.expect("its terms").digest;
                let request = ApproveOperationRequest { id: operation.id, digest, reason: String::new() };
                let alice = self.world.operator("alice").approve_operation(request.clone()).await;
                let waits = alice.expect("alice may").into_inner().operation.expect("the operation");
                assert_eq!(waits.state(), OperationState::PendingApproval);
                Asked::Approval(request)
            }
        }
    }

    async fn fleet(&mut self, number: usize, run: &Run, subjects: &[Subject]) -> CreateFleetRequest {
        let labels = BTreeMap::from([("run".to_owned(), number.to_string())]);
        for subject in subjects {
            let request = UpdateSequencerRequest {
                id: subject.id.clone(),
                etag: self.world.sequencer(&subject.id).await.etag,
                set_labels: true,
                labels: labels.clone(),
                ..UpdateSequencerRequest::default()
            };
            self.world.client.update_sequencer(request).await.expect("it has the label");
        }
        let spec = FleetSpec {
            network: NETWORK.to_owned(),
            labels,
            parameters: Some(OperationParameters { parameters: Some(run.verb.parameters("")) }),
            canary: run.canary,
            in_flight_max: u32::try_from(MEMBERS).expect("a few"),
            ..FleetSpec::default()
        };
        let plan = fleets(&self.world).plan_fleet(PlanFleetRequest { spec: Some(spec.clone()) }).await;
        let plan = plan.expect("a plan").into_inner();
        assert_eq!(plan.included as usize, MEMBERS, "{plan:#?}");
        CreateFleetRequest { request_id: request_id(), spec: Some(spec), plan_digest: plan.digest }
    }

    /// The id of the fleet operation, the schedule or the operation.
    async fn tell(&self, asked: &Asked) -> Result<String, Status> {
        let world = &self.world;
        Ok(match asked.clone() {
            Asked::Fleet(request) => {
                fleets(world).create_fleet(request).await?.into_inner().fleet.expect("the fleet operation").id
            }
            Asked::Schedule(request) => {
                let answer = schedules(world).create_schedule(request).await?.into_inner();
                answer.schedule.expect("the schedule").id
            }
            Asked::Approval(request) => {
                let answer = world.operator("bob").approve_operation(request).await?.into_inner();
                answer.operation.expect("the operation").id
            }
        })
    }

    /// The tables are where the point says, no further and not before it.
    async fn stands_at(&self, run: &Run, subjects: &[Subject]) {
        let ids: Vec<String> = subjects.iter().map(|subject| format!("'{}'", subject.id)).collect();
        let of_these = format!("sequencer IN ({})", ids.join(", "));
        let state = if run.workflow == Workflow::Approval { "AND state = 'SCHEDULED'" } else { "" };
        let stored = format!("SELECT count(*) FROM lifecycle.operation WHERE {of_these} {state}");
        let stored = self.number(&stored).await;
        assert!(run.stored().contains(&stored), "{stored} operations are stored at {:?}", run.point);
        let decided = format!(
            "SELECT count(*) FROM lifecycle.schedule_run r JOIN lifecycle.schedule s ON s.id = r.schedule \
             WHERE s.{of_these}"
        );
        assert_eq!(self.number(&decided).await, 0, "nothing is decided yet");
    }

    /// The operations of each subject that the workflow names in its final answer.
    async fn named(&self, run: &Run, id: &str, subjects: &[Subject]) -> Vec<String> {
        match run.workflow {
            Workflow::Fleet => {
                let fleet = wait_for("the fleet operation has ended", ANSWER_MAX, || async {
                    self.mine_slowly().await;
                    let request = GetFleetRequest { id: id.to_owned() };
                    let fleet = fleets(&self.world).get_fleet(request).await.ok()?.into_inner().fleet?;
                    (fleet.state() != FleetState::Running).then_some(fleet)
                })
                .await;
                assert_eq!(fleet.state(), FleetState::Done, "{}", fleet.reason);
                assert_eq!(fleet.confirmed as usize, MEMBERS);
                let request = ListFleetMembersRequest { fleet: id.to_owned(), ..Default::default() };
                let answer = fleets(&self.world).list_fleet_members(request).await;
                let members = answer.expect("a page").into_inner().members;
                let of = |subject: &Subject| members.iter().find(|member| member.sequencer == subject.id);
                subjects.iter().map(|subject| of(subject).expect("a member").operation.clone()).collect()
            }
            Workflow::Schedule => {
                let runs = wait_for("the schedule has decided", ANSWER_MAX, || async {
                    self.mine_slowly().await;
                    let request = ListScheduleRunsRequest { schedule: id.to_owned(), ..Default::default() };
                    let answer = schedules(&self.world).list_schedule_runs(request).await;
                    Some(answer.ok()?.into_inner().runs).filter(|runs| !runs.is_empty())
                })
                .await;
                assert_eq!((runs.len(), runs[0].decision.as_str()), (1, "DONE"), "{runs:?}");
                vec![runs[0].operation.clone()]
            }
            Workflow::Approval => vec![id.to_owned()],
        }
    }

    /// One run: everything is well, it dies at the point, everything is well again.
    async fn work(&mut self, number: usize, run: &Run) {
        let mut subjects = Vec::new();
        for place in 0..if run.workflow == Workflow::Fleet { MEMBERS } else { 1 } {
            subjects.push(self.subject(number * MEMBERS + place, run.verb).await);
        }
        let asked = self.prepare(number, run, &subjects).await;
        let signed = self.world.keys.nonces_signed();
        self.automine(run.automine).await;
        self.serve(&Config { failpoints: failing_at(run.point).failpoints, ..guarded() }).await;
        // It may die before it answers.
        if let Err(status) = self.tell(&asked).await {
            println!("no answer at first: {status}");
        }
        self.until_dead(run.point).await;
        self.stands_at(run, &subjects).await;
        self.serve(&guarded()).await;
        let id = self.tell(&asked).await.expect("asking again gives the answer");
        let operations = self.named(run, &id, &subjects).await;
        let mut calls = 0;
        for (subject, operation) in subjects.iter().zip(&operations) {
            let told = self.until_final(operation).await;
            assert_eq!(told.state(), OperationState::Confirmed, "{}", told.reason);
            self.is_as_told(subject, run.verb, &told).await;
            let spent = self.sent_by(subject.owner).await - subject.sent;
            assert_eq!(told.transactions.len() as u64, spent, "one nonce for each call");
            calls += told.transactions.len();
            let sql = format!("SELECT count(*) FROM lifecycle.operation WHERE sequencer = '{}'", subject.id);
            assert_eq!(self.number(&sql).await, 1, "it is asked for once");
        }
        self.automine(true).await;
        assert_eq!(self.world.keys.nonces_signed() - signed, calls, "nothing else was signed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_whatever_step_of_a_workflow_it_dies_each_operation_is_done_once() {
    let runs = from_environment("LIFECYCLE_WORKFLOWS", RUNS);
    let seed = from_environment("LIFECYCLE_FAULTS_SEED", 1);
    let mut rng = StdRng::seed_from_u64(seed);
    let drawn = POINTS.into_iter().cycle().take(runs).map(|point| Run::draw(point, &mut rng));
    let numbered: Vec<(usize, Run)> = drawn.enumerate().collect();
    for some in numbered.chunks(RUNS_OF_A_CHAIN) {
        let mut range = Range::set(false).await;
        range.serve(&guarded()).await;
        for (number, run) in some {
            println!("run {number} of seed {seed}: {run:?}");
            let begun = Instant::now();
            range.work(*number, run).await;
            println!("run {number} took {:.1?}", begun.elapsed());
        }
    }
}
