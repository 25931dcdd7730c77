//! The generated trait of webhooks: parse, call, convert, nothing else.

use api::lifecycle::v1::webhooks_service_server::WebhooksService;
use api::lifecycle::v1::{
    CreateWebhookRequest, CreateWebhookResponse, DeleteWebhookRequest, DeleteWebhookResponse,
    ListDeliveriesRequest, ListDeliveriesResponse, ListWebhooksRequest, ListWebhooksResponse,
    ReplayNotificationsRequest, ReplayNotificationsResponse, RetryDeliveryRequest, RetryDeliveryResponse,
    RotateWebhookSecretRequest, RotateWebhookSecretResponse, TestWebhookRequest, TestWebhookResponse,
    UpdateWebhookRequest, UpdateWebhookResponse,
};
use runtime::server::identity;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::operations::webhooks::{change, create, deliveries, replay, rotate};

#[tonic::async_trait]
impl WebhooksService for Rpc {
    async fn create_webhook(
        &self,
        request: Request<CreateWebhookRequest>,
    ) -> Result<Response<CreateWebhookResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(create::run(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }

    async fn list_webhooks(
        &self,
        request: Request<ListWebhooksRequest>,
    ) -> Result<Response<ListWebhooksResponse>, Status> {
        Ok(Response::new(create::list(&self.fleet, request.into_inner()).await?))
    }

    async fn update_webhook(
        &self,
        request: Request<UpdateWebhookRequest>,
    ) -> Result<Response<UpdateWebhookResponse>, Status> {
        Ok(Response::new(change::update(&self.fleet, request.into_inner()).await?))
    }

    async fn delete_webhook(
        &self,
        request: Request<DeleteWebhookRequest>,
    ) -> Result<Response<DeleteWebhookResponse>, Status> {
        Ok(Response::new(change::remove(&self.fleet, request.into_inner()).await?))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<RotateWebhookSecretRequest>,
    ) -> Result<Response<RotateWebhookSecretResponse>, Status> {
        let caller = identity(&request);
        Ok(Response::new(rotate::run(&self.fleet, request.into_inner(), caller.as_str()).await?))
    }

    async fn test_webhook(
        &self,
        request: Request<TestWebhookRequest>,
    ) -> Result<Response<TestWebhookResponse>, Status> {
        Ok(Response::new(replay::test(&self.fleet, request.into_inner()).await?))
    }

    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        Ok(Response::new(deliveries::list(&self.fleet, request.into_inner()).await?))
    }

    async fn retry_delivery(
        &self,
        request: Request<RetryDeliveryRequest>,
    ) -> Result<Response<RetryDeliveryResponse>, Status> {
        Ok(Response::new(deliveries::retry(&self.fleet, request.into_inner()).await?))
    }

    async fn replay_notifications(
        &self,
        request: Request<ReplayNotificationsRequest>,
    ) -> Result<Response<ReplayNotificationsResponse>, Status> {
        Ok(Response::new(replay::run(&self.fleet, request.into_inner()).await?))
    }
}
