//! Who calls, and whether they may: API keys against the scopes of the method table, deny by default.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, header};
use moka::future::Cache;
use runtime::errors::{Refusal, generic, report};
use runtime::methods::{Access, Method};
use sea_orm::DatabaseConnection;
use time::OffsetDateTime;

use crate::db::api_key::{self, Row};
use crate::fault::Fault;
use crate::key::{self, Presented};
use crate::limits::{KEY_CACHE_MAX, KEY_CACHE_TTL};
use crate::metrics;

/// The header for those who need `Authorization` for something else.
const API_KEY: &str = "x-api-key";

/// The holder of a valid key.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Public part of the key.
    pub id: Arc<str>,
    scopes: Arc<[String]>,
    labels: Option<Arc<BTreeMap<String, String>>>,
}

/// What a request brought to identify its sender.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Nothing.
    None,
    /// A valid key.
    Key(Principal),
    /// A key that is not valid, or could not be checked.
    Bad(Fault),
}

impl Credential {
    /// Public part of the key, or `none`.
    pub fn key_id(&self) -> &str {
        match self {
            Self::Key(principal) => &principal.id,
            Self::None | Self::Bad(_) => "none",
        }
    }
}

/// The keys of the database, remembered for a moment.
#[derive(Debug, Clone)]
pub struct Keys {
    database: DatabaseConnection,
    recent: Cache<String, Option<Arc<Row>>>,
}

impl Keys {
    /// Keys as the database has them.
    pub fn new(database: DatabaseConnection) -> Self {
        let recent = Cache::builder().max_capacity(KEY_CACHE_MAX).time_to_live(KEY_CACHE_TTL).build();
        Self { database, recent }
    }

    /// Checks the key in the headers.
    pub async fn check(&self, headers: &HeaderMap) -> Credential {
        let shown = match shown(headers) {
            Ok(None) => return Credential::None,
            Ok(Some(shown)) => shown,
            Err(fault) => return Credential::Bad(fault),
        };
        let database = self.database.clone();
        let id = shown.id.clone();
        let row = self.recent.try_get_with(shown.id.clone(), async move {
            Ok::<_, store::Error>(api_key::of_id(&database, &id).await?.map(Arc::new))
        });
        match row.await {
            Ok(row) => judge(&shown, row.as_deref(), OffsetDateTime::now_utc())
                .map_or_else(Credential::Bad, Credential::Key),
            Err(error) => {
                tracing::error!("an API key cannot be checked: {}", report(error.as_ref()));
                Credential::Bad(
                    Refusal::new(&generic::DATABASE_UNAVAILABLE, "keys cannot be checked now").into(),
                )
            }
        }
    }
}

/// The key in the headers, at most one.
fn shown(headers: &HeaderMap) -> Result<Option<Presented>, Fault> {
    let mut found = headers.get_all(header::AUTHORIZATION).iter().chain(headers.get_all(API_KEY));
    let Some(value) = found.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let text = if headers.contains_key(header::AUTHORIZATION) {
        text.split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
    } else {
        Some(text)
    };
    match text.and_then(key::parse) {
        Some(shown) if found.next().is_none() => Ok(Some(shown)),
        _ => Err(invalid()),
    }
}

/// Whether the key is what it says. Nothing is told of a key whose secret is wrong.
fn judge(shown: &Presented, row: Option<&Row>, now: OffsetDateTime) -> Result<Principal, Fault> {
    let row = row.filter(|row| shown.matches(&row.secret_hash)).ok_or_else(invalid)?;
    if row.revoked_at.is_some() {
        return Err(invalid());
    }
    if row.expires_at <= now {
        return Err(Refusal::new(&generic::CREDENTIAL_EXPIRED, "the API key has expired").into());
    }
    Ok(Principal {
        id: row.id.as_str().into(),
        scopes: row.scopes.clone().into(),
        labels: row.label_selector.clone().map(Arc::new),
    })
}

