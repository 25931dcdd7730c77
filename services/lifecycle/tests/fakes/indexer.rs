//! An indexer without tables: it reads L1 block by block, keeps the hashes to notice reorganisations, and streams what
//! it sees from any cursor. L2 events and nodes are what a test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::Address;
use api::indexer::v1::chain_event::Event;
use api::indexer::v1::indexer_service_server::IndexerService;
use api::indexer::v1::nodes_service_server::NodesService;
use api::indexer::v1::stream_events_response::Message;
use api::indexer::v1::*;
use api::reasons;
use api::types::v1::{BlockRef, Layer, LogRef};
use chain::event::{ChainEvent as Seen, Decoded, Source, decode};
use chain::pool::Pool;
use chain::rpc::{BlockId, Header, Log, LogFilter, call};
use prost_types::Timestamp;
use runtime::errors::Refusal;
use testkit::contracts::L1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Between two looks at the head.
const LOOK: Duration = Duration::from_millis(20);

/// The fake; clones share everything.
#[derive(Debug, Clone)]
pub struct FakeIndexer {
    l1: Pool,
    contracts: Arc<[(Address, Source); 2]>,
    first: u64,
    /// Headers by height as they were streamed last, so that a reverted cursor can be told.
    seen: Arc<Mutex<BTreeMap<u64, Header>>>,
    /// Nodes by signer: ready to lock, known to themis.
    nodes: Arc<Mutex<BTreeMap<Address, (bool, bool)>>>,
    /// Nonces of validators, where they are not 1.
    nonces: Arc<Mutex<BTreeMap<Address, u64>>>,
    parameters: Arc<Mutex<ChainParameters>>,
    records: Arc<Mutex<Vec<SequencerRecord>>>,
    turns: Arc<Mutex<Vec<MissedTurn>>>,
    /// The reorganisation that nobody has acknowledged; 0 if there is none.
    alarm: Arc<AtomicU64>,
    /// No heads are told.
    headless: Arc<AtomicBool>,
    /// Nothing but the stream answers.
    away: Arc<AtomicBool>,
}

type Messages = mpsc::Sender<Result<StreamEventsResponse, Status>>;

impl FakeIndexer {
    pub fn new(l1: Pool, contracts: &L1) -> Self {
        Self {
            l1,
            contracts: Arc::new([
                (contracts.locking_pool, Source::PoolProxy),
                (contracts.locking_info, Source::InfoProxy),
            ]),
            first: contracts.start_block,
            seen: Arc::default(),
            nodes: Arc::default(),
            nonces: Arc::default(),
            parameters: Arc::new(Mutex::new(ChainParameters {
                max_lock_wei: "100000000000000000000000".to_owned(),
                active_count: 10,
                ..Default::default()
            })),
            records: Arc::default(),
            turns: Arc::default(),
            alarm: Arc::default(),
            headless: Arc::default(),
            away: Arc::default(),
        }
    }

    /// What the node of a signer looks like.
    pub fn node(&self, signer: Address, ready: bool, known: bool) {
        self.nodes.lock().unwrap().insert(signer, (ready, known));
    }

    /// No node is registered for a signer any more.
    pub fn no_node(&self, signer: Address) {
        self.nodes.lock().unwrap().remove(&signer);
    }

    /// What themis counts for a signer.
    pub fn validator_nonce(&self, signer: Address, nonce: u64) {
        self.nonces.lock().unwrap().insert(signer, nonce);
    }

    /// Changes the parameters that it tells.
    pub fn parameters(&self, change: impl FnOnce(&mut ChainParameters)) {
        change(&mut self.parameters.lock().unwrap());
    }

    /// The records that it tells.
    pub fn records(&self, records: Vec<SequencerRecord>) {
        *self.records.lock().unwrap() = records;
    }

    /// The lost turns that it tells, newest first.
    pub fn missed_turns(&self, turns: Vec<MissedTurn>) {
        *self.turns.lock().unwrap() = turns;
    }

    /// From now on reverts are below `finalized` and heads carry this id; 0 is an acknowledgement.
    pub fn alarm(&self, reorg_id: u64) {
        self.alarm.store(reorg_id, Ordering::Relaxed);
    }

    /// From now on heads are kept back, or not.
    pub fn keep_heads_back(&self, yes: bool) {
        self.headless.store(yes, Ordering::Relaxed);
    }

    /// From now on nothing but the stream answers, or everything again.
    pub fn away(&self, yes: bool) {
        self.away.store(yes, Ordering::Relaxed);
    }

    fn here(&self) -> Result<(), Status> {
        if self.away.load(Ordering::Relaxed) { Err(Status::unavailable("the test says so")) } else { Ok(()) }
    }

