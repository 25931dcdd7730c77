//! Endpoints of notifications: who is told what, with which secret, and what became of it.

pub mod change;
pub mod create;
pub mod deliveries;
pub mod replay;
pub mod rotate;

use std::collections::HashMap;

use api::lifecycle::v1 as wire;
use api::{convert, reasons};
use runtime::errors::Refusal;
use uuid::Uuid;

use super::view::time;
use crate::db::{delivery, webhook};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::notify::seal::Sealer;
use crate::notify::{TYPES, endpoint};

/// Characters of a description.
const DESCRIPTION_MAX: usize = 200;

/// There is no such endpoint.
pub fn missing(id: Uuid) -> Error {
    Refusal::new(&reasons::WEBHOOK_NOT_FOUND, format!("there is no webhook {id}")).meta("webhook", id).into()
}

/// What seals secrets; refused where no key for it is configured.
fn sealer(fleet: &Fleet) -> Result<&Sealer, Error> {
    fleet.desk.sealer.as_ref().ok_or_else(|| {
        Refusal::new(&reasons::WEBHOOKS_CLOSED, "lifecycle.webhooks.secret_key is not configured").into()
    })
}

/// The URL as it is kept, if this service may go where it leads now.
async fn checked_url(fleet: &Fleet, text: &str) -> Result<String, Error> {
    convert::required("url", text)?;
    let refused = |why: String| convert::bad(&reasons::WEBHOOK_URL_FORBIDDEN, "url", why);
    let url = endpoint::check(text, fleet.config.webhooks.http).map_err(|why| refused(why.to_string()))?;
    fleet.desk.client.admits(&url).await.map_err(|why| refused(why.to_string()))?;
    Ok(url)
}

fn checked_types(types: &[String]) -> Result<Vec<String>, Error> {
    let mut kept: Vec<String> = types.to_vec();
    kept.sort_unstable();
    kept.dedup();
    match kept.iter().find(|kind| !TYPES.contains(&kind.as_str())) {
        Some(unknown) => {
            let why = format!("`{unknown}` is not one of {}", TYPES.join(", "));
            Err(convert::bad(&reasons::EVENT_TYPE_UNKNOWN, "types", why).into())
        }
        None => Ok(kept),
    }
}

fn checked_description(text: &str) -> Result<String, Error> {
    if text.chars().count() > DESCRIPTION_MAX {
        let why = format!("at most {DESCRIPTION_MAX} characters");
        return Err(convert::bad(&runtime::errors::generic::INVALID_ARGUMENT, "description", why).into());
    }
    Ok(text.to_owned())
}

fn checked_network(fleet: &Fleet, name: &str) -> Result<Option<String>, Error> {
    match name {
        "" => Ok(None),
        name => Ok(Some(fleet.network("network", name)?.name.clone())),
    }
}

/// A place in the feed that there is.
fn checked_cursor(field: &str, text: &str, last: i64) -> Result<i64, Error> {
    text.parse().ok().filter(|after| (0..=last).contains(after)).ok_or_else(|| {
        convert::bad(&reasons::CURSOR_MALFORMED, field, "this is no cursor of a notification").into()
    })
}

/// Endpoints as the wire shows them.
async fn shown(fleet: &Fleet, rows: Vec<webhook::Row>) -> Result<Vec<wire::Webhook>, Error> {
    let counts = delivery::counts(&fleet.db).await?;
    let counts: HashMap<(Uuid, String), i64> =
        counts.into_iter().map(|(id, state, count)| ((id, state), count)).collect();
    let count = |id: Uuid, state: &str| {
        counts.get(&(id, state.to_owned())).and_then(|count| u64::try_from(*count).ok()).unwrap_or_default()
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let (pending, dead) = (count(row.id, delivery::PENDING), count(row.id, delivery::DEAD));
            wire_of(row, pending, dead)
        })
        .collect())
}

async fn shown_one(fleet: &Fleet, id: Uuid) -> Result<wire::Webhook, Error> {
    let row = webhook::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    shown(fleet, vec![row]).await?.pop().ok_or(Error::Malformed { what: "a webhook" })
}

fn wire_of(row: webhook::Row, pending: u64, dead: u64) -> wire::Webhook {
    let webhook::Row {
        id,
        url,
        description,
        types,
        network,
        enabled,
        disabled_reason,
        position,
        resume_time,
        version,
        caller,
        create_time,
    } = row;
    wire::Webhook {
        id: id.to_string(),
        url,
        description,
        types,
        network: network.unwrap_or_default(),
        enabled,
        disabled_reason,
        cursor: position.to_string(),
        pending,
        dead,
        resume_time: resume_time.map(time),
        caller,
        create_time: Some(time(create_time)),
        etag: version.to_string(),
    }
}
