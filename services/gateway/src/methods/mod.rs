//! The methods, one file for each namespace: what each takes and gives, and the call behind it.
//!
//! A method is an `Endpoint`: from one declaration come the registration with jsonrpsee, the reading of its params
//! and its part of `rpc.discover`. Who may call it, its cost and its deadline stand in `api::methods`.

mod chain;
mod mutations;
mod node;
pub mod operation;
mod prepare;
mod rewards;
mod sequencer;
pub mod transitions;

use std::sync::Arc;

use futures::future::BoxFuture;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::RpcModule;
use runtime::errors::{Refusal, generic};
use serde_json::Value;

use crate::access::Principal;
use crate::args::{Args, Kind, Param, optional, required};
use crate::discover;
use crate::fault::Fault;
use crate::feed::Feeds;
use crate::neighbours::Neighbours;

/// What a method can work with.
#[derive(Debug, Clone)]
pub struct Context {
    /// The services behind us.
    pub neighbours: Neighbours,
    /// Changes as they happen.
    pub feeds: Arc<Feeds>,
}

/// Who calls, as a method sees it; travels in the extensions of the call.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Id of this request in errors and logs.
    pub request_id: Arc<str>,
    /// The holder of the key, if there is one.
    pub principal: Option<Principal>,
}

impl Caller {
    /// The holder of the key. Methods with a scope are never reached without one.
    pub fn principal(&self) -> Result<&Principal, Fault> {
        let missing = || Refusal::new(&generic::CREDENTIAL_MISSING, "the method needs an API key").into();
        self.principal.as_ref().ok_or_else(missing)
    }
}

/// What a method gives.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A message of ours, by full name, with more members.
    Message(&'static str, &'static [(&'static str, Schema)]),
    /// An object with these members.
    Members(&'static [(&'static str, Schema)]),
    /// One value.
    Value(Schema),
}

/// The schema of a member.
#[derive(Debug, Clone, Copy)]
pub enum Schema {
    /// An array of messages of ours.
    Messages(&'static str),
    /// An array of messages of ours, each with the block that it rests on.
    MessagesAsOf(&'static str),
    /// The block that the answer rests on.
    AsOf,
    /// Text.
    Text,
    /// A time.
    Time,
    /// A 0x quantity.
    Quantity,
    /// True or false.
    Flag,
    /// An object as another standard defines it.
    Object,
}

/// The work of a method.
pub type Handler = fn(Arc<Context>, Args, Caller) -> BoxFuture<'static, Result<Value, Fault>>;

/// One method.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// What it takes.
    pub params: &'static [Param],
    /// What it gives.
    pub result: Shape,
    /// Its work; subscriptions have none here.
    pub handler: Option<Handler>,
}

/// The network by name.
pub const NETWORK: Param =
    required("network", Kind::Text, "Configured name of the network, as chain_networks lists it.");
/// A sequencer of the register.
pub const SEQUENCER: Param = required("sequencer", Kind::Text, "Id of the sequencer in the register.");
/// Size of a page.
pub const PAGE_SIZE: Param =
    optional("pageSize", Kind::Count, "At most this many; 50 if left out, more than 500 is lowered.");
/// Where a page begins.
pub const PAGE_TOKEN: Param = optional("pageToken", Kind::Text, "nextPageToken of the page before.");
/// The member that every read has.
pub const AS_OF: (&str, Schema) = ("asOf", Schema::AsOf);

const DISCOVER: Endpoint = Endpoint {
    name: "rpc.discover",
    about: "This document: every method with what it takes and gives.",
    params: &[],
    result: Shape::Value(Schema::Object),
    handler: Some(|_, _, _| Box::pin(async { Ok(discover::document().clone()) })),
};

/// All methods.
pub fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    [&DISCOVER]
        .into_iter()
        .chain(chain::ENDPOINTS)
        .chain(sequencer::ENDPOINTS)
        .chain(prepare::ENDPOINTS)
        .chain(mutations::ENDPOINTS)
        .chain(transitions::ENDPOINTS)
        .chain(rewards::ENDPOINTS)
        .chain(node::ENDPOINTS)
}

/// The methods as jsonrpsee calls them.
///
/// # Errors
/// When two have one name.
pub fn module(context: Context) -> Result<RpcModule<Context>, RegisterMethodError> {
    let mut module = RpcModule::new(context);
    for endpoint in endpoints() {
        let Some(handler) = endpoint.handler else { continue };
        module.register_async_method(endpoint.name, move |params, context, extensions| async move {
            let caller = caller(&extensions);
            let request_id = Arc::clone(&caller.request_id);
            let answer = match Args::read(params.as_str(), endpoint.params) {
                Ok(args) => handler(context, args, caller).await,
                Err(fault) => Err(fault),
            };
            answer.map_err(|fault| fault.to_jsonrpsee(&request_id))
        })?;
    }
    transitions::register(&mut module)?;
    Ok(module)
}

/// The caller in the extensions, where `dispatch` put it.
fn caller(extensions: &jsonrpsee::Extensions) -> Caller {
    let nobody = || Caller { request_id: "".into(), principal: None };
    extensions.get::<Caller>().cloned().unwrap_or_else(nobody)
}
