//! The gRPC server stack: mutual TLS in front, then for each call metrics, trace, identity,
//! authorisation, deadline and limits, all driven by the method table.
//!
//! Connections are served by hyper directly: the transport of tonic answers an expired time-out with
//! CANCELLED, and never sends GOAWAY to a connection that is too old.

mod accept;
mod body;
mod call;
mod edge;
mod status;

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::IntoResponse;
use http::Request;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service;

use crate::health::{Health, Watch};
use crate::methods::{self, Access, Audit, Deadline, Method, Table};
use crate::shutdown::Shutdown;
use crate::tls::Tls;

pub use crate::identity::identity;

pub use crate::methods::{BULK_BYTES_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};

/// Calls in flight at once; more are shed, because waiting here would eat their deadlines.
pub const CALLS_MAX: usize = 256;

/// Bulk calls at once: each may hold its limit several times over, so this is what bounds our memory.
pub const BULK_CALLS_MAX: usize = 2;

/// Bulk calls in flight or waiting for their turn: their deadlines are long, and nothing of them is read before it.
pub const BULK_QUEUE_MAX: usize = 32;

/// Open streams at once; they hold little but memory.
pub const STREAMS_MAX: usize = 1024;

/// What every server of ours has beside its services.
static BUILT_IN_ROWS: [Method; 4] = [
    built_in("/grpc.health.v1.Health/Check", Deadline::Read),
    built_in("/grpc.health.v1.Health/List", Deadline::Read),
    built_in("/grpc.health.v1.Health/Watch", Deadline::Stream),
    built_in("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Deadline::Stream),
];
const HEALTH_NAME: &str = "grpc.health.v1.Health";
const REFLECTION_NAME: &str = "grpc.reflection.v1.ServerReflection";

const fn built_in(name: &'static str, deadline: Deadline) -> Method {
    Method { name, access: Access::Public, cost: 1, deadline, idempotent: true, audit: Audit::None }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The method table is wrong.
    #[error("the method table is wrong")]
    Methods(#[from] methods::Error),
    /// The descriptors do not make a consistent set.
    #[error("setting up reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A gRPC server of one service of ours.
pub struct GrpcServer {
    service: String,
    listener: TcpListener,
    tls: Arc<Tls>,
    table: Table,
    health: Health,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
}

impl GrpcServer {
    /// A server without services on a listener that is already bound.
    pub fn builder(
        service: impl Into<String>,
        listener: TcpListener,
        tls: Arc<Tls>,
        table: Table,
        health: Health,
    ) -> Self {
        Self {
            service: service.into(),
            listener,
            tls,
            table,
            health,
            routes: RoutesBuilder::default(),
            names: Vec::new(),
            descriptors: Vec::new(),
        }
    }

    /// Adds a generated service with the encoded descriptor set that reflection shows for it.
    #[must_use]
    pub fn add<S>(mut self, service: S, descriptors: &'static [u8]) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        if !self.descriptors.contains(&descriptors) {
            self.descriptors.push(descriptors);
        }
        self
    }

    /// Serves until the stop, then until the calls in flight have ended.
    ///
    /// # Errors
    /// When the table or the descriptors are wrong; nothing was served then.
    pub async fn serve(self, shutdown: Shutdown) -> Result<(), Error> {
        self.table.check()?;
        let reporter = HealthReporter::new();
        let routes = self.all_routes(&reporter)?;
        let edge = edge::Edge::new(self.service.clone(), self.table, routes);
        let follow = follow_health(&self.health, &shutdown, reporter, &self.names);
        tracing::info!(service = self.service, "{} serves gRPC", self.service);
        tokio::select! {
            () = accept::run(self.listener, self.tls, edge, &shutdown) => {}
            () = follow => {}
        }
        Ok(())
    }

    fn all_routes(&self, reporter: &HealthReporter) -> Result<Routes, Error> {
        let mut routes = self.routes.clone();
        routes.add_service(HealthServer::new(HealthService::from_health_reporter(reporter.clone())));
        let mut reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(HEALTH_NAME)
            .with_service_name(REFLECTION_NAME);
        for set in &self.descriptors {
            reflection = reflection.register_encoded_file_descriptor_set(set);
        }
        for name in &self.names {
            reflection = reflection.with_service_name(*name);
        }
        routes.add_service(reflection.build_v1()?);
        Ok(routes.routes().prepare())
    }
}

/// Keeps `grpc.health.v1` in step with our health, and our health with the shutdown.
async fn follow_health(
    health: &Health,
    shutdown: &Shutdown,
    reporter: HealthReporter,
    names: &[&'static str],
) {
    let mut watch: Watch = health.watch();
    let mut draining = std::pin::pin!(shutdown.draining());
    let mut drained = false;
    loop {
        let status = if watch.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in std::iter::once(&"").chain(names) {
            reporter.set_service_status(name, status).await;
        }
        tokio::select! {
            () = watch.changed() => {}
            () = &mut draining, if !drained => {
                drained = true;
                health.drain();
            }
        }
    }
}
