//! Bad input, over gRPC and over JSON-RPC: the same reason, the field's name in each language, and nothing changed.

mod input;

use anyhow::{Context, Result, ensure};
use api::lifecycle::v1::{
    CreateOperationRequest, ListOperationsRequest, ListSequencersRequest, Phase, RegisterSequencerRequest,
};
use dev::announce::{Announce, Audience};
use dev::clients::{Clients, request_id};
use dev::stack::{Access, NETWORK, Options, Services, World};
use domain::pubkey::PublicKey;
use http::uri::PathAndQuery;
use runtime::errors::refusal_of;
use runtime::tls::Tls;
use serde_json::{Value, json};
use testkit::contracts::node_key;
use tonic::Code;

use crate::jsonrpc::JsonRpc;
use crate::stage::{Candidate, ask, candidate, lock, locks_of, sent_by};
use input::{Case, locks, registrations};

/// Everything that bad input might have changed, as text.
async fn state(world: &World, clients: &Clients, candidate: &Candidate) -> Result<String> {
    let mut lifecycle = clients.lifecycle.clone();
    let list = ListSequencersRequest { network: NETWORK.to_owned(), ..Default::default() };
    let sequencers = lifecycle.list_sequencers(list).await?.into_inner().sequencers;
    let kept: Vec<_> =
        sequencers.iter().map(|one| (&one.id, &one.etag, one.phase(), &one.locked_wei)).collect();
    let list = ListOperationsRequest { network: NETWORK.to_owned(), ..Default::default() };
    let operations = lifecycle.list_operations(list).await?.into_inner().operations;
    let l1 = world.simulator().l1();
    let (owner, signer) = (candidate.accounts.owner, candidate.accounts.signer);
    let chain = (sent_by(l1, owner).await?, l1.metis_of(owner).await?, locks_of(l1, signer).await?);
    Ok(format!("{kept:?} {operations:?} {chain:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_typed_answer_and_changes_nothing() -> Result<()> {
    let announce = Announce::to(Audience::Nobody);
    let mut world = World::start(&Options::to_travel(), &announce).await?;
    let services = Services::start(&mut world, &announce).await?;
    let clients = Clients::of(world.access())?;
    let key = world.access().api_key.clone();
    let frontend = JsonRpc::to(&world.access().gateway, key.as_deref());
    let ours = candidate(&world, &clients, "alpha").await?;
    let before = state(&world, &clients, &ours).await?;

    for case in registrations() {
        over_grpc(&clients, &case, case.registration()).await?;
        over_json_rpc(&frontend, &case, "sequencer_register", case.registration_params()).await?;
    }
    for case in locks(&ours.id) {
        over_grpc(&clients, &case, case.operation()).await?;
        for method in ["sequencer_execute", "sequencer_prepare"] {
            over_json_rpc(&frontend, &case, method, case.operation_params()).await?;
        }
    }
    unknown_network(&clients, &frontend).await?;
    unknown_method(world.access(), &frontend).await?;
    assert_eq!(state(&world, &clients, &ours).await?, before, "nothing has changed");

    a_key_that_begins_with_04_is_valid(&clients, &frontend).await?;
    a_request_id_is_for_one_body(&clients, &frontend, &ours.id).await?;
    services.stop().await?;
    world.stop().await
}

/// A request of one of the two kinds.
enum Request {
    Register(RegisterSequencerRequest),
    Operate(CreateOperationRequest),
}

impl From<RegisterSequencerRequest> for Request {
    fn from(request: RegisterSequencerRequest) -> Self {
        Self::Register(request)
    }
}

impl From<CreateOperationRequest> for Request {
    fn from(request: CreateOperationRequest) -> Self {
        Self::Operate(request)
    }
}

async fn over_grpc(clients: &Clients, case: &Case, request: impl Into<Request>) -> Result<()> {
    let mut lifecycle = clients.lifecycle.clone();
    let answer = match request.into() {
        Request::Register(request) => lifecycle.register_sequencer(request).await.map(drop),
        Request::Operate(request) => lifecycle.create_operation(request).await.map(drop),
    };
    let status = answer.err().with_context(|| format!("gRPC takes {}", case.what))?;
    let refused = refusal_of(&status).with_context(|| format!("{}: {status:?}", case.what))?;
    let field = refused.fields.first().map(|(field, _)| field.as_str());
    assert_eq!(
        (refused.reason.as_str(), field),
        (case.reason, Some(case.field)),
        "{}: {status:?}",
        case.what
    );
    assert_eq!(refused.code, Code::InvalidArgument, "{}", case.what);
    Ok(())
}

async fn over_json_rpc(frontend: &JsonRpc, case: &Case, method: &str, params: Value) -> Result<()> {
    let answer = frontend.ask(method, params).await?;
    let fault = answer.err().with_context(|| format!("{method} takes {}", case.what))?;
    assert_eq!(
        (fault.reason(), fault.field()),
        (case.reason, case.param),
        "{method}, {}: {fault}",
        case.what
    );
    assert_eq!(fault.code(), -32602, "{method}, {}", case.what);
    Ok(())
}

async fn unknown_network(clients: &Clients, frontend: &JsonRpc) -> Result<()> {
    let nowhere = || "nowhere".to_owned();
    let list = ListSequencersRequest { network: nowhere(), ..Default::default() };
    let listed = clients.lifecycle.clone().list_sequencers(list).await.map(drop);
    let register = RegisterSequencerRequest { network: nowhere(), ..input::registration() };
    let registered = clients.lifecycle.clone().register_sequencer(register).await.map(drop);
    for answer in [listed, registered] {
        let status = answer.err().context("gRPC knows nowhere")?;
        let refused = refusal_of(&status).with_context(|| format!("{status:?}"))?;
        let field = refused.fields.first().map(|(field, _)| field.as_str());
        assert_eq!((refused.reason.as_str(), field), ("NETWORK_NOT_FOUND", Some("network")));
        assert_eq!(refused.code, Code::NotFound);
    }
    for method in ["sequencer_list", "chain_head", "rewards_summary", "node_list"] {
        let answer = frontend.ask(method, json!({ "network": "nowhere" })).await?;
        let fault = answer.err().with_context(|| format!("{method} knows nowhere"))?;
        let told = (fault.reason(), fault.field(), fault.code());
        assert_eq!(told, ("NETWORK_NOT_FOUND", "network", -32001), "{method}: {fault}");
    }
    Ok(())
}

async fn unknown_method(access: &Access, frontend: &JsonRpc) -> Result<()> {
    let tls = Tls::load(&access.tls)?;
    let peer = runtime::client::channel(&access.addresses.lifecycle, "lifecycle", tls);
    let mut grpc = tonic::client::Grpc::new(peer);
    let codec = tonic_prost::ProstCodec::<ListSequencersRequest, ListSequencersRequest>::default();
    let path = PathAndQuery::from_static("/sequencer.lifecycle.v1.LifecycleService/StealEverything");
    let answer = grpc.unary(tonic::Request::new(ListSequencersRequest::default()), path, codec).await;
    let status = answer.err().context("gRPC knows the method")?;
    let refused = refusal_of(&status).with_context(|| format!("{status:?}"))?;
    assert_eq!((refused.reason.as_str(), refused.code), ("METHOD_NOT_FOUND", Code::Unimplemented));
    let fault = frontend.ask("sequencer_stealEverything", json!({})).await?.err().context("it is known")?;
    assert_eq!((fault.reason(), fault.code()), ("METHOD_NOT_FOUND", -32601));
    Ok(())
}

/// A 64-byte public key whose first byte is 04, and which is not one of 65 bytes with its last byte lost.
fn key_beginning_with_04(salt: &str) -> PublicKey {
    let mut keys = (0_u32..).map(|number| node_key(&format!("{salt} {number}")));
    keys.find(|key| key.bytes64()[0] == 4).expect("one key in 256 begins so")
}

async fn a_key_that_begins_with_04_is_valid(clients: &Clients, frontend: &JsonRpc) -> Result<()> {
    let key = key_beginning_with_04("grpc");
    let text = key.listing();
    ensure!(text.trim_start_matches("0x").len() == 128, "64 bytes: {text}");
    let request = input::registration_of("four", &key);
    let answer = clients.lifecycle.clone().register_sequencer(request).await?.into_inner();
    let sequencer = answer.sequencer.context("the sequencer")?;
    let signer = sequencer.signer.clone().context("its signer")?.address;
    assert_eq!((signer, sequencer.phase()), (key.address().to_string(), Phase::Registered));

    let key = key_beginning_with_04("json");
    let params = input::registration_params_of("four-json", &key);
    let answer = frontend.call("sequencer_register", params).await?;
    assert_eq!(answer["sequencer"]["signer"]["address"], key.address().to_string());
    Ok(())
}

async fn a_request_id_is_for_one_body(clients: &Clients, frontend: &JsonRpc, sequencer: &str) -> Result<()> {
    let mut lifecycle = clients.lifecycle.clone();
    let first = input::registration_of("once", &node_key("once"));
    let stored = lifecycle.register_sequencer(first.clone()).await?.into_inner();
    let again = lifecycle.register_sequencer(first.clone()).await?.into_inner();
    assert_eq!(stored, again, "the same request has the same answer");
    let other = RegisterSequencerRequest { name: "twice".to_owned(), ..first };
    let reused = Case::reused();
    over_grpc(clients, &reused, other).await?;

    let id = request_id();
    let mut params = input::registration_params_of("once-json", &node_key("once json"));
    params["requestId"] = json!(id);
    let stored = frontend.call("sequencer_register", params.clone()).await?;
    assert_eq!(frontend.call("sequencer_register", params.clone()).await?, stored);
    params["name"] = json!("twice-json");
    over_json_rpc(frontend, &reused, "sequencer_register", params).await?;

    // Where METIS move: the same lock once, another one not at all.
    let request = lock(sequencer, 20_000);
    let asked = ask(clients, request.clone()).await?;
    assert_eq!(ask(clients, request.clone()).await?.id, asked.id);
    let other = CreateOperationRequest { request_id: request.request_id, ..lock(sequencer, 20_001) };
    over_grpc(clients, &reused, other).await?;
    let list = ListOperationsRequest { network: NETWORK.to_owned(), ..Default::default() };
    let operations = lifecycle.list_operations(list).await?.into_inner().operations;
    assert_eq!(operations.iter().map(|one| &one.id).collect::<Vec<_>>(), [&asked.id]);
    let list = ListSequencersRequest { network: NETWORK.to_owned(), ..Default::default() };
    let names: Vec<String> = lifecycle
        .list_sequencers(list)
        .await?
        .into_inner()
        .sequencers
        .into_iter()
        .map(|one| one.name)
        .collect();
    ensure!(!names.iter().any(|name| name.starts_with("twice")), "{names:?}");
    Ok(())
}
