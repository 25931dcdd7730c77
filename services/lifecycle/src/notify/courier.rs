//! The delivery loop: numbers what happened, makes deliveries of it, attempts those that are due. One for all replicas
//! under a fenced lease; another holder repeats at most the attempts that were in the air.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use store::in_transaction;
use store::lease::{Lease, fence};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::attempt;
use super::schedule::{Answer, Next, judge};
use crate::db::delivery::{self, Due};
use crate::db::{SCHEMA, notification, webhook, webhook_secret};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::metrics::DEAD;
use crate::reconcile::lease::until_stopped;

/// Name of the lease.
const LEASE: &str = "notify";
/// Rows numbered, or made deliveries of for one webhook, at once: a transaction stays short.
const BATCH: i64 = 500;
/// Deliveries of one webhook that may wait; beyond, its place in the feed stands still.
const PENDING_MAX: i64 = 5_000;
/// How often what is older than `keep_days` is looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// The loop with the lease it holds.
struct Courier<'a> {
    fleet: &'a Arc<Fleet>,
    lease: Lease,
}

/// What is in the air: one message for each endpoint, so that none waits for another's.
#[derive(Default)]
struct Flying {
    attempts: JoinSet<(Due, Answer)>,
    busy: HashSet<Uuid>,
}

/// Delivers until shutdown.
pub async fn run(fleet: Arc<Fleet>, shutdown: Shutdown) {
    let claim = fleet.claim(LEASE.to_owned());
    while !shutdown.is_stopped() {
        let work = |lease| looks(&fleet, lease, &shutdown);
        if let Err(error) = until_stopped(&fleet.db, &claim, &shutdown, work).await {
            tracing::warn!("no lease to deliver notifications: {}", runtime::report(&error));
            tokio::select! {
                () = tokio::time::sleep(fleet.look_every()) => {}
                () = shutdown.stopped() => return,
            }
        }
    }
}

async fn looks(fleet: &Arc<Fleet>, lease: Lease, shutdown: &Shutdown) {
    let courier = Courier { fleet, lease };
    let mut work = fleet.work.subscribe();
    let mut flying = Flying::default();
    let mut pruned = None;
    loop {
        match courier.look(&mut flying, &mut pruned).await {
            Ok(()) => {}
            Err(error) if error.is_fenced() => return,
            Err(error) => tracing::warn!("delivering notifications waits: {}", runtime::report(&error)),
        }
        tokio::select! {
            Some(done) = flying.attempts.join_next() => {
                // An attempt that panicked is made again like one that was cut off.
                let Ok((due, answer)) = done else { flying = Flying::default(); continue };
                flying.busy.remove(&due.webhook);
                match courier.record(&due, &answer).await {
                    Ok(()) => {}
                    Err(error) if error.is_fenced() => return,
                    Err(error) => tracing::warn!("an attempt is repeated: {}", runtime::report(&error)),
                }
            }
            _ = work.changed() => {}
            () = tokio::time::sleep(fleet.look_every()) => {}
            () = shutdown.stopped() => return,
        }
    }
}

