//! A leader that is stopped at a step, and continued when its lease has expired and another replica has done everything.
//! It must send nothing and write nothing: the fence keeps it from the tables, and how long ago it decided from the
//! endpoints, which know no fence.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::lifecycle::v1::OperationState;
use lifecycle::{Action, Config, Point};
use nix::sys::signal::Signal;
use testkit::{Proxy, from_environment, wait_until};

use super::card::{Fault, Run, Verb};
use super::process::Process;
use super::{ANSWER_MAX, Range};
use crate::world::{DEADLINE, quick};

/// How long the stopped leader is stopped at least: five times as long as its lease lives, as 30 s are with the
/// default of 6 s. `LIFECYCLE_STOP_SECS` makes the test of this file stop it for longer.
pub const STOP_SECS: u64 = 5;
/// What a leader has left at each of these when it is stopped: `make test` plays those between decision and effect.
const BETWEEN_DECISION_AND_EFFECT: [Point; 2] = [Point::AfterStoreBeforeBroadcast, Point::AfterNewFormStored];

impl Range {
    /// One run: it is stopped at the point, another replica does everything, it is continued.
    pub async fn play_stopped(&mut self, number: usize, run: &Run, point: Point, secs: u64) -> String {
        let subject = self.subject(number, run.verb).await;
        if let Some(before) = self.service.take() {
            before.kill();
            self.bury().await;
        }
        // It has an endpoint of its own, which counts what it sends.
        let own = Proxy::start(self.world.anvil.url()).await.unwrap();
        let config = Config { failpoints: BTreeMap::from([(point, Action::Stop)]), ..quick() };
        let first = Process::start(&self.world, "stopped", &[own.url()], &config).await;
        self.world.look_at(first.address);
        self.until_it_answers().await;
        self.automine(run.automine).await;
        let id = self.ask(&subject, run.verb).await;
        if point == Point::AfterNewFormStored {
            self.until_sent(&id).await;
            // Stopped before it answers, perhaps.
            let hurry = tokio::time::timeout(Duration::from_secs(1), self.hurry(&id));
            let _ = hurry.await;
            wait_until("it is stopped", ANSWER_MAX, || async { first.was_stopped_at(point) }).await;
        } else {
            self.blocks_until(u32::MAX, || async { first.was_stopped_at(point) }).await;
        }
        let stopped = Instant::now();
        self.serve(&quick()).await;
        let told = self.until_final(&id).await;
        assert_eq!(told.state(), OperationState::Confirmed, "{}", told.reason);
        wait_until("it was stopped for long", Duration::from_secs(secs) + DEADLINE, || async {
            stopped.elapsed() >= Duration::from_secs(secs)
        })
        .await;
        let counts = own.counts();
        let sent = |counts: &testkit::proxy::Counts| {
            counts.by_method.get("eth_sendRawTransaction").copied().unwrap_or_default()
        };
        let tables = "SELECT (SELECT count(*) FROM lifecycle.operation_step) + (SELECT count(*) FROM \
                      lifecycle.attempt) + (SELECT count(*) FROM lifecycle.transaction)";
        let written = self.number(tables).await;
        let lost = first.said().matches("is lost").count();
        first.signal(Signal::SIGCONT);
        // It went on where it stood before it could notice that.
        wait_until("it lives again, and knows that it leads no more", DEADLINE, || async {
            let said = first.said();
            said.matches("is lost").count() > lost || said.contains("no longer held")
        })
        .await;
        self.mine(4).await;
        let again = self.until_final(&id).await;
        assert_eq!(again.transactions, told.transactions);
        let after = (sent(&own.counts()), self.number(tables).await);
        assert_eq!(after, (sent(&counts), written), "it sent nothing and wrote nothing");
        drop(first);
        self.automine(true).await;
        self.is_as_told(&subject, run.verb, &again).await;
        format!("it was stopped for {:.1?} and did nothing afterwards", stopped.elapsed())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_between_decision_and_effect_and_is_continued_does_nothing() {
    let secs = from_environment("LIFECYCLE_STOP_SECS", STOP_SECS);
    let mut range = Range::set(false).await;
    range.serve(&quick()).await;
    for (number, point) in BETWEEN_DECISION_AND_EFFECT.into_iter().enumerate() {
        let verb = [Verb::Lock, Verb::Withdraw][number];
        let run = Run { verb, fault: Fault::StopsAt(point), automine: false };
        println!("{point:?}: {}", range.play_stopped(number, &run, point, secs).await);
    }
}
