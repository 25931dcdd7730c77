//! The admin port: liveness, readiness and metrics over plain HTTP, for probes and Prometheus.
//!
//! It shows nothing secret and changes nothing, and belongs on an internal network.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::errors;
use crate::health::Health;
use crate::shutdown::Shutdown;
use crate::telemetry;

/// Serves the admin port until the stop; it still answers (not ready) while draining.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, health: Health, shutdown: Shutdown) -> std::io::Result<()> {
    let draining = health.clone();
    let phase_one = shutdown.draining();
    let follow = async move {
        phase_one.await;
        draining.drain();
        std::future::pending::<()>().await;
    };
    let server = axum::serve(listener, router(health)).with_graceful_shutdown(shutdown.stopped());
    tokio::select! {
        result = server.into_future() => result,
        () = follow => Ok(()),
    }
}

/// The routes, for a process that has them on a port with others.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    let snapshot = health.snapshot();
    let checks: Map<String, Value> = snapshot
        .checks
        .into_iter()
        .map(|(name, result)| {
            let mut value = match result {
                Ok(()) => json!({ "ok": true }),
                Err(reason) => json!({ "ok": false, "reason": reason }),
            };
            if snapshot.partial.contains(&name) {
                value["partial"] = json!(true);
            }
            (name, value)
        })
        .collect();
    let status = if snapshot.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": snapshot.ready, "draining": snapshot.draining, "checks": checks });
    (status, Json(body)).into_response()
}

async fn metrics() -> Response {
    match telemetry::metrics_text() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => {
            tracing::error!("the metrics cannot be read: {}", errors::report(&error));
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