    async fn header(&self, height: u64) -> Option<Header> {
        self.l1.ask(call::header(BlockId::Number(height))).await.ok().flatten()
    }

    async fn events(&self, header: &Header) -> Vec<ChainEvent> {
        let filter = LogFilter {
            addresses: self.contracts.iter().map(|(address, _)| *address).collect(),
            topics: vec![],
        };
        let logs = self.l1.ask(call::logs_of_block(header.hash, &filter)).await.unwrap_or_default();
        logs.iter().filter_map(|log| self.event(log, header)).collect()
    }

    fn event(&self, log: &Log, header: &Header) -> Option<ChainEvent> {
        let (_, source) = self.contracts.iter().find(|(address, _)| *address == log.address)?;
        let Decoded::Event(seen) = decode(*source, &log.topics, &log.data) else { return None };
        Some(ChainEvent {
            at: Some(LogRef {
                layer: Layer::L1.into(),
                block: Some(block_ref(header)),
                transaction_hash: log.transaction_hash.to_string(),
                log_index: u32::try_from(log.log_index).unwrap(),
            }),
            contract: log.address.to_string(),
            transaction_from: String::new(),
            event: Some(wire(seen)?),
        })
    }

    /// Streams from `next` on, for ever; reverts first where the chain is another one by now.
    async fn follow(self, cursor: Option<(u64, String)>, messages: Messages) {
        let mut next = self.first;
        if let Some((height, hash)) = cursor {
            next = height + 1;
            let same = self.header(height).await.is_some_and(|header| header.hash.to_string() == hash);
            if !same && self.revert(&mut next, &messages).await.is_err() {
                return;
            }
        }
        let mut looks = tokio::time::interval(LOOK);
        // As the last head said; none before the first.
        let mut told = None;
        loop {
            let before = self.seen.lock().unwrap().get(&(next - 1)).copied();
            if let Some(before) = before {
                let same = self.header(next - 1).await.is_some_and(|header| header.hash == before.hash);
                if !same && self.revert(&mut next, &messages).await.is_err() {
                    return;
                }
            }
            match self.header(next).await {
                // Replaced between the two looks: the next one finds it.
                Some(header) if before.is_some_and(|before| before.hash != header.parent_hash) => {}
                Some(header) => {
                    if self.commit(&header, &messages).await.is_err() {
                        return;
                    }
                    next += 1;
                    told = None;
                }
                None => {
                    looks.tick().await;
                }
            }
            let alarm = self.alarm.load(Ordering::Relaxed);
            if told != Some(alarm) && !self.headless.load(Ordering::Relaxed) {
                let at = self.seen.lock().unwrap().get(&(next - 1)).copied();
                if let Some(at) = at
                    && self.head(&at, alarm, &messages).await.is_err()
                {
                    return;
                }
                told = Some(alarm);
            }
            if messages.is_closed() {
                return;
            }
        }
    }

    async fn revert(&self, next: &mut u64, messages: &Messages) -> Result<(), ()> {
        let mut height = *next - 1;
        let to = loop {
            height = height.saturating_sub(1);
            let now = self.header(height).await;
            let before = self.seen.lock().unwrap().get(&height).copied();
            match (now, before) {
                (Some(now), Some(before)) if now.hash == before.hash => break now,
                (Some(now), None) => break now,
                _ => {}
            }
        };
        self.seen.lock().unwrap().retain(|height, _| *height <= to.number);
        *next = to.number + 1;
        let below_finalized = self.alarm.load(Ordering::Relaxed) != 0;
        let revert = Revert { layer: Layer::L1.into(), to: Some(block_ref(&to)), below_finalized };
        self.send(&to, Message::Revert(revert), messages).await
    }

    async fn commit(&self, header: &Header, messages: &Messages) -> Result<(), ()> {
        let block = CommittedBlock { block: Some(block_ref(header)), events: self.events(header).await };
        self.seen.lock().unwrap().insert(header.number, *header);
        let commit = Commit { layer: Layer::L1.into(), blocks: vec![block] };
        self.send(header, Message::Commit(commit), messages).await
    }

    async fn head(&self, header: &Header, alarm: u64, messages: &Messages) -> Result<(), ()> {
        let head = Head {
            layer: Layer::L1.into(),
            latest: Some(block_ref(header)),
            unacknowledged_reorg_id: alarm,
            ..Default::default()
        };
        self.send(header, Message::Head(head), messages).await
    }

    async fn send(&self, at: &Header, message: Message, messages: &Messages) -> Result<(), ()> {
        let cursor = format!("{}:{}", at.number, at.hash);
        let message = StreamEventsResponse { cursor, message: Some(message) };
        messages.send(Ok(message)).await.map_err(drop)
    }

