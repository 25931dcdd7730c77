//! The generated trait of schedules: parse, call, convert, nothing else.

use api::lifecycle::v1::schedule_service_server::ScheduleService;
use api::lifecycle::v1::{
    CreateScheduleRequest, CreateScheduleResponse, DeleteScheduleRequest, DeleteScheduleResponse,
    GetScheduleRequest, GetScheduleResponse, ListScheduleRunsRequest, ListScheduleRunsResponse,
    ListSchedulesRequest, ListSchedulesResponse, UpdateScheduleRequest, UpdateScheduleResponse,
};
use runtime::server::identity;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::schedule::{change, view};

#[tonic::async_trait]
impl ScheduleService for Rpc {
    async fn create_schedule(
        &self,
        request: Request<CreateScheduleRequest>,
    ) -> Result<Response<CreateScheduleResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(change::create(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }

    async fn get_schedule(
        &self,
        request: Request<GetScheduleRequest>,
    ) -> Result<Response<GetScheduleResponse>, Status> {
        Ok(Response::new(view::get(&self.fleet, request.into_inner()).await?))
    }

    async fn list_schedules(
        &self,
        request: Request<ListSchedulesRequest>,
    ) -> Result<Response<ListSchedulesResponse>, Status> {
        Ok(Response::new(view::list(&self.fleet, request.into_inner()).await?))
    }

    async fn update_schedule(
        &self,
        request: Request<UpdateScheduleRequest>,
    ) -> Result<Response<UpdateScheduleResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(change::update(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }

    async fn delete_schedule(
        &self,
        request: Request<DeleteScheduleRequest>,
    ) -> Result<Response<DeleteScheduleResponse>, Status> {
        Ok(Response::new(change::delete(&self.fleet, request.into_inner()).await?))
    }

    async fn list_schedule_runs(
        &self,
        request: Request<ListScheduleRunsRequest>,
    ) -> Result<Response<ListScheduleRunsResponse>, Status> {
        Ok(Response::new(view::runs(&self.fleet, request.into_inner()).await?))
    }
}
