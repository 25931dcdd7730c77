//! The generated trait of fleet operations: parse, call, convert, nothing else.

use api::convert;
use api::lifecycle::v1::fleet_service_server::FleetService;
use api::lifecycle::v1::{
    ApproveFleetRequest, ApproveFleetResponse, CancelFleetRequest, CancelFleetResponse, CreateFleetRequest,
    CreateFleetResponse, FleetOperation, GetFleetRequest, GetFleetResponse, ListFleetMembersRequest,
    ListFleetMembersResponse, ListFleetsRequest, ListFleetsResponse, PauseFleetRequest, PauseFleetResponse,
    PlanFleetRequest, PlanFleetResponse, RejectFleetRequest, RejectFleetResponse, ResumeFleetRequest,
    ResumeFleetResponse,
};
use runtime::server::identity;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::error::Error;
use crate::fleet_run::change::Wish;
use crate::fleet_run::{change, create, plan, view};
use crate::request::id;

impl Rpc {
    async fn wish(&self, of: &str, identity: &str, wish: Wish) -> Result<Option<FleetOperation>, Error> {
        change::run(&self.fleet, id("id", of)?, identity, wish).await.map(Some)
    }
}

#[tonic::async_trait]
impl FleetService for Rpc {
    async fn plan_fleet(
        &self,
        request: Request<PlanFleetRequest>,
    ) -> Result<Response<PlanFleetResponse>, Status> {
        Ok(Response::new(plan::run(&self.fleet, request.into_inner()).await?))
    }

    async fn create_fleet(
        &self,
        request: Request<CreateFleetRequest>,
    ) -> Result<Response<CreateFleetResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(create::run(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }

    async fn get_fleet(
        &self,
        request: Request<GetFleetRequest>,
    ) -> Result<Response<GetFleetResponse>, Status> {
        Ok(Response::new(view::get(&self.fleet, request.into_inner()).await?))
    }

    async fn list_fleets(
        &self,
        request: Request<ListFleetsRequest>,
    ) -> Result<Response<ListFleetsResponse>, Status> {
        Ok(Response::new(view::list(&self.fleet, request.into_inner()).await?))
    }

    async fn list_fleet_members(
        &self,
        request: Request<ListFleetMembersRequest>,
    ) -> Result<Response<ListFleetMembersResponse>, Status> {
        Ok(Response::new(view::members(&self.fleet, request.into_inner()).await?))
    }

    async fn pause_fleet(
        &self,
        request: Request<PauseFleetRequest>,
    ) -> Result<Response<PauseFleetResponse>, Status> {
        let caller = identity(&request);
        let PauseFleetRequest { id, reason } = request.into_inner();
        let fleet = self.wish(&id, caller.as_str(), Wish::Pause { reason }).await?;
        Ok(Response::new(PauseFleetResponse { fleet }))
    }

    async fn resume_fleet(
        &self,
        request: Request<ResumeFleetRequest>,
    ) -> Result<Response<ResumeFleetResponse>, Status> {
        let caller = identity(&request);
        let ResumeFleetRequest { id, fee_budget_wei } = request.into_inner();
        let budget = match fee_budget_wei.as_str() {
            "" => None,
            text => Some(convert::eth("fee_budget_wei", text).map_err(Error::from)?),
        };
        let fleet = self.wish(&id, caller.as_str(), Wish::Resume { budget }).await?;
        Ok(Response::new(ResumeFleetResponse { fleet }))
    }

    async fn cancel_fleet(
        &self,
        request: Request<CancelFleetRequest>,
    ) -> Result<Response<CancelFleetResponse>, Status> {
        let caller = identity(&request);
        let CancelFleetRequest { id, reason } = request.into_inner();
        let fleet = self.wish(&id, caller.as_str(), Wish::Cancel { reason }).await?;
        Ok(Response::new(CancelFleetResponse { fleet }))
    }

    async fn approve_fleet(
        &self,
        request: Request<ApproveFleetRequest>,
    ) -> Result<Response<ApproveFleetResponse>, Status> {
        let caller = identity(&request);
        let ApproveFleetRequest { id, digest, reason } = request.into_inner();
        let digest = convert::hash("digest", &digest).map_err(Error::from)?;
        let fleet = self.wish(&id, caller.as_str(), Wish::Approve { digest, reason }).await?;
        Ok(Response::new(ApproveFleetResponse { fleet }))
    }

    async fn reject_fleet(
        &self,
        request: Request<RejectFleetRequest>,
    ) -> Result<Response<RejectFleetResponse>, Status> {
        let caller = identity(&request);
        let RejectFleetRequest { id, reason } = request.into_inner();
        let fleet = self.wish(&id, caller.as_str(), Wish::Reject { reason }).await?;
        Ok(Response::new(RejectFleetResponse { fleet }))
    }
}