    fn shown(&self, signer: Address) -> Option<Node> {
        let (ready, known) = *self.nodes.lock().unwrap().get(&signer)?;
        Some(Node {
            id: signer.to_string(),
            signer: signer.to_string(),
            ready_to_lock: ready,
            validator_known: known,
            validator_nonce: self.nonces.lock().unwrap().get(&signer).copied().unwrap_or(1),
            ..Default::default()
        })
    }
}

fn block_ref(header: &Header) -> BlockRef {
    let seconds = i64::try_from(header.timestamp).unwrap();
    BlockRef {
        number: header.number,
        hash: header.hash.to_string(),
        time: Some(Timestamp { seconds, nanos: 0 }),
    }
}

/// The events that lifecycle looks at.
fn wire(seen: Seen) -> Option<Event> {
    Some(match seen {
        Seen::Locked { seq_id, signer, nonce, activation_batch, amount, total_locked, signer_pubkey } => {
            Event::Locked(Locked {
                sequencer_id: seq_id.to_string(),
                signer: signer.to_string(),
                nonce: nonce.0,
                activation_batch: activation_batch.0,
                amount_wei: amount.wei_string(),
                total_wei: total_locked.wei_string(),
                signer_pubkey: signer_pubkey.to_string(),
            })
        }
        Seen::Relocked { seq_id, amount, total_locked } => Event::Relocked(Relocked {
            sequencer_id: seq_id.to_string(),
            amount_wei: amount.wei_string(),
            total_wei: total_locked.wei_string(),
            from_reward_wei: String::new(),
        }),
        Seen::Withdraw { seq_id, amount } => {
            Event::Withdraw(Withdraw { sequencer_id: seq_id.to_string(), amount_wei: amount.wei_string() })
        }
        Seen::LockUpdate { seq_id, nonce, locked } => Event::LockUpdate(LockUpdate {
            sequencer_id: seq_id.to_string(),
            nonce: nonce.0,
            new_amount_wei: locked.wei_string(),
        }),
        Seen::ClaimRewards { seq_id, recipient, amount, total_liquidated } => {
            Event::ClaimRewards(ClaimRewards {
                sequencer_id: seq_id.to_string(),
                recipient: recipient.to_string(),
                amount_wei: amount.wei_string(),
                total_amount_wei: total_liquidated.wei_string(),
            })
        }
        other => return wire_exit_or_setting(other),
    })
}

/// The rest of them.
fn wire_exit_or_setting(seen: Seen) -> Option<Event> {
    Some(match seen {
        Seen::UnlockInit {
            seq_id,
            signer,
            nonce,
            deactivation_batch,
            deactivation_time,
            unlock_claim_time,
            reward,
        } => Event::UnlockInit(UnlockInit {
            sequencer_id: seq_id.to_string(),
            signer: signer.to_string(),
            nonce: nonce.0,
            deactivation_batch: deactivation_batch.0,
            deactivation_time: deactivation_time.0,
            unlock_claim_time: unlock_claim_time.0,
            reward_wei: reward.wei_string(),
        }),
        Seen::Unlocked { seq_id, owner, amount, total_locked } => Event::Unlocked(Unlocked {
            sequencer_id: seq_id.to_string(),
            owner: owner.to_string(),
            amount_wei: amount.wei_string(),
            total_wei: total_locked.wei_string(),
        }),
        Seen::SignerChange { seq_id, nonce, old_signer, new_signer, signer_pubkey } => {
            Event::SignerChange(SignerChange {
                sequencer_id: seq_id.to_string(),
                nonce: nonce.0,
                old_signer: old_signer.to_string(),
                new_signer: new_signer.to_string(),
                signer_pubkey: signer_pubkey.to_string(),
            })
        }
        Seen::SequencerOwnerChanged { seq_id, owner } => {
            Event::SequencerOwnerChanged(SequencerOwnerChanged {
                sequencer_id: seq_id.to_string(),
                owner: owner.to_string(),
            })
        }
        Seen::SequencerRewardRecipientChanged { seq_id, recipient } => {
            Event::SequencerRewardRecipientChanged(SequencerRewardRecipientChanged {
                sequencer_id: seq_id.to_string(),
                recipient: recipient.to_string(),
            })
        }
        Seen::SetWhitelist { owner, whitelisted } => {
            Event::SetWhitelist(SetWhitelist { owner: owner.to_string(), whitelisted })
        }
        _ => return None,
    })
}

#[tonic::async_trait]
impl IndexerService for FakeIndexer {
    type StreamEventsStream = ReceiverStream<Result<StreamEventsResponse, Status>>;

