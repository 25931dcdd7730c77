//! Fake neighbours: they implement the generated traits behind real servers with mTLS, record what they are asked,
//! and answer with fixed messages. `refuse` makes the next calls fail.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use api::indexer::v1::indexer_service_server::IndexerService;
use api::indexer::v1::nodes_service_server::NodesService;
use api::lifecycle::v1::lifecycle_service_server::LifecycleService;
use api::rewards::v1::rewards_service_server::RewardsService;
use api::types::v1::{AsOf, BlockRef, Check, Finality, Layer, OperationKind, UnsignedTransaction, Verdict};
use api::{indexer::v1 as indexer, lifecycle::v1 as lifecycle, rewards::v1 as rewards};
use futures::stream::{self, BoxStream, StreamExt};
use prost_types::Timestamp;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

pub const NETWORK: &str = "devnet";
pub const SEQUENCER: &str = "0192f3a0-0000-7000-8000-000000000001";
pub const OPERATION: &str = "0192f3a0-0000-7000-8000-000000000002";
pub const HASH: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

/// Behind all fakes: what they were asked, what they shall refuse, and the history of transitions.
#[derive(Debug)]
pub struct Neighbourhood {
    asked: Mutex<HashMap<&'static str, String>>,
    headers: Mutex<HashMap<&'static str, tonic::metadata::MetadataMap>>,
    refusal: Mutex<Option<Status>>,
    history: watch::Sender<Vec<lifecycle::WatchTransitionsResponse>>,
    /// Whether a stream that begins now first tells its cursor.
    announces: AtomicBool,
    /// Raised to break all open streams.
    broken: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
pub struct Fake(pub Arc<Neighbourhood>);

impl Neighbourhood {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: Mutex::default(),
            headers: Mutex::default(),
            refusal: Mutex::default(),
            history: watch::Sender::new(Vec::new()),
            announces: AtomicBool::new(false),
            broken: watch::Sender::new(0),
        })
    }

    /// The last request of this method, as text.
    pub fn asked(&self, method: &str) -> Option<String> {
        self.asked.lock().expect("no test panics here").get(method).cloned()
    }

    /// A header of the last request of this method.
    pub fn header(&self, method: &str, name: &str) -> Option<String> {
        let headers = self.headers.lock().expect("no test panics here");
        Some(headers.get(method)?.get(name)?.to_str().ok()?.to_owned())
    }

    pub fn refuse(&self, status: Option<Status>) {
        *self.refusal.lock().expect("no test panics here") = status;
    }

    /// A transition happens; its cursor is its place in the history.
    pub fn happen(&self, undone: bool) -> String {
        let mut cursor = String::new();
        self.history.send_modify(|history| {
            cursor = (history.len() + 1).to_string();
            let transition = lifecycle::Transition {
                id: history.len() as u64 + 1,
                sequencer: SEQUENCER.to_owned(),
                network: NETWORK.to_owned(),
                from: lifecycle::Phase::Locked.into(),
                to: lifecycle::Phase::Active.into(),
                undone,
                ..Default::default()
            };
            let message = lifecycle::WatchTransitionsResponse {
                cursor: cursor.clone(),
                transition: Some(transition),
                sequencer: Some(sequencer()),
            };
            history.push(message);
        });
        cursor
    }

    /// Breaks all open streams of transitions.
    pub fn break_streams(&self) {
        self.broken.send_modify(|times| *times += 1);
    }

    /// From now on, streams that begin now first tell their cursor.
    pub fn announce_cursors(&self) {
        self.announces.store(true, Ordering::SeqCst);
    }

    /// How many streams of transitions are open.
    pub fn watchers(&self) -> usize {
        self.history.receiver_count()
    }

    fn answer<Q: Debug, A>(
        &self,
        method: &'static str,
        request: &Request<Q>,
        answer: A,
    ) -> Result<Response<A>, Status> {
        self.asked.lock().expect("no test panics here").insert(method, format!("{:?}", request.get_ref()));
        self.headers.lock().expect("no test panics here").insert(method, request.metadata().clone());
        match self.refusal.lock().expect("no test panics here").clone() {
            Some(status) => Err(status),
            None => Ok(Response::new(answer)),
        }
    }

    fn watch(&self, after: &str) -> BoxStream<'static, Result<lifecycle::WatchTransitionsResponse, Status>> {
        let history = self.history.subscribe();
        let mut broken = self.broken.subscribe();
        broken.mark_unchanged();
        let next = after.parse().unwrap_or_else(|_| history.borrow().len());
        let announced = (after.is_empty() && self.announces.load(Ordering::SeqCst)).then(|| {
            Ok(lifecycle::WatchTransitionsResponse { cursor: next.to_string(), ..Default::default() })
        });
        let changes = stream::unfold((next, history, broken), |(next, mut history, mut broken)| async move {
            loop {
                let found = history.borrow_and_update().get(next).cloned();
                if let Some(message) = found {
                    return Some((Ok(message), (next + 1, history, broken)));
                }
                tokio::select! {
                    changed = history.changed() => changed.ok()?,
                    _ = broken.changed() => return None,
                }
            }
        });
        stream::iter(announced).chain(changes).boxed()
    }
}

