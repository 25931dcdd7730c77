//! When an operation may begin and until when it must have, as flags.

use anyhow::Result;
use api::lifecycle::v1::TermsAsked;
use clap::Args;
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::exit::usage;

/// Terms of an operation.
#[derive(Args)]
pub struct Terms {
    /// Not before this time, as 2026-12-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Not to be begun after this time.
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Claim and unlock: set this L2 recipient first where the contract has none.
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    recipient_if_unset: String,
}

impl Terms {
    /// For the request; none if nothing was said.
    pub fn asked(&self) -> Result<Option<TermsAsked>> {
        let asked = TermsAsked {
            not_before: moment("--not-before", self.not_before.as_deref())?,
            deadline: moment("--deadline", self.deadline.as_deref())?,
            recipient_if_unset: self.recipient_if_unset.clone(),
        };
        Ok((asked != TermsAsked::default()).then_some(asked))
    }
}

/// A time as people write it.
pub fn moment(flag: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| usage(format!("{flag} {text}: give a time as 2026-12-01T00:00:00Z")))?;
    Ok(Some(Timestamp { seconds: time.unix_timestamp(), nanos: 0 }))
}