impl Courier<'_> {
    async fn look(&self, flying: &mut Flying, pruned: &mut Option<Instant>) -> Result<(), Error> {
        self.number().await?;
        for row in webhook::behind(&self.fleet.db, PENDING_MAX).await? {
            self.fan_out(row).await?;
        }
        for due in delivery::due(&self.fleet.db).await? {
            if !flying.busy.insert(due.webhook) {
                continue;
            }
            let keys = webhook_secret::valid(&self.fleet.db, due.webhook).await?;
            let secrets = attempt::open(self.fleet.desk.sealer.as_ref(), &keys);
            let fleet = self.fleet.clone();
            flying.attempts.spawn(async move {
                let answer = if secrets.is_empty() {
                    tracing::error!(webhook.id = %due.webhook, "the secret of webhook {} cannot be opened", due.webhook);
                    Answer::Nothing("its secret cannot be opened: see lifecycle.webhooks.secret_key".to_owned())
                } else {
                    attempt::make(&fleet.desk.client, &due, &secrets).await
                };
                (due, answer)
            });
        }
        if pruned.is_none_or(|at| at.elapsed() > PRUNE_EVERY) {
            *pruned = Some(Instant::now());
            self.prune().await?;
        }
        Ok(())
    }

    /// Gives positions to what has become visible.
    async fn number(&self) -> Result<(), Error> {
        loop {
            let numbered = in_transaction(&self.fleet.db, |tx| {
                Box::pin(async move {
                    fence(&*tx, SCHEMA, LEASE, self.lease.epoch).await?;
                    Ok::<_, Error>(notification::number(&*tx, BATCH).await?)
                })
            })
            .await?;
            if numbered < BATCH.unsigned_abs() {
                return Ok(());
            }
        }
    }

    /// Makes deliveries of the next part of the feed for one webhook, with its place, in one transaction.
    async fn fan_out(&self, id: Uuid) -> Result<(), Error> {
        in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                fence(&*tx, SCHEMA, LEASE, self.lease.epoch).await?;
                let Some(row) = webhook::lock(&*tx, id).await?.filter(|row| row.enabled) else {
                    return Ok(());
                };
                let end = notification::last_position(&*tx).await?.min(row.position.saturating_add(BATCH));
                delivery::fan_out(&*tx, &row, end).await?;
                Ok::<_, Error>(webhook::reach(&*tx, id, end).await?)
            })
        })
        .await
    }

    /// Stores what came of an attempt. One that was replayed or removed meanwhile is left as it is.
    async fn record(&self, due: &Due, answer: &Answer) -> Result<(), Error> {
        let attempts = due.attempts.saturating_add(1);
        let next = judge(answer, usize::try_from(attempts).unwrap_or(usize::MAX), rand::random());
        let (status, words) = match answer {
            Answer::Status { code, .. } => {
                (Some(i32::from(*code)), format!("it answers with HTTP status {code}"))
            }
            Answer::Nothing(words) => (None, words.clone()),
        };
        in_transaction(&self.fleet.db, |tx| {
            let words = words.clone();
            Box::pin(async move {
                fence(&*tx, SCHEMA, LEASE, self.lease.epoch).await?;
                let (state, after) = match next {
                    Next::Delivered => (delivery::DELIVERED, Duration::ZERO),
                    Next::Gone | Next::Dead => (delivery::DEAD, Duration::ZERO),
                    Next::Again { after, .. } => (delivery::PENDING, after),
                };
                let error = if next == Next::Delivered { "" } else { &words };
                delivery::attempted(&*tx, due, state, after, status, error).await?;
                if next == Next::Gone {
                    webhook::disable(&*tx, due.webhook, "the endpoint answered 410: it is gone").await?;
                }
                if let Next::Again { rest: Some(rest), .. } = next {
                    webhook::rest(&*tx, due.webhook, rest).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await?;
        let outcome = match next {
            Next::Delivered => "delivered",
            Next::Again { .. } => "failed",
            Next::Gone | Next::Dead => {
                tracing::warn!(webhook.id = %due.webhook, "notification {} is dead for webhook {}: {words}", due.position, due.webhook);
                DEAD
            }
        };
        self.fleet.metrics.delivery(outcome);
        Ok(())
    }

    async fn prune(&self) -> Result<(), Error> {
        let days = i64::from(self.fleet.config.webhooks.keep_days);
        while in_transaction(&self.fleet.db, |tx| {
            Box::pin(async move {
                fence(&*tx, SCHEMA, LEASE, self.lease.epoch).await?;
                Ok::<_, Error>(notification::prune(&*tx, days, BATCH).await?)
            })
        })
        .await?
            == BATCH.unsigned_abs()
        {}
        Ok(())
    }
}