macro_rules! service {
    ($trait:ident in $package:ident { $($name:ident: $request:ident => $response:ident = $answer:expr;)* } $($rest:tt)*) => {
        #[tonic::async_trait]
        impl $trait for Fake {
            $(async fn $name(&self, request: Request<$package::$request>) -> Result<Response<$package::$response>, Status> {
                self.0.answer(stringify!($name), &request, $answer)
            })*
            $($rest)*
        }
    };
}

service! { IndexerService in indexer {
    list_networks: ListNetworksRequest => ListNetworksResponse = indexer::ListNetworksResponse { networks: vec![network()] };
    get_chain_parameters: GetChainParametersRequest => GetChainParametersResponse = indexer::GetChainParametersResponse {
        parameters: Some(indexer::ChainParameters { min_lock_wei: "16".to_owned(), ..Default::default() }), as_of: Some(as_of()),
    };
    get_sequencer_record: GetSequencerRecordRequest => GetSequencerRecordResponse = Default::default();
    list_sequencer_records: ListSequencerRecordsRequest => ListSequencerRecordsResponse = Default::default();
    read_contract_records: ReadContractRecordsRequest => ReadContractRecordsResponse = Default::default();
    get_whitelist_entry: GetWhitelistEntryRequest => GetWhitelistEntryResponse = Default::default();
    list_events: ListEventsRequest => ListEventsResponse = Default::default();
    list_epochs: ListEpochsRequest => ListEpochsResponse = indexer::ListEpochsResponse { as_of: Some(as_of()), ..Default::default() };
    get_reconciliation: GetReconciliationRequest => GetReconciliationResponse = Default::default();
    get_producer: GetProducerRequest => GetProducerResponse = Default::default();
    list_missed_turns: ListMissedTurnsRequest => ListMissedTurnsResponse = Default::default();
    reconcile: ReconcileRequest => ReconcileResponse = Default::default();
    resync: ResyncRequest => ResyncResponse = Default::default();
    get_digest: GetDigestRequest => GetDigestResponse = Default::default();
    list_reorgs: ListReorgsRequest => ListReorgsResponse = Default::default();
    acknowledge_reorg: AcknowledgeReorgRequest => AcknowledgeReorgResponse = Default::default();
}
    type StreamEventsStream = BoxStream<'static, Result<indexer::StreamEventsResponse, Status>>;

    async fn stream_events(&self, _: Request<indexer::StreamEventsRequest>) -> Result<Response<Self::StreamEventsStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }

    type ExportStateStream = BoxStream<'static, Result<indexer::ExportStateResponse, Status>>;

    async fn export_state(&self, _: Request<indexer::ExportStateRequest>) -> Result<Response<Self::ExportStateStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }
}

service! { NodesService in indexer {
    register_node: RegisterNodeRequest => RegisterNodeResponse = Default::default();
    delete_node: DeleteNodeRequest => DeleteNodeResponse = Default::default();
    get_node: GetNodeRequest => GetNodeResponse = indexer::GetNodeResponse { node: Some(node()) };
    list_nodes: ListNodesRequest => ListNodesResponse = indexer::ListNodesResponse { nodes: vec![node()], ..Default::default() };
} }

service! { LifecycleService in lifecycle {
    register_sequencer: RegisterSequencerRequest => RegisterSequencerResponse = lifecycle::RegisterSequencerResponse { sequencer: Some(sequencer()) };
    update_sequencer: UpdateSequencerRequest => UpdateSequencerResponse = Default::default();
    get_sequencer: GetSequencerRequest => GetSequencerResponse = lifecycle::GetSequencerResponse { sequencer: Some(sequencer()) };
    list_sequencers: ListSequencersRequest => ListSequencersResponse = lifecycle::ListSequencersResponse {
        sequencers: vec![sequencer()], as_of: Some(as_of()), next_page_token: "next".to_owned(),
    };
    list_transitions: ListTransitionsRequest => ListTransitionsResponse = Default::default();
    preflight_operation: PreflightOperationRequest => PreflightOperationResponse = lifecycle::PreflightOperationResponse {
        ok: true, checks: vec![check()], transactions: vec![unsigned("0x02"), unsigned("0x03")], as_of: Some(as_of()), ..Default::default()
    };
    create_operation: CreateOperationRequest => CreateOperationResponse = lifecycle::CreateOperationResponse {
        operation: Some(operation()), checks: vec![check()],
    };
    submit_transaction: SubmitTransactionRequest => SubmitTransactionResponse = lifecycle::SubmitTransactionResponse { operation: Some(operation()) };
    cancel_operation: CancelOperationRequest => CancelOperationResponse = lifecycle::CancelOperationResponse { operation: Some(operation()) };
    get_operation: GetOperationRequest => GetOperationResponse = lifecycle::GetOperationResponse { operation: Some(operation()) };
    list_operations: ListOperationsRequest => ListOperationsResponse = Default::default();
    get_sequencer_at: GetSequencerAtRequest => GetSequencerAtResponse = Default::default();
    build_listing: BuildListingRequest => BuildListingResponse = lifecycle::BuildListingResponse { json: "{}".to_owned(), checks: vec![] };
    export_prepared_operation: ExportPreparedOperationRequest => ExportPreparedOperationResponse = Default::default();
    validate_listing: ValidateListingRequest => ValidateListingResponse = Default::default();
    approve_operation: ApproveOperationRequest => ApproveOperationResponse = Default::default();
    reject_operation: RejectOperationRequest => RejectOperationResponse = Default::default();
    speed_up_operation: SpeedUpOperationRequest => SpeedUpOperationResponse = Default::default();
}
    type WatchTransitionsStream = BoxStream<'static, Result<lifecycle::WatchTransitionsResponse, Status>>;
    type WatchOperationStream = BoxStream<'static, Result<lifecycle::WatchOperationResponse, Status>>;

    async fn watch_transitions(
        &self,
        request: Request<lifecycle::WatchTransitionsRequest>,
    ) -> Result<Response<Self::WatchTransitionsStream>, Status> {
        self.0.answer("watch_transitions", &request, ())?;
        Ok(Response::new(self.0.watch(&request.get_ref().after_cursor)))
    }

    async fn watch_operation(
        &self,
        _: Request<lifecycle::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }
}

