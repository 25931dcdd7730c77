//! What a figure says.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::machine;

/// One measured figure.
#[derive(Debug)]
pub struct Figure {
    value: f64,
    unit: &'static str,
    limit: Option<f64>,
    peers: BTreeMap<&'static str, f64>,
    conditions: Map<String, Value>,
}

impl Figure {
    /// A value with its unit. `target` is what the project has promised; `what` says what was measured from where
    /// to where.
    pub fn new(value: f64, unit: &'static str, target: f64, what: &str) -> Self {
        let conditions = Map::from_iter([
            ("target".to_owned(), json!(rounded(target))),
            ("measured".to_owned(), json!(what)),
        ]);
        Self { value, unit, limit: None, peers: BTreeMap::new(), conditions }
    }

    /// The bound, measured in the same run, and what it is.
    pub fn limit(mut self, limit: f64, what: &str) -> Self {
        self.limit = Some(limit);
        self.with("limit_is", json!(what))
    }

    /// How something else does the same.
    pub fn peer(mut self, name: &'static str, value: f64) -> Self {
        self.peers.insert(name, rounded(value));
        self
    }

    /// Something else that is worth knowing.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.conditions.insert(name.to_owned(), value);
        self
    }

    /// The line of this figure.
    pub fn line(self, name: &str, load_before: f64) -> Value {
        let Self { value, unit, limit, peers, mut conditions } = self;
        conditions.extend(machine::conditions(load_before));
        json!({
            "bench": name,
            "value": rounded(value),
            "unit": unit,
            "limit": limit.map(rounded),
            "ratio": limit.filter(|limit| *limit > 0.0).map(|limit| rounded(value / limit)),
            "peers": peers,
            "conditions": conditions,
        })
    }
}

/// Three decimals are more than can be repeated.
pub fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Milliseconds between the two.
pub fn millis(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64() * 1_000.0
}

/// The value below which this part of them lies.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    // Never negative and never beyond the last.
    let place = (last as f64 * part).round() as usize;
    values.get(place).copied().unwrap_or_default()
}
