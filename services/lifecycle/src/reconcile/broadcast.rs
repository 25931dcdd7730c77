//! The last step of a send: signed bytes to every endpoint, and what their answers mean for the operation, stored.

use std::time::Instant;

use alloy_primitives::Bytes;
use chain::broadcast::Remedy;
use chain::rpc::{BlockId, call};
use domain::amount::Eth;
use store::in_transaction;
use time::OffsetDateTime;

use super::budget;
use super::form::form_of;
use super::hand_out::{Outcome, after_broadcast, hand_out};
use super::replace::Unpayable;
use super::send::{Lane, Pass, has_ended};
use crate::db::operation::State;
use crate::db::{operation, transaction};
use crate::error::Error;
use crate::failpoint::Point;

/// Where an operation stands after a broadcast.
#[derive(Debug)]
struct Said {
    state: State,
    reason: String,
    code: &'static str,
    /// A replacement is wanted at once.
    hurried: bool,
}

impl Lane<'_> {
    /// Hands the stored bytes to every endpoint and stores what they answered. That it may be done was `decided` in a
    /// transaction that proved the lease; whoever was stopped since for as long as a lease lives lets it be.
    pub async fn broadcast(
        &self,
        row: &operation::Row,
        sent: &transaction::Row,
        raw: &Bytes,
        pass: Pass,
        decided: Instant,
    ) -> Result<(), Error> {
        self.broadcast_noting(row, sent, raw, (pass, decided), None).await
    }

    /// The same for bytes that may not be replaced by dearer ones: the operation says why.
    pub async fn broadcast_noting(
        &self,
        row: &operation::Row,
        sent: &transaction::Row,
        raw: &Bytes,
        (pass, decided): (Pass, Instant),
        unpayable: Option<Unpayable>,
    ) -> Result<(), Error> {
        let Some(outcome) = hand_out(self.fleet, self.chain, raw, decided).await else { return Ok(()) };
        self.meet(pass, Point::AfterBroadcastBeforeRecord).await;
        if outcome.is_hopeless && sent.cancel_reason.is_none() {
            return self.give_up(row, sent, &outcome.answer).await;
        }
        let Said { state, reason, code, hurried } = self.said(sent, &outcome, unpayable).await;
        let (id, answer) = (row.id, outcome.answer);
        let head = self.head().await;
        in_transaction(&self.fleet.db, |tx| {
            let (reason, answer) = (reason.clone(), answer.clone());
            Box::pin(async move {
                self.fence(&*tx).await?;
                // While we spoke to the endpoints its receipt may have been seen, or its nonce found spent by
                // somebody else: that knows more than our answers and stands.
                let still_unseen = transaction::lock_unseen(&*tx, sent.id).await?;
                let has_ended = has_ended(&*tx, id).await?;
                if !still_unseen || (has_ended && !sent.fills) {
                    return Ok(());
                }
                if state == State::Broadcast {
                    transaction::sent(&*tx, sent.id, &answer, head).await?;
                }
                if hurried {
                    transaction::hurry(&*tx, sent.id, true).await?;
                }
                if sent.fills {
                    return Ok(());
                }
                Ok::<_, Error>(operation::enter(&*tx, id, state, &reason, code).await?)
            })
        })
        .await?;
        if pass == Pass::First && state == State::Broadcast {
            let waited = OffsetDateTime::now_utc() - row.create_time;
            self.fleet.metrics.sent_after(&self.chain.name, waited.as_seconds_f64());
            self.fleet.metrics.operation(&self.chain.name, &row.kind, state.name());
        }
        if state == State::Broadcast {
            // The receipt may be there already, where blocks are made at once.
            self.fleet.wake();
        }
        if outcome.verdict.remedy() == Remedy::ResendEarlier {
            self.send_earlier_again(sent).await?;
        }
        Ok(())
    }

    /// What the answers of the endpoints mean for the operation.
    async fn said(&self, sent: &transaction::Row, outcome: &Outcome, unpayable: Option<Unpayable>) -> Said {
        let Outcome { verdict, answer, is_hopeless } = outcome;
        let (what, nonce) = (form_of(sent), sent.nonce.unwrap_or_default());
        let remedy = verdict.remedy();
        let (state, reason) = after_broadcast(*verdict, &what, nonce, answer);
        let said = Said { state, reason, code: "", hurried: false };
        match (remedy, unpayable) {
            (Remedy::StopLane, _) => {
                let code = api::reasons::ETH_TOO_LOW.name;
                Said { reason: self.short_of_eth(sent).await, code, ..said }
            }
            (Remedy::FailStep, _) if *is_hopeless => {
                Said { code: api::reasons::TRANSACTION_REFUSED.name, ..said }
            }
            (Remedy::Watch | Remedy::WatchAndResend, Some(Unpayable { words, code })) => {
                let reason = format!("{what} with nonce {nonce} waits as it is, and pays no more: {words}");
                Said { reason, code, ..said }
            }
            (Remedy::RaiseFees, Some(Unpayable { words, code })) => {
                let reason =
                    format!("{what} with nonce {nonce} pays too little, and may pay no more: {words}");
                Said { reason, code, ..said }
            }
            (Remedy::RaiseFees, None) => {
                tracing::info!(operation.id = %sent.operation, "{what} pays too little: {answer}");
                // Nobody took it at this price: waiting for blocks would change nothing.
                Said { hurried: true, ..said }
            }
            _ => said,
        }
    }

    /// No endpoint will ever take this call. The operation stays open until its nonce is spent on nothing, because what is
    /// signed could still be mined, and fails then.
    async fn give_up(
        &self,
        row: &operation::Row,
        sent: &transaction::Row,
        answer: &str,
    ) -> Result<(), Error> {
        let why = format!("every endpoint refuses {} for what it is: {answer}", sent.step_name);
        tracing::error!(operation.id = %row.id, "operation {}: {why}", row.id);
        let reason = format!("{why}; its nonce is being spent on nothing");
        in_transaction(&self.fleet.db, |tx| {
            let (why, reason) = (why.clone(), reason.clone());
            Box::pin(async move {
                self.fence(&*tx).await?;
                if !transaction::lock_unseen(&*tx, sent.id).await? || has_ended(&*tx, row.id).await? {
                    return Ok(());
                }
                transaction::refuse(&*tx, sent.id, &why).await?;
                let code = api::reasons::TRANSACTION_REFUSED.name;
                Ok::<_, Error>(operation::enter(&*tx, row.id, State::Signing, &reason, code).await?)
            })
        })
        .await?;
        self.fleet.metrics.transaction_refused(&self.chain.name);
        self.fleet.wake();
        Ok(())
    }

    /// Why the nodes take nothing from this account, with the numbers.
    async fn short_of_eth(&self, sent: &transaction::Row) -> String {
        let needed = Eth(budget::cost_max(sent, sent.max_fee));
        let has = self.chain.l1.ask(call::balance(self.account, BlockId::Latest)).await;
        let has = has.map_or_else(|_| "too little".to_owned(), |wei| Eth(wei).to_string());
        format!(
            "waits: {} has {has} ETH, {} needs up to {needed}; goes on by itself when the account is funded",
            self.account, sent.step_name
        )
    }
}
