//! The generated traits: parse, call, convert, nothing else. Watches are in `watch`, lists in `lists`, the past
//! in `past`.

mod fleets;
mod lists;
mod past;
mod schedules;
mod watch;
mod webhooks;

use std::sync::Arc;

use api::lifecycle::v1::lifecycle_service_server::LifecycleService;
use api::lifecycle::v1::{
    ApproveOperationRequest, ApproveOperationResponse, BuildListingRequest, BuildListingResponse,
    CancelOperationRequest, CancelOperationResponse, CreateOperationRequest, CreateOperationResponse,
    ExportPreparedOperationRequest, ExportPreparedOperationResponse, GetOperationRequest,
    GetOperationResponse, GetSequencerAtRequest, GetSequencerAtResponse, GetSequencerRequest,
    GetSequencerResponse, ListOperationsRequest, ListOperationsResponse, ListSequencersRequest,
    ListSequencersResponse, ListTransitionsRequest, ListTransitionsResponse, PreflightOperationRequest,
    PreflightOperationResponse, RegisterSequencerRequest, RegisterSequencerResponse, RejectOperationRequest,
    RejectOperationResponse, SpeedUpOperationRequest, SpeedUpOperationResponse, SubmitTransactionRequest,
    SubmitTransactionResponse, UpdateSequencerRequest, UpdateSequencerResponse, ValidateListingRequest,
    ValidateListingResponse, WatchOperationRequest, WatchOperationResponse, WatchTransitionsRequest,
    WatchTransitionsResponse,
};
use runtime::server::identity;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::approval::decide;
use crate::fleet::Fleet;
use crate::operations::{cancel, create, export, listing, preflight, register, speed_up, submit, update};

/// The service as the transport sees it.
#[derive(Debug, Clone)]
pub struct Rpc {
    fleet: Arc<Fleet>,
}

impl Rpc {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Self { fleet }
    }
}

#[tonic::async_trait]
impl LifecycleService for Rpc {
    type WatchTransitionsStream = ReceiverStream<Result<WatchTransitionsResponse, Status>>;
    type WatchOperationStream = ReceiverStream<Result<WatchOperationResponse, Status>>;

    async fn register_sequencer(
        &self,
        request: Request<RegisterSequencerRequest>,
    ) -> Result<Response<RegisterSequencerResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(register::run(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }

    async fn update_sequencer(
        &self,
        request: Request<UpdateSequencerRequest>,
    ) -> Result<Response<UpdateSequencerResponse>, Status> {
        Ok(Response::new(update::run(&self.fleet, request.into_inner()).await?))
    }

    async fn get_sequencer(
        &self,
        request: Request<GetSequencerRequest>,
    ) -> Result<Response<GetSequencerResponse>, Status> {
        Ok(Response::new(lists::sequencer(&self.fleet, request.into_inner()).await?))
    }

    async fn list_sequencers(
        &self,
        request: Request<ListSequencersRequest>,
    ) -> Result<Response<ListSequencersResponse>, Status> {
        Ok(Response::new(lists::sequencers(&self.fleet, request.into_inner()).await?))
    }

    async fn list_transitions(
        &self,
        request: Request<ListTransitionsRequest>,
    ) -> Result<Response<ListTransitionsResponse>, Status> {
        Ok(Response::new(lists::transitions(&self.fleet, request.into_inner()).await?))
    }

    async fn watch_transitions(
        &self,
        request: Request<WatchTransitionsRequest>,
    ) -> Result<Response<Self::WatchTransitionsStream>, Status> {
        Ok(Response::new(watch::transitions(self.fleet.clone(), request.into_inner()).await?))
    }

    async fn preflight_operation(
        &self,
        request: Request<PreflightOperationRequest>,
    ) -> Result<Response<PreflightOperationResponse>, Status> {
        Ok(Response::new(preflight::run(&self.fleet, request.into_inner()).await?))
    }

    async fn create_operation(
        &self,
        request: Request<CreateOperationRequest>,
    ) -> Result<Response<CreateOperationResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(create::run(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }

    async fn submit_transaction(
        &self,
        request: Request<SubmitTransactionRequest>,
    ) -> Result<Response<SubmitTransactionResponse>, Status> {
        Ok(Response::new(submit::run(&self.fleet, request.into_inner()).await?))
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<CancelOperationResponse>, Status> {
        Ok(Response::new(cancel::run(&self.fleet, request.into_inner()).await?))
    }

    async fn speed_up_operation(
        &self,
        request: Request<SpeedUpOperationRequest>,
    ) -> Result<Response<SpeedUpOperationResponse>, Status> {
        Ok(Response::new(speed_up::run(&self.fleet, request.into_inner()).await?))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<GetOperationResponse>, Status> {
        Ok(Response::new(lists::operation(&self.fleet, request.into_inner()).await?))
    }

    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        Ok(Response::new(lists::operations(&self.fleet, request.into_inner()).await?))
    }

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        Ok(Response::new(watch::operation(self.fleet.clone(), request.into_inner()).await?))
    }

    async fn get_sequencer_at(
        &self,
        request: Request<GetSequencerAtRequest>,
    ) -> Result<Response<GetSequencerAtResponse>, Status> {
        Ok(Response::new(past::sequencer(&self.fleet, request.into_inner()).await?))
    }

    async fn build_listing(
        &self,
        request: Request<BuildListingRequest>,
    ) -> Result<Response<BuildListingResponse>, Status> {
        Ok(Response::new(listing::run(&self.fleet, request.into_inner()).await?))
    }

    async fn export_prepared_operation(
        &self,
        request: Request<ExportPreparedOperationRequest>,
    ) -> Result<Response<ExportPreparedOperationResponse>, Status> {
        Ok(Response::new(export::run(&self.fleet, request.into_inner()).await?))
    }

    async fn validate_listing(
        &self,
        request: Request<ValidateListingRequest>,
    ) -> Result<Response<ValidateListingResponse>, Status> {
        Ok(Response::new(listing::validate(&self.fleet, request.into_inner()).await?))
    }

    async fn approve_operation(
        &self,
        request: Request<ApproveOperationRequest>,
    ) -> Result<Response<ApproveOperationResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(decide::approve(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }

    async fn reject_operation(
        &self,
        request: Request<RejectOperationRequest>,
    ) -> Result<Response<RejectOperationResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(decide::reject(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }
}
