//! The envelope of JSON-RPC 2.0, strictly: what reaches a method is a request and nothing else.
//!
//! Stands before jsonrpsee, which takes a request with an odd id for a notification and answers `null`.
//! Params are only checked to be structured; what is in them is read by `args`.

use std::collections::HashSet;
use std::fmt;

use api::reasons::{BATCH_EMPTY, BATCH_TOO_LARGE, JSON_MALFORMED, REQUEST_INVALID};
use runtime::errors::Refusal;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fault::Fault;
use crate::limits::{BATCH_ITEMS_MAX, ID_BYTES_MAX, ID_NUMBER_MAX, METHOD_BYTES_MAX};

/// An id as it was sent: text, whole number or null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(String);

/// One request; without an id it is a notification.
#[derive(Debug)]
pub struct Call {
    /// Id to answer with.
    pub id: Option<Id>,
    /// Method, not yet looked up.
    pub method: String,
    /// An object or an array.
    pub params: Option<Box<RawValue>>,
}

/// A request that is none.
#[derive(Debug)]
pub struct Rejected {
    /// Its id, if that much was right.
    pub id: Id,
    /// What is wrong.
    pub fault: Fault,
}

/// What came in one body.
#[derive(Debug)]
pub enum Message {
    /// A single request.
    One(Result<Call, Rejected>),
    /// A batch; one bad request does not spoil the others.
    Batch(Vec<Result<Call, Rejected>>),
}

impl Id {
    /// The id of an answer to something that had none.
    pub fn null() -> Self {
        Self("null".to_owned())
    }

    fn read(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        let allowed = match text.as_bytes().first()? {
            b'n' => true,
            b'"' => text.len() <= ID_BYTES_MAX && serde_json::from_str::<String>(text).is_ok(),
            _ => text
                .parse::<i64>()
                .is_ok_and(|number| number.abs() <= ID_NUMBER_MAX && number.to_string() == text),
        };
        allowed.then(|| Self(text.to_owned()))
    }
}

/// What answers a request: the JSON of the result, or of the error object.
pub type Body = Result<Box<RawValue>, Box<RawValue>>;

/// A response object.
pub fn response(id: &Id, body: &Body) -> String {
    let (member, value) = match body {
        Ok(result) => ("result", result),
        Err(error) => ("error", error),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{},"{member}":{}}}"#, id.0, value.get())
}

/// Reads a body.
///
/// # Errors
/// When there is nothing in it that could be answered one by one.
pub fn read(body: &[u8]) -> Result<Message, Fault> {
    let raw: &RawValue = serde_json::from_slice(body)
        .map_err(|_| Fault::from(Refusal::new(&JSON_MALFORMED, "the body is not JSON")))?;
    if !raw.get().starts_with('[') {
        return Ok(Message::One(request(raw)));
    }
    let items: Vec<&RawValue> = serde_json::from_str(raw.get())
        .map_err(|_| Fault::from(Refusal::new(&JSON_MALFORMED, "the body is not JSON")))?;
    if items.is_empty() {
        return Err(Refusal::new(&BATCH_EMPTY, "the batch is empty").into());
    }
    if items.len() > BATCH_ITEMS_MAX {
        return Err(Refusal::new(
            &BATCH_TOO_LARGE,
            format!("a batch has at most {BATCH_ITEMS_MAX} requests"),
        )
        .meta("itemsMax", BATCH_ITEMS_MAX)
        .meta("items", items.len())
        .into());
    }
    Ok(Message::Batch(items.into_iter().map(request).collect()))
}

fn request(raw: &RawValue) -> Result<Call, Rejected> {
    let anonymous = |why: &str| Rejected { id: Id::null(), fault: invalid(why) };
    if !raw.get().starts_with('{') {
        return Err(anonymous("a request is an object"));
    }
    let members: Members<'_> = serde_json::from_str(raw.get())
        .map_err(|_| anonymous("the members of the request cannot be read"))?;
    let Members { jsonrpc, id, method, params, repeated } = members;
    if repeated {
        return Err(anonymous("a member stands twice"));
    }
    let id = match id {
        None => None,
        Some(raw) => Some(Id::read(raw).ok_or_else(|| anonymous("an id is text, a whole number or null"))?),
    };
    let named = |why: &str| Rejected { id: id.clone().unwrap_or_else(Id::null), fault: invalid(why) };
    if text(jsonrpc).as_deref() != Some("2.0") {
        return Err(named("jsonrpc must be \"2.0\""));
    }
    let method = text(method)
        .filter(|name| !name.is_empty() && name.len() <= METHOD_BYTES_MAX)
        .ok_or_else(|| named("method must be the name of one"))?;
    if params.is_some_and(|raw| !raw.get().starts_with(['{', '['])) {
        return Err(named("params must be an object or an array"));
    }
    Ok(Call { id, method, params: params.map(ToOwned::to_owned) })
}

fn invalid(why: &str) -> Fault {
    Refusal::new(&REQUEST_INVALID, format!("not a JSON-RPC 2.0 request: {why}")).into()
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

/// The members of a request, unread.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    repeated: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfRequest)
    }
}

struct OfRequest;

impl<'de> Visitor<'de> for OfRequest {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
        let (mut members, mut seen) = (Members::default(), HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            let value: &'de RawValue = map.next_value()?;
            match name.as_str() {
                "jsonrpc" => members.jsonrpc = Some(value),
                "id" => members.id = Some(value),
                "method" => members.method = Some(value),
                "params" => members.params = Some(value),
                _ => {}
            }
            members.repeated |= !seen.insert(name);
        }
        Ok(members)
    }
}
