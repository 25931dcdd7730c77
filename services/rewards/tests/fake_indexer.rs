//! A fake: an indexer that streams what a test tells it, over real gRPC with mTLS. The real one is exercised
//! by the journeys in `tests/`.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use api::indexer::v1::indexer_service_server::{IndexerService, IndexerServiceServer};
use api::indexer::v1::*;
use runtime::health::Health;
use runtime::server::GrpcServer;
use runtime::shutdown::Shutdown;
use runtime::tls::Tls;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

pub const NETWORK: &str = "devnet";

#[derive(Clone)]
pub struct FakeIndexer {
    messages: watch::Sender<Vec<stream_events_response::Message>>,
    pub contract: Arc<Mutex<Vec<SequencerRecord>>>,
    pub parameters: Arc<Mutex<ChainParameters>>,
}

impl FakeIndexer {
    pub async fn start(tls: Arc<Tls>, shutdown: Shutdown) -> (Self, std::net::SocketAddr) {
        let fake =
            Self { messages: watch::Sender::default(), contract: Arc::default(), parameters: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = GrpcServer::builder("indexer", listener, tls, api::methods::grpc(), Health::new())
            .add(IndexerServiceServer::new(fake.clone()), api::DESCRIPTORS);
        tokio::spawn(server.serve(shutdown));
        (fake, address)
    }

    /// Appends a message to the stream of every consumer.
    pub fn send(&self, message: stream_events_response::Message) {
        self.messages.send_modify(|messages| messages.push(message));
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl IndexerService for FakeIndexer {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<StreamEventsResponse, Status>> + Send>>;

    async fn list_networks(&self, _: Request<ListNetworksRequest>) -> Answer<ListNetworksResponse> {
        let network = Network { name: NETWORK.into(), ..Network::default() };
        Ok(Response::new(ListNetworksResponse { networks: vec![network] }))
    }

    async fn stream_events(&self, request: Request<StreamEventsRequest>) -> Answer<Self::StreamEventsStream> {
        let cursor = request.into_inner().after_cursor;
        let next: usize = if cursor.is_empty() { 0 } else { cursor.parse().unwrap() };
        let receiver = self.messages.subscribe();
        let stream = from_cursor((receiver, next));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn read_contract_records(
        &self,
        _: Request<ReadContractRecordsRequest>,
    ) -> Answer<ReadContractRecordsResponse> {
        let records = self.contract.lock().unwrap().clone();
        Ok(Response::new(ReadContractRecordsResponse { records, ..ReadContractRecordsResponse::default() }))
    }

    async fn get_chain_parameters(
        &self,
        _: Request<GetChainParametersRequest>,
    ) -> Answer<GetChainParametersResponse> {
        let parameters = Some(self.parameters.lock().unwrap().clone());
        Ok(Response::new(GetChainParametersResponse { parameters, as_of: None }))
    }

    async fn list_sequencer_records(
        &self,
        _: Request<ListSequencerRecordsRequest>,
    ) -> Answer<ListSequencerRecordsResponse> {
        let records = self.contract.lock().unwrap().clone();
        Ok(Response::new(ListSequencerRecordsResponse { records, ..ListSequencerRecordsResponse::default() }))
    }

    async fn list_epochs(&self, _: Request<ListEpochsRequest>) -> Answer<ListEpochsResponse> {
        Ok(Response::new(ListEpochsResponse::default()))
    }

    async fn get_sequencer_record(
        &self,
        _: Request<GetSequencerRecordRequest>,
    ) -> Answer<GetSequencerRecordResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn get_whitelist_entry(
        &self,
        _: Request<GetWhitelistEntryRequest>,
    ) -> Answer<GetWhitelistEntryResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn list_events(&self, _: Request<ListEventsRequest>) -> Answer<ListEventsResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn get_reconciliation(
        &self,
        _: Request<GetReconciliationRequest>,
    ) -> Answer<GetReconciliationResponse> {
        Err(Status::unimplemented("not faked"))
    }

    type ExportStateStream = Pin<Box<dyn Stream<Item = Result<ExportStateResponse, Status>> + Send>>;

    async fn export_state(&self, _: Request<ExportStateRequest>) -> Answer<Self::ExportStateStream> {
        Err(Status::unimplemented("not faked"))
    }

    async fn get_producer(&self, _: Request<GetProducerRequest>) -> Answer<GetProducerResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn list_missed_turns(&self, _: Request<ListMissedTurnsRequest>) -> Answer<ListMissedTurnsResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn reconcile(&self, _: Request<ReconcileRequest>) -> Answer<ReconcileResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn resync(&self, _: Request<ResyncRequest>) -> Answer<ResyncResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn get_digest(&self, _: Request<GetDigestRequest>) -> Answer<GetDigestResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn list_reorgs(&self, _: Request<ListReorgsRequest>) -> Answer<ListReorgsResponse> {
        Err(Status::unimplemented("not faked"))
    }

    async fn acknowledge_reorg(
        &self,
        _: Request<AcknowledgeReorgRequest>,
    ) -> Answer<AcknowledgeReorgResponse> {
        Err(Status::unimplemented("not faked"))
    }
}

/// Message `n` carries cursor `n + 1`: the next one to send.
fn from_cursor(
    start: (watch::Receiver<Vec<stream_events_response::Message>>, usize),
) -> impl Stream<Item = Result<StreamEventsResponse, Status>> + Send {
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let (mut messages, mut next) = start;
    tokio::spawn(async move {
        loop {
            let message = {
                let Ok(all) = messages.wait_for(|all| all.len() > next).await else { return };
                all[next].clone()
            };
            next += 1;
            let response = StreamEventsResponse { cursor: next.to_string(), message: Some(message) };
            if sender.send(Ok(response)).await.is_err() {
                return;
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}