    async fn stream_events(
        &self,
        request: Request<StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let cursor = request.into_inner().after_cursor;
        let cursor = cursor.split_once(':').map(|(height, hash)| (height.parse().unwrap(), hash.to_owned()));
        let (messages, stream) = mpsc::channel(16);
        tokio::spawn(self.clone().follow(cursor, messages));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let hash = request.into_inner().transaction_hash.parse().expect("a hash");
        let receipt = self.l1.ask(call::receipt(hash)).await.ok().flatten();
        let mut events = Vec::new();
        if let Some(receipt) = receipt
            && let Some(header) = self.header(receipt.block_number).await
        {
            events = receipt.logs.iter().filter_map(|log| self.event(log, &header)).collect();
        }
        Ok(Response::new(ListEventsResponse { events, next_page_token: String::new() }))
    }

    async fn get_chain_parameters(
        &self,
        _: Request<GetChainParametersRequest>,
    ) -> Result<Response<GetChainParametersResponse>, Status> {
        self.here()?;
        let parameters = self.parameters.lock().unwrap().clone();
        Ok(Response::new(GetChainParametersResponse { parameters: Some(parameters), as_of: None }))
    }

    async fn list_sequencer_records(
        &self,
        _: Request<ListSequencerRecordsRequest>,
    ) -> Result<Response<ListSequencerRecordsResponse>, Status> {
        self.here()?;
        let records = self.records.lock().unwrap().clone();
        Ok(Response::new(ListSequencerRecordsResponse { records, ..Default::default() }))
    }

    async fn list_networks(
        &self,
        _: Request<ListNetworksRequest>,
    ) -> Result<Response<ListNetworksResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_sequencer_record(
        &self,
        _: Request<GetSequencerRecordRequest>,
    ) -> Result<Response<GetSequencerRecordResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn read_contract_records(
        &self,
        _: Request<ReadContractRecordsRequest>,
    ) -> Result<Response<ReadContractRecordsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_whitelist_entry(
        &self,
        _: Request<GetWhitelistEntryRequest>,
    ) -> Result<Response<GetWhitelistEntryResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_epochs(
        &self,
        _: Request<ListEpochsRequest>,
    ) -> Result<Response<ListEpochsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    type ExportStateStream = ReceiverStream<Result<ExportStateResponse, Status>>;

    async fn export_state(
        &self,
        _: Request<ExportStateRequest>,
    ) -> Result<Response<Self::ExportStateStream>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_producer(
        &self,
        _: Request<GetProducerRequest>,
    ) -> Result<Response<GetProducerResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_missed_turns(
        &self,
        _: Request<ListMissedTurnsRequest>,
    ) -> Result<Response<ListMissedTurnsResponse>, Status> {
        self.here()?;
        let turns = self.turns.lock().unwrap().clone();
        Ok(Response::new(ListMissedTurnsResponse { turns, ..Default::default() }))
    }
    async fn reconcile(&self, _: Request<ReconcileRequest>) -> Result<Response<ReconcileResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn resync(&self, _: Request<ResyncRequest>) -> Result<Response<ResyncResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_digest(&self, _: Request<GetDigestRequest>) -> Result<Response<GetDigestResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_reorgs(
        &self,
        _: Request<ListReorgsRequest>,
    ) -> Result<Response<ListReorgsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn acknowledge_reorg(
        &self,
        _: Request<AcknowledgeReorgRequest>,
    ) -> Result<Response<AcknowledgeReorgResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_reconciliation(
        &self,
        _: Request<GetReconciliationRequest>,
    ) -> Result<Response<GetReconciliationResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
}

#[tonic::async_trait]
impl NodesService for FakeIndexer {
    async fn get_node(&self, request: Request<GetNodeRequest>) -> Result<Response<GetNodeResponse>, Status> {
        let Some(get_node_request::Selector::Signer(by)) = request.into_inner().selector else {
            return Err(Status::unimplemented("fake"));
        };
        let node = self.shown(by.signer.parse().expect("an address"));
        let node = node.ok_or_else(|| Refusal::new(&reasons::NODE_NOT_FOUND, "no node").status())?;
        Ok(Response::new(GetNodeResponse { node: Some(node) }))
    }

    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        self.here()?;
        let signers: Vec<Address> = self.nodes.lock().unwrap().keys().copied().collect();
        let nodes = signers.into_iter().filter_map(|signer| self.shown(signer)).collect();
        Ok(Response::new(ListNodesResponse { nodes, next_page_token: String::new() }))
    }

    async fn register_node(
        &self,
        _: Request<RegisterNodeRequest>,
    ) -> Result<Response<RegisterNodeResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn delete_node(
        &self,
        _: Request<DeleteNodeRequest>,
    ) -> Result<Response<DeleteNodeResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
}
