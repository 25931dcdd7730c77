//! The generated trait: parse, call, convert.

use api::rewards::v1::rewards_service_server::RewardsService;
use api::rewards::v1::{
    GetBalanceRequest, GetBalanceResponse, GetNetworkSummaryRequest, GetNetworkSummaryResponse,
    GetRateRequest, GetRateResponse, GetReconciliationRequest, GetReconciliationResponse,
    ListBalancesRequest, ListBalancesResponse, ListEntriesRequest, ListEntriesResponse,
};
use sea_orm::DatabaseConnection;
use tonic::{Request, Response, Status};

use crate::{Indexer, operations};

/// The service as gRPC sees it.
#[derive(Debug)]
pub struct Rewards {
    /// Our schema.
    pub database: DatabaseConnection,
    /// The indexer.
    pub indexer: Indexer,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RewardsService for Rewards {
    async fn get_balance(&self, request: Request<GetBalanceRequest>) -> Answer<GetBalanceResponse> {
        Ok(Response::new(operations::balance::get(self, request.into_inner()).await?))
    }

    async fn list_balances(&self, request: Request<ListBalancesRequest>) -> Answer<ListBalancesResponse> {
        Ok(Response::new(operations::balance::list(self, request.into_inner()).await?))
    }

    async fn list_entries(&self, request: Request<ListEntriesRequest>) -> Answer<ListEntriesResponse> {
        Ok(Response::new(operations::entries::list(self, request.into_inner()).await?))
    }

    async fn get_rate(&self, request: Request<GetRateRequest>) -> Answer<GetRateResponse> {
        Ok(Response::new(operations::rate::get(self, request.into_inner()).await?))
    }

    async fn get_network_summary(
        &self,
        request: Request<GetNetworkSummaryRequest>,
    ) -> Answer<GetNetworkSummaryResponse> {
        Ok(Response::new(operations::summary::get(self, request.into_inner()).await?))
    }

    async fn get_reconciliation(
        &self,
        request: Request<GetReconciliationRequest>,
    ) -> Answer<GetReconciliationResponse> {
        Ok(Response::new(operations::reconciliation::get(self, request.into_inner()).await?))
    }
}