fn invalid() -> Fault {
    Refusal::new(&generic::CREDENTIAL_INVALID, "the API key is not valid").into()
}

/// Whether the sender may call the method; before anything is read of its params.
pub fn authorise(method: &Method, credential: &Credential) -> Result<(), Fault> {
    let verdict = match (&method.access, credential) {
        // What everyone may read must not depend on whether keys can be checked.
        (Access::Public, Credential::Bad(fault)) if fault.reason == generic::DATABASE_UNAVAILABLE.name => {
            Ok(())
        }
        (_, Credential::Bad(fault)) => Err(fault.clone()),
        (Access::Public, _) => Ok(()),
        (Access::Scope(scope), Credential::Key(principal)) if principal.has(scope) => Ok(()),
        (Access::Scope(scope), Credential::Key(_)) => Err(Refusal::new(
            &generic::SCOPE_MISSING,
            format!("{} needs a key with the scope {scope}", method.name),
        )
        .meta("scope", scope)
        .into()),
        (Access::Scope(scope), Credential::None) => {
            Err(Refusal::new(&generic::CREDENTIAL_MISSING, format!("{} needs an API key", method.name))
                .meta("scope", scope)
                .into())
        }
        (Access::Identities(_), _) => {
            Err(Refusal::new(&generic::PERMISSION_DENIED, format!("{} is not for the public", method.name))
                .into())
        }
    };
    if let Err(fault) = &verdict {
        metrics::auth_failure(&fault.reason);
    }
    verdict
}

impl Principal {
    fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| own == scope)
    }

    /// Whether the key may act on things with these labels.
    ///
    /// # Errors
    /// When a label of its selector is missing or different.
    pub fn may_act_on(&self, labels: &BTreeMap<String, String>) -> Result<(), Fault> {
        let wanted = self.labels.iter().flat_map(|selector| selector.iter());
        for (name, value) in wanted {
            if labels.get(name) != Some(value) {
                return Err(Refusal::new(
                    &generic::PERMISSION_DENIED,
                    "the API key is limited to other sequencers",
                )
                .meta("label", name)
                .into());
            }
        }
        Ok(())
    }

    /// Whether the key is limited at all.
    pub fn is_limited(&self) -> bool {
        self.labels.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn a_key_is_taken_from_either_header_but_not_from_both() {
        let text = key::mint().text;
        let bearer = ("authorization", format!("Bearer {text}"));
        let own = ("x-api-key", text.clone());
        assert!(shown(&headers(&[])).expect("nothing wrong").is_none());
        assert!(shown(&headers(std::slice::from_ref(&bearer))).expect("good").is_some());
        assert!(shown(&headers(std::slice::from_ref(&own))).expect("good").is_some());
        for bad in [
            vec![bearer.clone(), own],
            vec![bearer.clone(), bearer],
            vec![("authorization", text)],
            vec![("authorization", "Basic eDp5".to_owned())],
        ] {
            assert_eq!(
                shown(&headers(&bad)).err().map(|fault| fault.reason),
                Some("CREDENTIAL_INVALID".to_owned()),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_wrong_secret_learns_nothing_about_the_key() {
        let minted = key::mint();
        let now = OffsetDateTime::now_utc();
        let row = Row {
            id: minted.id.clone(),
            secret_hash: key::mint().hash,
            scopes: vec![],
            label_selector: None,
            expires_at: now,
            revoked_at: Some(now),
        };
        let shown = key::parse(&minted.text).expect("our form");
        let reason = |row: &Row| judge(&shown, Some(row), now).err().map(|fault| fault.reason);
        assert_eq!(reason(&row).as_deref(), Some("CREDENTIAL_INVALID"));
        let right = Row { secret_hash: minted.hash, revoked_at: None, ..row };
        assert_eq!(reason(&right).as_deref(), Some("CREDENTIAL_EXPIRED"));
    }
}
