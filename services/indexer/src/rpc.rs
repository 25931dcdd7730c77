//! The generated traits: parse, call, convert, nothing else.

use std::pin::Pin;

use api::indexer::v1 as wire;
use api::indexer::v1::indexer_service_server::IndexerService;
use api::indexer::v1::nodes_service_server::NodesService;
use futures::{Stream, TryStreamExt};
use runtime::server::identity;
use runtime::shutdown::Shutdown;
use tonic::{Request, Response, Status};

use crate::metrics::Metrics;
use crate::operations::export::Exports;
use crate::operations::{
    Context, digest, epochs, events, export, networks, nodes, reconcile, records, reorgs, resync, stream,
};

/// Both services over one context.
#[derive(Debug, Clone)]
pub struct Rpc {
    /// Tables and networks.
    pub context: Context,
    /// Counters.
    pub metrics: Metrics,
    /// Exports that may run.
    pub exports: Exports,
    /// Ends the streams.
    pub shutdown: Shutdown,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl IndexerService for Rpc {
    async fn list_networks(
        &self,
        _: Request<wire::ListNetworksRequest>,
    ) -> Answer<wire::ListNetworksResponse> {
        Ok(Response::new(networks::list(&self.context).await?))
    }

    async fn get_chain_parameters(
        &self,
        request: Request<wire::GetChainParametersRequest>,
    ) -> Answer<wire::GetChainParametersResponse> {
        Ok(Response::new(networks::get_parameters(&self.context, request.get_ref()).await?))
    }

    async fn get_sequencer_record(
        &self,
        request: Request<wire::GetSequencerRecordRequest>,
    ) -> Answer<wire::GetSequencerRecordResponse> {
        Ok(Response::new(records::get(&self.context, request.get_ref()).await?))
    }

    async fn list_sequencer_records(
        &self,
        request: Request<wire::ListSequencerRecordsRequest>,
    ) -> Answer<wire::ListSequencerRecordsResponse> {
        Ok(Response::new(records::list(&self.context, request.get_ref()).await?))
    }

    async fn read_contract_records(
        &self,
        request: Request<wire::ReadContractRecordsRequest>,
    ) -> Answer<wire::ReadContractRecordsResponse> {
        Ok(Response::new(records::read_contract(&self.context, request.get_ref()).await?))
    }

    async fn get_whitelist_entry(
        &self,
        request: Request<wire::GetWhitelistEntryRequest>,
    ) -> Answer<wire::GetWhitelistEntryResponse> {
        Ok(Response::new(networks::get_whitelist_entry(&self.context, request.get_ref()).await?))
    }

    async fn list_events(
        &self,
        request: Request<wire::ListEventsRequest>,
    ) -> Answer<wire::ListEventsResponse> {
        Ok(Response::new(events::list(&self.context, request.get_ref()).await?))
    }

    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<wire::StreamEventsResponse, Status>> + Send>>;

    async fn stream_events(
        &self,
        request: Request<wire::StreamEventsRequest>,
    ) -> Answer<Self::StreamEventsStream> {
        let messages = stream::open(&self.context, request.get_ref(), &self.metrics, &self.shutdown)?;
        Ok(Response::new(Box::pin(messages.map_err(Status::from))))
    }

    async fn list_epochs(
        &self,
        request: Request<wire::ListEpochsRequest>,
    ) -> Answer<wire::ListEpochsResponse> {
        Ok(Response::new(epochs::list(&self.context, request.get_ref()).await?))
    }

    async fn get_reconciliation(
        &self,
        request: Request<wire::GetReconciliationRequest>,
    ) -> Answer<wire::GetReconciliationResponse> {
        Ok(Response::new(networks::get_reconciliation(&self.context, request.get_ref()).await?))
    }

    async fn get_producer(
        &self,
        request: Request<wire::GetProducerRequest>,
    ) -> Answer<wire::GetProducerResponse> {
        Ok(Response::new(epochs::producer(&self.context, request.get_ref()).await?))
    }

    async fn list_missed_turns(
        &self,
        request: Request<wire::ListMissedTurnsRequest>,
    ) -> Answer<wire::ListMissedTurnsResponse> {
        Ok(Response::new(epochs::missed(&self.context, request.get_ref()).await?))
    }

    type ExportStateStream = Pin<Box<dyn Stream<Item = Result<wire::ExportStateResponse, Status>> + Send>>;

    async fn export_state(
        &self,
        request: Request<wire::ExportStateRequest>,
    ) -> Answer<Self::ExportStateStream> {
        let pieces = export::open(&self.context, &self.exports, request.get_ref()).await?;
        Ok(Response::new(Box::pin(pieces.map_err(Status::from))))
    }

    async fn reconcile(&self, request: Request<wire::ReconcileRequest>) -> Answer<wire::ReconcileResponse> {
        Ok(Response::new(reconcile::now(&self.context, request.get_ref()).await?))
    }

    async fn resync(&self, request: Request<wire::ResyncRequest>) -> Answer<wire::ResyncResponse> {
        let caller = identity(&request);
        Ok(Response::new(resync::ask(&self.context, caller.as_str(), request.get_ref()).await?))
    }

    async fn get_digest(&self, request: Request<wire::GetDigestRequest>) -> Answer<wire::GetDigestResponse> {
        Ok(Response::new(digest::get(&self.context, request.get_ref()).await?))
    }

    async fn list_reorgs(
        &self,
        request: Request<wire::ListReorgsRequest>,
    ) -> Answer<wire::ListReorgsResponse> {
        Ok(Response::new(reorgs::list(&self.context, request.get_ref()).await?))
    }

    async fn acknowledge_reorg(
        &self,
        request: Request<wire::AcknowledgeReorgRequest>,
    ) -> Answer<wire::AcknowledgeReorgResponse> {
        let caller = identity(&request);
        Ok(Response::new(reorgs::acknowledge(&self.context, caller.as_str(), request.get_ref()).await?))
    }
}

#[tonic::async_trait]
impl NodesService for Rpc {
    async fn register_node(
        &self,
        request: Request<wire::RegisterNodeRequest>,
    ) -> Answer<wire::RegisterNodeResponse> {
        let caller = identity(&request);
        Ok(Response::new(nodes::register(&self.context, caller.as_str(), request.get_ref()).await?))
    }

    async fn delete_node(
        &self,
        request: Request<wire::DeleteNodeRequest>,
    ) -> Answer<wire::DeleteNodeResponse> {
        Ok(Response::new(nodes::delete(&self.context, request.get_ref()).await?))
    }

    async fn get_node(&self, request: Request<wire::GetNodeRequest>) -> Answer<wire::GetNodeResponse> {
        Ok(Response::new(nodes::get(&self.context, request.get_ref()).await?))
    }

    async fn list_nodes(&self, request: Request<wire::ListNodesRequest>) -> Answer<wire::ListNodesResponse> {
        Ok(Response::new(nodes::list(&self.context, request.get_ref()).await?))
    }
}
