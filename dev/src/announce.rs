//! What happens, as it happens: lines for people, or one JSON object per state for programs.

use std::io::Write;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

/// Where the start, the run and the stop have got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A PostgreSQL server is fetched, once for this machine.
    Downloading,
    /// The database server starts.
    StartingPostgres,
    /// L1 and L2 start.
    StartingChains,
    /// The contracts are put on the chains.
    DeployingContracts,
    /// The schemas are made.
    Migrating,
    /// The five services start.
    StartingServices,
    /// All five answer.
    Healthy,
    /// The demo sequencers are set up.
    Seeding,
    /// Everything is there.
    Ready,
    /// Everything is being stopped.
    Stopping,
    /// Nothing of it runs any more.
    Stopped,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Downloading => "fetching PostgreSQL, once for this machine",
            Self::StartingPostgres => "starting PostgreSQL",
            Self::StartingChains => "starting L1 and L2",
            Self::DeployingContracts => "deploying the contracts",
            Self::Migrating => "making the schemas",
            Self::StartingServices => "starting the five services",
            Self::Healthy => "healthy",
            Self::Seeding => "setting up six demo sequencers",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// Who reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Lines in words.
    People,
    /// JSON lines.
    Programs,
    /// No lines at all, as in tests.
    Nobody,
}

/// Tells its audience what happens.
#[derive(Debug)]
pub struct Announce {
    audience: Audience,
    start: Instant,
}

impl Announce {
    /// Times count from now.
    pub fn to(audience: Audience) -> Self {
        Self { audience, start: Instant::now() }
    }

    /// Tells of a state.
    pub fn state(&self, state: State) {
        self.state_with(state, json!({}));
    }

    /// Tells of a state with more for programs; `details` is an object.
    pub fn state_with(&self, state: State, details: Value) {
        let elapsed = self.start.elapsed();
        self.people(&format!("{:6.1} s  {}", elapsed.as_secs_f64(), state.words()));
        let mut line = json!({ "state": state, "elapsed_ms": elapsed.as_millis() });
        if let (Some(line), Value::Object(details)) = (line.as_object_mut(), details) {
            line.extend(details);
        }
        self.programs(&line);
    }

    /// A line for people only.
    pub fn people(&self, text: &str) {
        self.line(Audience::People, text);
    }

    /// A line for programs only.
    pub fn programs(&self, value: &Value) {
        self.line(Audience::Programs, &value.to_string());
    }

    fn line(&self, to: Audience, text: &str) {
        if self.audience == to {
            // A reader that has gone away is no reason to stop the stack.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }
}