service! { RewardsService in rewards {
    get_balance: GetBalanceRequest => GetBalanceResponse = rewards::GetBalanceResponse {
        balance: Some(rewards::Balance { accrued_wei: "1000".to_owned(), ..Default::default() }), as_of: Some(as_of()),
    };
    list_balances: ListBalancesRequest => ListBalancesResponse = rewards::ListBalancesResponse { as_of: Some(as_of()), ..Default::default() };
    list_entries: ListEntriesRequest => ListEntriesResponse = Default::default();
    get_rate: GetRateRequest => GetRateResponse = rewards::GetRateResponse { as_of: Some(as_of()), ..Default::default() };
    get_network_summary: GetNetworkSummaryRequest => GetNetworkSummaryResponse = rewards::GetNetworkSummaryResponse { as_of: Some(as_of()), ..Default::default() };
    get_reconciliation: GetReconciliationRequest => GetReconciliationResponse = Default::default();
} }

fn block() -> BlockRef {
    BlockRef { number: 16, hash: HASH.to_owned(), time: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }) }
}

fn as_of() -> AsOf {
    AsOf { network: NETWORK.to_owned(), block: Some(block()), finality: Finality::Latest.into() }
}

fn network() -> indexer::Network {
    let l1 = indexer::SourceProgress {
        layer: Layer::L1.into(),
        chain_id: 31_337,
        indexed: Some(block()),
        latest: 16,
        problem: "asking http://user:hunter2@10.0.0.1:8545 failed".to_owned(),
        ..Default::default()
    };
    indexer::Network { name: NETWORK.to_owned(), sources: vec![l1], ..Default::default() }
}

fn node() -> indexer::Node {
    let endpoints =
        indexer::NodeEndpoints { l2geth: "http://10.0.0.9:8545".to_owned(), ..Default::default() };
    indexer::Node {
        id: "n".to_owned(),
        network: NETWORK.to_owned(),
        endpoints: Some(endpoints),
        ..Default::default()
    }
}

pub fn sequencer() -> lifecycle::Sequencer {
    lifecycle::Sequencer {
        id: SEQUENCER.to_owned(),
        network: NETWORK.to_owned(),
        name: "alpha".to_owned(),
        phase: lifecycle::Phase::Active.into(),
        locked_wei: "20000000000000000000000".to_owned(),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        as_of: Some(as_of()),
        ..Default::default()
    }
}

fn unsigned(to: &str) -> UnsignedTransaction {
    UnsignedTransaction {
        chain_id: 31_337,
        from: "0x01".to_owned(),
        to: to.to_owned(),
        value_wei: "0".to_owned(),
        data: "0xabcd".to_owned(),
        gas_limit: 100_000,
        ..Default::default()
    }
}

fn operation() -> lifecycle::Operation {
    let step = |name: &str, to: &str| lifecycle::Transaction {
        step: name.to_owned(),
        unsigned: Some(unsigned(to)),
        words: format!("{name} in words"),
        ..Default::default()
    };
    lifecycle::Operation {
        id: OPERATION.to_owned(),
        network: NETWORK.to_owned(),
        sequencer: SEQUENCER.to_owned(),
        kind: OperationKind::Lock.into(),
        transactions: vec![step("approve", "0x02"), step("lock", "0x03")],
        words: "lock 20000 METIS".to_owned(),
        expire_time: Some(Timestamp { seconds: 1_700_000_600, nanos: 0 }),
        ..Default::default()
    }
}

fn check() -> Check {
    Check { name: "OWNER_WHITELISTED".to_owned(), verdict: Verdict::Pass.into(), ..Default::default() }
}
