//! The backends of an installation by name. Opening reaches for none of them: one that is away is found by its
//! health check, and keeps nobody else from signing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runtime::health::{Check, Health};
use runtime::shutdown::Shutdown;

use super::{Backend, Guarded, LOCAL, Local, Settings, Source};
use crate::metrics::Metrics;

/// Enough for a fleet in several clouds; each has a check and a label in metrics.
const BACKENDS_MAX: usize = 32;
/// Between two looks at the health of a backend.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// All backends; cheap to clone.
#[derive(Debug, Clone)]
pub struct Backends {
    local: Arc<dyn Backend>,
    remote: BTreeMap<String, Arc<dyn Backend>>,
}

/// Why the configured backends cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("a backend cannot be named {0:?}: names are 1 to 63 of a-z, 0-9 and -, and \"local\" is taken")]
    Name(String),
    #[error("there are more than {BACKENDS_MAX} backends")]
    TooMany,
    #[error("backend {name} is of the kind {kind}, which was left out of this build (cargo feature {kind})")]
    LeftOut { name: String, kind: &'static str },
    #[error("the settings of backend {name}")]
    Settings {
        name: String,
        #[source]
        source: Source,
    },
}

impl Backends {
    /// Local keys only.
    pub fn only(local: Local) -> Self {
        Self { local: Arc::new(local), remote: BTreeMap::new() }
    }

    /// All that are configured.
    pub async fn open(
        local: Local,
        configured: &BTreeMap<String, Settings>,
        metrics: &Metrics,
    ) -> Result<Self, OpenError> {
        if configured.len() > BACKENDS_MAX {
            return Err(OpenError::TooMany);
        }
        let mut backends = Self::only(local);
        for (name, settings) in configured {
            if name == LOCAL || api::convert::name("name", name).is_err() {
                return Err(OpenError::Name(name.clone()));
            }
            backends.remote.insert(name.clone(), open_one(name, settings, metrics).await?);
        }
        Ok(backends)
    }

    /// A backend by name.
    pub fn named(&self, name: &str) -> Option<&Arc<dyn Backend>> {
        if name == LOCAL { Some(&self.local) } else { self.remote.get(name) }
    }

    /// Follows the health of each remote backend until the shutdown. One that is away concerns its own keys, so it does
    /// not take the service out of service.
    pub fn watch(&self, health: &Health, shutdown: &Shutdown) {
        for (name, backend) in &self.remote {
            let check = health.partial_check(format!("keys.backend.{name}"));
            let (backend, stop) = (Arc::clone(backend), shutdown.clone());
            shutdown.spawn("keys.backend", async move {
                loop {
                    look(backend.as_ref(), &check).await;
                    tokio::select! {
                        () = stop.stopped() => return,
                        () = tokio::time::sleep(LOOK_PAUSE) => {}
                    }
                }
            });
        }
    }
}

async fn look(backend: &dyn Backend, check: &Check) {
    match backend.health().await {
        Ok(()) => check.ok(),
        Err(error) => check.fail(runtime::report(&error)),
    }
}

async fn open_one(name: &str, settings: &Settings, metrics: &Metrics) -> Result<Arc<dyn Backend>, OpenError> {
    let bounds = settings.bounds();
    // Without any feature nothing can be opened, and these are not used.
    let _ = (&bounds, &metrics);
    #[allow(unused_macros)]
    macro_rules! guarded {
        ($opened:expr) => {{
            let opened = $opened
                .map_err(|source| OpenError::Settings { name: name.to_owned(), source: Box::new(source) })?;
            Ok(Arc::new(Guarded::new(name, opened, bounds, metrics.clone())))
        }};
    }
    match settings {
        #[cfg(feature = "pkcs11")]
        Settings::Pkcs11(settings) => guarded!(super::pkcs11::Pkcs11::open(name, settings)),
        #[cfg(feature = "aws-kms")]
        Settings::AwsKms(settings) => guarded!(super::aws_kms::AwsKms::open(name, settings).await),
        #[cfg(feature = "gcp-kms")]
        Settings::GcpKms(settings) => guarded!(super::gcp_kms::GcpKms::open(name, settings)),
        #[cfg(feature = "web3signer")]
        Settings::Web3signer(settings) => guarded!(super::web3signer::Web3signer::open(name, settings)),
        #[allow(unreachable_patterns)]
        left_out => Err(OpenError::LeftOut { name: name.to_owned(), kind: left_out.kind() }),
    }
}
