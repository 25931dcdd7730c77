//! Prepared operations under fire: the process dies between what a wallet signed and the endpoints, the wallet replaces
//! what it told of, its block is replaced.

use alloy_primitives::{Bytes, U256};
use api::lifecycle::v1::submit_transaction_request::Transaction as Submitted;
use api::lifecycle::v1::*;
use api::types::v1::UnsignedTransaction;
use chain::rpc::Receipt;
use lifecycle::Point;
use serde_json::json;
use testkit::contracts::secret;
use testkit::wait_for;
use tonic::Status;

use super::card::{Instead, Run, Wallet};
use super::subject::Subject;
use super::{ANSWER_MAX, BLOCKS_TO_FINAL, Range, failing_at};
use crate::fakes::wallet;
use crate::world::{address, owner_name, quick};

impl Range {
    /// One run of a prepared operation.
    pub async fn play_wallet(&mut self, number: usize, run: &Run, what: Wallet) -> String {
        let mut subject = self.subject(number, run.verb).await;
        match what {
            Wallet::Dies { .. } => self.serve(&failing_at(Point::AfterBind)).await,
            // What was before is deeper than what is taken back.
            Wallet::Reorg { .. } => self.mine(BLOCKS_TO_FINAL).await,
            Wallet::Replaces(_) => {}
        }
        self.automine(false).await;
        let mode = OperationMode::Prepared.into();
        let request = CreateOperationRequest { mode, ..subject.request(run.verb) };
        let answer = self.world.client.create_operation(request).await.expect("it is prepared").into_inner();
        let operation = answer.operation.expect("the operation");
        let calls = operation.transactions.iter().map(|one| one.unsigned.clone().expect("its call"));
        let calls: Vec<UnsignedTransaction> = calls.collect();
        let id = operation.id;
        let struck = match what {
            Wallet::Dies { tells_hash } => self.wallet_outlives(&id, &subject, &calls, tells_hash).await,
            Wallet::Replaces(instead) => {
                self.wallet_replaces(&id, &mut subject, calls[0].clone(), instead).await
            }
            Wallet::Reorg { depth, on_top, fate } => {
                for (nonce, call) in (subject.sent..).zip(&calls) {
                    let raw = signed(&subject, call, nonce);
                    self.submit(&id, Submitted::RawTransaction(raw.to_vec().into())).await.expect("taken");
                }
                self.reorganise(&id, run.verb, depth, on_top, fate).await
            }
        };
        let told = self.until_final(&id).await;
        self.automine(true).await;
        self.is_as_told(&subject, run.verb, &told).await;
        let (state, code) = match what {
            Wallet::Replaces(Instead::Nothing) => (OperationState::Cancelled, "WALLET_CANCELLED"),
            Wallet::Replaces(Instead::SomethingElse) => (OperationState::Failed, "WALLET_REPLACED"),
            _ => (OperationState::Confirmed, ""),
        };
        assert_eq!((told.state(), told.reason_code.as_str()), (state, code), "{}", told.reason);
        struck
    }

    async fn submit(&self, id: &str, transaction: Submitted) -> Result<(), Status> {
        let request =
            SubmitTransactionRequest { operation_id: id.to_owned(), transaction: Some(transaction) };
        self.world.client.clone().submit_transaction(request).await.map(drop)
    }

    /// Sends it as a wallet does that has an endpoint of its own.
    async fn sends(&self, raw: &Bytes) -> String {
        self.world.l1.link.rpc("eth_sendRawTransaction", json!([raw])).await.expect("it is taken")
    }

    async fn wallet_outlives(
        &mut self,
        id: &str,
        subject: &Subject,
        calls: &[UnsignedTransaction],
        tells_hash: bool,
    ) -> String {
        for (nonce, call) in (subject.sent..).zip(calls) {
            let raw = signed(subject, call, nonce);
            let handed_in = if tells_hash {
                Submitted::TransactionHash(self.sends(&raw).await)
            } else {
                Submitted::RawTransaction(raw.to_vec().into())
            };
            if nonce == subject.sent {
                self.submit(id, handed_in.clone()).await.expect_err("it dies before it answers");
                self.until_dead_in_place(Point::AfterBind).await;
                let kept = "SELECT count(*) FROM lifecycle.attempt a JOIN lifecycle.transaction t \
                            ON t.id = a.transaction WHERE t.operation";
                assert_eq!(self.number(&format!("{kept} = '{id}'")).await, 1, "it is kept");
                self.serve(&quick()).await;
            }
            self.submit(id, handed_in).await.expect("it is taken, and again");
        }
        "it died with what the wallet had signed".to_owned()
    }

    /// The process is killed while the nonce is spent by another transaction than it was told of.
    async fn wallet_replaces(
        &mut self,
        id: &str,
        subject: &mut Subject,
        call: UnsignedTransaction,
        instead: Instead,
    ) -> String {
        let first = self.sends(&signed(subject, &call, subject.sent)).await;
        self.submit(id, Submitted::TransactionHash(first)).await.expect("it is in the pool");
        let other = match instead {
            Instead::Same => dearer(call),
            Instead::Nothing => {
                let (to, none) = (call.from.clone(), "0".to_owned());
                UnsignedTransaction { to, value_wei: none, data: "0x".to_owned(), ..dearer(call) }
            }
            Instead::SomethingElse => {
                let (to, one) = (address("stranger").to_string(), "1".to_owned());
                UnsignedTransaction { to, value_wei: one, data: "0x".to_owned(), ..dearer(call) }
            }
        };
        let second = self.sends(&signed(subject, &other, subject.sent)).await;
        self.kill_only(id).await;
        self.mine(1).await;
        self.bury().await;
        self.serve(&quick()).await;
        let receipt = wait_for("the other is in a block", ANSWER_MAX, || async {
            let found = self.world.l1.link.rpc("eth_getTransactionReceipt", json!([second])).await;
            found.expect("the chain answers")
        });
        let receipt: Receipt = receipt.await;
        if instead != Instead::Same {
            subject.paid_elsewhere(&receipt, other.value_wei.parse().unwrap_or(U256::ZERO));
        }
        format!("{second} was mined instead")
    }
}

fn signed(subject: &Subject, call: &UnsignedTransaction, nonce: u64) -> Bytes {
    wallet::sign(&secret(&owner_name(&subject.name)), call, nonce)
}

/// The same call with twice the fees.
fn dearer(call: UnsignedTransaction) -> UnsignedTransaction {
    let twice = |text: &str| (text.parse::<u128>().expect("wei") * 2).to_string();
    UnsignedTransaction {
        max_fee_per_gas_wei: twice(&call.max_fee_per_gas_wei),
        max_priority_fee_per_gas_wei: twice(&call.max_priority_fee_per_gas_wei),
        ..call
    }
}
