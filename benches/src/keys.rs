//! How fast the keys service signs, and what bounds it: the figures `keys.*`.

mod policy;

use crate::Measure;

/// The figures of signing.
pub const BENCHES: [(&str, Measure); 1] =
    [("keys.policy_500_rules_ms", || Box::pin(policy::five_hundred_rules()))];
