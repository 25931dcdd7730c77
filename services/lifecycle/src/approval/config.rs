//! The section `[lifecycle.approvals]`.

use std::collections::{BTreeMap, BTreeSet};

use domain::amount::{Malformed, Metis};
use domain::approval::{Requirement, Rule, RuleInvalid};
use serde::{Deserialize, Serialize};

/// When others must approve.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Approvals {
    /// What waits longer for its approvals expires.
    pub wait_secs: u32,
    /// A single approval counts so long; then it must be given again.
    pub valid_secs: u32,
    /// All rules that apply must be met.
    pub rules: Vec<ApprovalRule>,
}

/// One rule. What is left out matches everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// Names of operations, as `unlock`.
    #[serde(default)]
    pub kinds: BTreeSet<String>,
    /// Labels that the sequencer has.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// METIS from which on it applies, as `50000`.
    #[serde(default)]
    pub amount_from: Option<String>,
    /// How many must approve.
    pub needed: u32,
    /// Identities who may, as `operator:alice`; none named means every operator.
    #[serde(default)]
    pub approvers: BTreeSet<String>,
}

/// Why the section is refused at start.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A rule would never hold, or never be met.
    #[error("rule {place}")]
    Rule {
        /// From 1.
        place: usize,
        #[source]
        source: RuleInvalid,
    },
    /// Not an amount.
    #[error("amount_from of rule {place}")]
    Amount {
        /// From 1.
        place: usize,
        #[source]
        source: Malformed,
    },
    /// Nothing could ever be approved.
    #[error("wait_secs and valid_secs must be above 0")]
    NoTime,
}

impl Default for Approvals {
    fn default() -> Self {
        // Over a weekend; and a working day for each approval.
        Self { wait_secs: 3 * 86_400, valid_secs: 86_400, rules: Vec::new() }
    }
}

impl Approvals {
    /// The rules as the domain knows them.
    ///
    /// # Errors
    /// The first rule that is wrong.
    pub fn rules(&self) -> Result<Vec<Rule>, Invalid> {
        if self.wait_secs == 0 || self.valid_secs == 0 {
            return Err(Invalid::NoTime);
        }
        (1..).zip(&self.rules).map(|(place, rule)| rule.rule(place)).collect()
    }
}

impl ApprovalRule {
    fn rule(&self, place: usize) -> Result<Rule, Invalid> {
        let Self { kinds, labels, amount_from, needed, approvers } = self.clone();
        let amount_from = amount_from
            .map(|text| Metis::parse(&text))
            .transpose()
            .map_err(|source| Invalid::Amount { place, source })?;
        let rule = Rule { kinds, labels, amount_from, requirement: Requirement { needed, approvers } };
        rule.check().map_err(|source| Invalid::Rule { place, source })?;
        Ok(rule)
    }
}
