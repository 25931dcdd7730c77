//! Signed texts and typed data: as other tools understand them, within policy, and never a transaction.

use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, Signature, U256, address, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, sol};
use api::keys::v1::{
    AuditRecord, KeyRole, ListAuditRecordsRequest, SignMessageRequest, SignTypedDataRequest,
};
use keys::message::typed::Typed;
use keys::message::{NoText, Preimage};
use keys::policy::call::approveCall;
use proptest::prelude::*;

use tonic::Code;

use crate::stand::{INFO, METIS, Stand, address_of, metis, refusal, request, rule, set_rules};

sol! {
    struct Person { string name; address wallet; }
    struct Order {
        Person from;
        Person[] to;
        uint256 amount;
        int64 change;
        bytes32 salt;
        bytes extra;
        bool final_;
        uint8[2] pair;
    }
}

/// The example of EIP-712 itself.
const MAIL: &str = r#"{
  "types": {
    "EIP712Domain": [
      {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
      {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}
    ],
    "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
    "Mail": [
      {"name": "from", "type": "Person"}, {"name": "to", "type": "Person"}, {"name": "contents", "type": "string"}
    ]
  },
  "primaryType": "Mail",
  "domain": {
    "name": "Ether Mail", "version": "1", "chainId": 1,
    "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"
  },
  "message": {
    "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
    "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
    "contents": "Hello, Bob!"
  }
}"#;

#[test]
fn the_example_of_the_standard_has_its_hash() {
    let typed = Typed::parse(MAIL).unwrap();
    let expected = "0xbe609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2";
    assert_eq!(typed.preimage.signing_hash().to_string(), expected);
    assert_eq!(typed.data.to_string(), "Mail of 0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC on chain 1");
}

#[test]
fn a_text_is_prefixed_as_wallets_do_it() {
    let preimage = Preimage::of_text("Hello World").unwrap();
    assert_eq!(preimage.bytes(), b"\x19Ethereum Signed Message:\n11Hello World");
    assert_eq!(preimage.signing_hash(), alloy_primitives::eip191_hash_message("Hello World"));
}

#[test]
fn what_is_no_text_or_could_be_a_digest_is_refused() {
    let hash = keccak256("x").to_string();
    let table = [
        (String::new(), NoText::Empty),
        ("a".repeat(32), NoText::Digest),
        (hash.clone(), NoText::Digest),
        (hash[2..].to_uppercase(), NoText::Digest),
        ("a\u{1b}[2Kb".to_owned(), NoText::Control),
        ("a".repeat(32 * 1024 + 1), NoText::TooLong),
    ];
    for (text, why) in table {
        assert_eq!(Preimage::of_text(&text), Err(why), "{text:.80}");
    }
    Preimage::of_text(&"a".repeat(32 * 1024)).unwrap();
    Preimage::of_text("two lines\n\tare fine").unwrap();
}

#[test]
fn typed_data_that_does_not_fit_its_types_is_refused_at_the_place() {
    let table = [
        ("\"chainId\": 1,", "", "domain.chainId"),
        ("\"chainId\": 1,", "\"chainId\": 1.5,", "domain.chainId"),
        ("\"chainId\": 1,", "\"chainId\": -1,", "domain.chainId"),
        ("\"chainId\": 1,", "\"chainId\": \"18446744073709551616\",", "domain.chainId"),
        ("\"name\": \"Cow\", ", "", "message.from.name"),
        ("\"name\": \"Cow\", ", "\"name\": 7, ", "message.from.name"),
        ("\"name\": \"Cow\", ", "\"name\": \"Cow\", \"hidden\": 1, ", "message.from.hidden"),
        ("\"contents\": \"Hello, Bob!\"", "\"contents\": null", "message.contents"),
        (
            "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826",
            "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD827",
            "message.from.wallet",
        ),
        ("\"primaryType\": \"Mail\"", "\"primaryType\": \"EIP712Domain\"", "primaryType"),
        ("\"primaryType\": \"Mail\"", "\"primaryType\": \"Letter\"", "primaryType"),
        (
            "\"type\": \"Person\"}, {\"name\": \"to\"",
            "\"type\": \"Human\"}, {\"name\": \"to\"",
            "types.Mail.from",
        ),
        (
            "{\"name\": \"name\", \"type\": \"string\"}, {\"name\": \"version\", \"type\": \"string\"},",
            "{\"name\": \"version\", \"type\": \"string\"}, {\"name\": \"name\", \"type\": \"string\"},",
            "types.EIP712Domain.name",
        ),
        ("\"primaryType\"", "\"other\": 1, \"primaryType\"", "json"),
    ];
    for (from, to, path) in table {
        let changed = MAIL.replacen(from, to, 1);
        assert_ne!(changed, MAIL, "{from}");
        assert_eq!(Typed::parse(&changed).unwrap_err().path, path, "{to}");
    }
    Typed::parse(&"x".repeat(70_000)).unwrap_err();
}

