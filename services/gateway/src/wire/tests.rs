//! Each rule of showing once.

use api::indexer::v1::{
    ChainEvent, ListEventsResponse, Locked, Node, NodeEndpoints, ProcessProbe, chain_event,
};
use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::{LockParameters, Operation, OperationParameters, Phase, Sequencer};
use api::types::v1::{AsOf, BlockRef, Finality, OperationKind, UnsignedTransaction};
use prost_types::Timestamp;

use super::*;

#[test]
fn amounts_and_numbers_are_quantities_and_absent_things_are_null() {
    let sequencer = Sequencer {
        id: "a".to_owned(),
        locked_wei: "20000000000000000000000".to_owned(),
        phase: Phase::Active.into(),
        labels: [("team".to_owned(), String::new())].into(),
        ..Sequencer::default()
    };
    let shown = json(&sequencer);
    assert_eq!(shown["lockedWei"], "0x43c33c1937564800000");
    assert_eq!(shown["phase"], "ACTIVE");
    assert_eq!(shown["labels"]["team"], "");
    for absent in ["name", "withdrawableTime", "asOf", "owner"] {
        assert_eq!(shown[absent], Value::Null, "{absent}");
    }
}

#[test]
fn the_block_of_an_answer_is_flat() {
    let block = BlockRef {
        number: 16,
        hash: "0xab".to_owned(),
        time: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
    };
    let as_of = AsOf { network: "devnet".to_owned(), block: Some(block), finality: Finality::Safe.into() };
    let expected = json!({
        "network": "devnet", "block": "0x10", "hash": "0xab", "time": "2023-11-14T22:13:20Z", "finality": "SAFE",
    });
    assert_eq!(json(&as_of), expected);
}

#[test]
fn an_operation_names_its_kind_as_its_params_do() {
    let lock = LockParameters { amount_wei: "16".to_owned(), ..LockParameters::default() };
    let operation = Operation {
        kind: OperationKind::SetRecipient.into(),
        parameters: Some(OperationParameters { parameters: Some(Parameters::Lock(lock)) }),
        ..Operation::default()
    };
    let shown = json(&operation);
    assert_eq!(shown["kind"], "set_recipient");
    assert_eq!(shown["parameters"]["kind"], "lock");
    assert_eq!(shown["parameters"]["amountWei"], "0x10");
}

#[test]
fn an_event_has_its_name_and_its_arguments() {
    let locked = Locked { sequencer_id: "7".to_owned(), amount_wei: "1".to_owned(), ..Locked::default() };
    let event = ChainEvent { event: Some(chain_event::Event::Locked(locked)), ..ChainEvent::default() };
    let shown = json(&ListEventsResponse { events: vec![event], next_page_token: String::new() });
    assert_eq!(shown["events"][0]["event"], "Locked");
    assert_eq!(shown["events"][0]["args"]["amountWei"], "0x1");
    assert_eq!(shown["events"][0]["args"]["sequencerId"], "7");
    assert_eq!(shown["nextPageToken"], Value::Null);
}

#[test]
fn a_transaction_is_what_a_wallet_takes() {
    let unsigned = UnsignedTransaction {
        chain_id: 31_337,
        from: "0x01".to_owned(),
        to: "0x02".to_owned(),
        value_wei: "0".to_owned(),
        data: "0x".to_owned(),
        ..UnsignedTransaction::default()
    };
    let expected = json!({ "chainId": "0x7a69", "from": "0x01", "to": "0x02", "value": "0x0", "data": "0x" });
    assert_eq!(json(&unsigned), expected);
}

#[test]
fn where_a_node_is_stays_with_its_operator() {
    let probe = ProcessProbe {
        problem: "asking http://10.0.0.7:1317/node timed out".to_owned(),
        ..ProcessProbe::default()
    };
    let endpoints =
        NodeEndpoints { themis_rest: "http://10.0.0.7:1317".to_owned(), ..NodeEndpoints::default() };
    let node = Node { endpoints: Some(endpoints), processes: vec![probe], ..Node::default() };
    let shown = json(&api::indexer::v1::GetNodeResponse { node: Some(node) });
    assert!(!shown.to_string().contains("10.0.0.7"), "{shown}");
    assert_eq!(shown["node"]["processes"][0]["problem"], "asking (endpoint) timed out");
}