#[test]
fn types_that_grow_without_end_are_refused_quickly() {
    let domain = r#""EIP712Domain":[{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}]"#;
    let twice: String = (0..40)
        .map(|n| {
            format!(r#","T{n}":[{{"name":"a","type":"T{}"}},{{"name":"b","type":"T{}"}}]"#, n + 1, n + 1)
        })
        .collect();
    let deep = (0..60).fold("{}".to_owned(), |inner, _| format!(r#"{{"a":{inner}}}"#));
    let document = |types: &str, message: &str| {
        format!(
            r#"{{"types":{{{domain}{types}}},"primaryType":"T0","domain":{{"chainId":1,"verifyingContract":"{METIS}"}},"message":{message}}}"#
        )
    };
    let growing = document(&format!("{twice},\"T40\":[]"), r#"{"a":{},"b":{}}"#);
    assert_eq!(Typed::parse(&growing).unwrap_err().path, "message.a.a");
    let cycle = document(r#","T0":[{"name":"a","type":"T0"}]"#, &deep);
    assert!(Typed::parse(&cycle).unwrap_err().problem.contains("deep"));
    let array = document(
        &format!(",\"T0\":[{{\"name\":\"a\",\"type\":\"uint8{}\"}}]", "[]".repeat(40)),
        &format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40)),
    );
    assert!(Typed::parse(&array).unwrap_err().problem.contains("deep"));
}

proptest! {
    #[test]
    fn no_message_is_a_transaction(text in "[ -~\n]{1,200}", bytes in prop::array::uniform32(any::<u8>())) {
        let typed = Typed::parse(&MAIL.replace("Hello, Bob!", &hex::encode(bytes))).unwrap();
        let text = Preimage::of_text(&text).ok();
        for preimage in text.iter().chain([&typed.preimage]) {
            let bytes = preimage.bytes();
            prop_assert_eq!(bytes[0], 0x19);
            // What is signed of a transaction is a list of RLP (0xc0 and more), or a type of EIP-2718 and a list.
            prop_assert!(TxEnvelope::decode_2718(&mut &bytes[..]).is_err());
            for kind in [0x01_u8, 0x02, 0x03, 0x04, 0xc0, 0xf8] {
                prop_assert_ne!(bytes[0], kind);
            }
        }
        if let Some(text) = text {
            prop_assert_ne!(text.bytes()[1], typed.preimage.bytes()[1], "and no text is typed data");
        }
    }

    #[test]
    fn typed_data_hashes_as_alloy_hashes_it(
        name in "[a-z\u{e4}-\u{fc} ]{0,20}", wallets in prop::collection::vec(prop::array::uniform20(any::<u8>()), 1..5),
        amount in prop::array::uniform32(any::<u8>()), change: i64, salt in prop::array::uniform32(any::<u8>()),
        extra in prop::collection::vec(any::<u8>(), 0..80), flag: bool, pair in prop::array::uniform2(any::<u8>()),
        chain_id in 1_u64..,
    ) {
        let contract = address!("00000000000000000000000000000000000000a3");
        let person = |wallet: &[u8; 20]| Person { name: name.clone(), wallet: Address::from(wallet) };
        let order = Order {
            from: person(&wallets[0]),
            to: wallets.iter().skip(1).map(person).collect(),
            amount: U256::from_be_bytes(amount),
            change,
            salt: salt.into(),
            extra: extra.clone().into(),
            final_: flag,
            pair,
        };
        let shown = |wallet: &[u8; 20]| serde_json::json!({"name": name, "wallet": Address::from(wallet).to_string()});
        let json = serde_json::json!({
            "types": {
                "EIP712Domain": [{"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}],
                "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
                "Order": [
                    {"name": "from", "type": "Person"}, {"name": "to", "type": "Person[]"},
                    {"name": "amount", "type": "uint256"}, {"name": "change", "type": "int64"},
                    {"name": "salt", "type": "bytes32"}, {"name": "extra", "type": "bytes"},
                    {"name": "final_", "type": "bool"}, {"name": "pair", "type": "uint8[2]"}
                ]
            },
            "primaryType": "Order",
            "domain": {"chainId": chain_id, "verifyingContract": contract.to_string()},
            "message": {
                "from": shown(&wallets[0]),
                "to": wallets.iter().skip(1).map(shown).collect::<Vec<_>>(),
                "amount": U256::from_be_bytes(amount).to_string(),
                "change": change,
                "salt": format!("0x{}", hex::encode(salt)),
                "extra": format!("0x{}", hex::encode(extra)),
                "final_": flag,
                "pair": pair
            }
        });
        let domain = Eip712Domain {
            chain_id: Some(U256::from(chain_id)), verifying_contract: Some(contract), ..Eip712Domain::default()
        };
        let typed = Typed::parse(&json.to_string()).unwrap();
        prop_assert_eq!(typed.preimage.signing_hash(), order.eip712_signing_hash(&domain));
    }
}

async fn last_record(stand: &Stand) -> AuditRecord {
    let request = ListAuditRecordsRequest { page_size: 500, page_token: String::new() };
    let page = stand.operator.clone().list_audit_records(request).await.unwrap().into_inner();
    page.records.last().cloned().unwrap()
}

const RULES: &str = "[[rule]]\nname = \"texts\"\nmessages = [\"Metis \"]\nkeys = { role = \"owner\" }\n\
    callers = [\"operator:alice\"]\n\
    [[rule]]\nname = \"mails\"\nkeys = { role = \"owner\" }\ncallers = [\"operator:alice\"]\n\
    typed_data = [{ chain_id = 1, verifying_contract = \"0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC\", primary_type = \"Mail\" }]\n";

#[tokio::test]
async fn messages_are_signed_within_policy_and_every_answer_has_its_record() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let owner = stand.create("alpha", KeyRole::Owner).await;
    let node = stand.create("alpha-node", KeyRole::Sequencer).await;
    let text = |key_id: &str, message: &str| SignMessageRequest {
        key_id: key_id.to_owned(),
        message: message.to_owned(),
        ..SignMessageRequest::default()
    };
    let typed = |json: &str| SignTypedDataRequest {
        key_id: owner.id.clone(),
        json: json.to_owned(),
        ..SignTypedDataRequest::default()
    };
    let mut alice = stand.operator.clone();
    let by_preset = refusal(&alice.sign_message(text(&owner.id, "Metis 17")).await.unwrap_err());
    assert_eq!(by_preset.reason, "POLICY_DENIED");
    set_rules(&stand, "", RULES).await;

    let answer = alice.sign_message(text(&owner.id, "Metis 17")).await.unwrap().into_inner();
    let signature: Signature = answer.signature.parse().unwrap();
    assert_eq!(signature.recover_address_from_msg("Metis 17").unwrap(), address_of(&owner));
    assert_eq!(signature.normalize_s(), None, "s is low");
    assert_eq!(answer.rule, "texts, policy 2");
    let record = last_record(&stand).await;
    assert_eq!(
        (record.sequence, record.verdict.as_str(), record.rule.as_str()),
        (answer.audit_sequence, "ALLOWED", "texts")
    );
    assert!(
        record.intent.contains("Metis 17") && answer.signing_hash.ends_with(&record.digest),
        "{record:?}"
    );
    let again = alice.sign_message(text(&owner.id, "Metis 17")).await.unwrap().into_inner();
    assert_eq!(again.signature, answer.signature);

    let mail = alice.sign_typed_data(typed(MAIL)).await.unwrap().into_inner();
    let signature: Signature = mail.signature.parse().unwrap();
    let hash = Typed::parse(MAIL).unwrap().preimage.signing_hash();
    assert_eq!(signature.recover_address_from_prehash(&hash).unwrap(), address_of(&owner));

    let other_chain = MAIL.replace("\"chainId\": 1", "\"chainId\": 2");
    let refused = [
        (alice.sign_message(text(&owner.id, "I owe you")).await.unwrap_err(), "POLICY_DENIED"),
        (alice.sign_message(text(&node.id, "Metis 17")).await.unwrap_err(), "POLICY_DENIED"),
        (
            stand.colleague.clone().sign_message(text(&owner.id, "Metis 17")).await.unwrap_err(),
            "POLICY_DENIED",
        ),
        (alice.sign_typed_data(typed(&other_chain)).await.unwrap_err(), "POLICY_DENIED"),
        (alice.sign_message(text("nobody", "Metis 17")).await.unwrap_err(), "KEY_NOT_FOUND"),
        (alice.sign_message(text(&owner.id, &"M".repeat(32))).await.unwrap_err(), "MESSAGE_INVALID"),
        (alice.sign_typed_data(typed("{}")).await.unwrap_err(), "TYPED_DATA_INVALID"),
    ];
    for (status, reason) in &refused {
        assert_eq!(refusal(status).reason, *reason, "{status:?}");
    }
    let record = last_record(&stand).await;
    let expected = answer.audit_sequence + 2 + u64::try_from(refused.len()).unwrap();
    assert_eq!(
        (record.sequence, record.rule.as_str()),
        (expected, "TYPED_DATA_INVALID"),
        "each has one record"
    );
    assert!(stand.gateway.clone().sign_message(text(&owner.id, "Metis 17")).await.is_err());
}

#[tokio::test]
async fn messages_are_refused_while_sealed_and_need_no_proven_guard() {
    let db = testkit::database().await;
    let stand = Stand::start(&db).await;
    let owner = stand.create("alpha", KeyRole::Owner).await;
    set_rules(&stand, "", &format!("{RULES}{}", rule("all", "\"approve\"", ""))).await;
    let text = SignMessageRequest {
        key_id: owner.id.clone(),
        message: "Metis 17".to_owned(),
        ..SignMessageRequest::default()
    };
    let mail = SignTypedDataRequest {
        key_id: owner.id.clone(),
        json: MAIL.to_owned(),
        ..SignTypedDataRequest::default()
    };
    let mut alice = stand.operator.clone();
    let signature = alice.sign_message(text.clone()).await.unwrap().into_inner().signature;
    let mail_signature = alice.sign_typed_data(mail.clone()).await.unwrap().into_inner().signature;

    // A message has no nonce, so nothing that was signed since and lost can contradict it.
    let sql = "INSERT INTO keys.restoration (published_sequence, published_hash, database_sequence)
               VALUES (99, sha256('lost'), 1)";
    sea_orm::ConnectionTrait::execute_unprepared(&db.admin().await, sql).await.unwrap();
    let call = approveCall { spender: INFO, value: metis(1) };
    let unproven = stand.sign(request(&owner, METIS, &call, 0)).await.unwrap_err();
    assert_eq!(unproven.reason, "GUARD_UNPROVEN");
    assert_eq!(alice.sign_message(text.clone()).await.unwrap().into_inner().signature, signature);
    assert_eq!(alice.sign_typed_data(mail.clone()).await.unwrap().into_inner().signature, mail_signature);
    let records = last_record(&stand).await.sequence;
    stand.stop().await;

    let sealed = Stand::with(&db, keys::Config::default()).await;
    let mut alice = sealed.operator.clone();
    let refused =
        [alice.sign_message(text).await.unwrap_err(), alice.sign_typed_data(mail).await.unwrap_err()];
    for status in refused {
        assert_eq!((status.code(), refusal(&status).reason.as_str()), (Code::Unavailable, "SEALED"));
    }
    assert_eq!(last_record(&sealed).await.sequence, records, "nothing was decided, so nothing is recorded");
}
