//! The table: what is bad, and what must be said about it.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::register_sequencer_request::{Owner, Signer};
use api::lifecycle::v1::{CreateOperationRequest, LockParameters, RegisterSequencerRequest};
use dev::clients::request_id;
use dev::stack::NETWORK;
use domain::amount::Metis;
use domain::pubkey::PublicKey;
use serde_json::{Value, json};
use testkit::contracts::{account, node_key};

use crate::stage::managed;

/// 2^256.
const TOO_LARGE: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
/// An address of P with one letter in the wrong case.
const WRONG_CHECKSUM: &str = "0x7591940125cC0344a65D60319d1ADcD463B2D4C3";

/// One piece of bad input.
#[derive(Debug, Clone)]
pub struct Case {
    /// In words.
    pub what: &'static str,
    /// The reason that both APIs give.
    pub reason: &'static str,
    /// The field as gRPC names it.
    pub field: &'static str,
    /// The same as JSON-RPC names it.
    pub param: &'static str,
    /// The bad value.
    value: String,
    /// Sequencer of an operation; empty for registrations.
    sequencer: String,
}

impl Case {
    fn new(
        what: &'static str,
        names: [&'static str; 2],
        reason: &'static str,
        value: impl Into<String>,
    ) -> Self {
        let [field, param] = names;
        Self { what, reason, field, param, value: value.into(), sequencer: String::new() }
    }

    /// An id that was used for something else.
    pub fn reused() -> Self {
        Self::new("a request id for another body", ["request_id", "requestId"], "IDEMPOTENCY_KEY_REUSED", "")
    }

    /// A registration with this value.
    pub fn registration(&self) -> RegisterSequencerRequest {
        let good = registration();
        match self.field {
            "owner_address" => {
                RegisterSequencerRequest { owner: Some(Owner::OwnerAddress(self.value.clone())), ..good }
            }
            "signer_pubkey" => {
                RegisterSequencerRequest { signer: Some(Signer::SignerPubkey(self.value.clone())), ..good }
            }
            "reward_recipient" => RegisterSequencerRequest { reward_recipient: self.value.clone(), ..good },
            _ => RegisterSequencerRequest { name: self.value.clone(), ..good },
        }
    }

    /// The same as params.
    pub fn registration_params(&self) -> Value {
        let mut params = registration_params_of("bad", &node_key("bad"));
        params[self.param] = json!(self.value);
        params
    }

    /// A lock with this value.
    pub fn operation(&self) -> CreateOperationRequest {
        let mut lock = LockParameters { amount_wei: Metis::whole(20_000).wei_string(), ..Default::default() };
        match self.field {
            "lock.reward_recipient" => lock.reward_recipient.clone_from(&self.value),
            _ => lock.amount_wei.clone_from(&self.value),
        }
        managed(&self.sequencer, Parameters::Lock(lock))
    }

    /// The same as params.
    pub fn operation_params(&self) -> Value {
        let mut operation = json!({ "kind": "lock", "amountWei": Metis::whole(20_000).wei_string() });
        operation[self.param.trim_start_matches("operation.")] = json!(self.value);
        json!({ "requestId": request_id(), "sequencer": self.sequencer, "operation": operation })
    }
}

/// A good registration.
pub fn registration() -> RegisterSequencerRequest {
    registration_of("bad", &node_key("bad"))
}

/// A good registration of this name and signer.
pub fn registration_of(name: &str, signer: &PublicKey) -> RegisterSequencerRequest {
    RegisterSequencerRequest {
        request_id: request_id(),
        network: NETWORK.to_owned(),
        name: name.to_owned(),
        owner: Some(Owner::OwnerAddress(account(name).to_string())),
        signer: Some(Signer::SignerPubkey(signer.listing())),
        ..Default::default()
    }
}

/// The same as params.
pub fn registration_params_of(name: &str, signer: &PublicKey) -> Value {
    json!({
        "requestId": request_id(),
        "network": NETWORK,
        "name": name,
        "ownerAddress": account(name).to_string(),
        "signerPubkey": signer.listing(),
    })
}

/// Bad registrations.
pub fn registrations() -> Vec<Case> {
    let key = node_key("bad");
    let compressed = hex::encode(key.compressed());
    let hex64 = hex::encode(key.bytes64());
    let owner = ["owner_address", "ownerAddress"];
    let signer = ["signer_pubkey", "signerPubkey"];
    let recipient = ["reward_recipient", "rewardRecipient"];
    vec![
        Case::new("an owner with a wrong checksum", owner, "ADDRESS_CHECKSUM", WRONG_CHECKSUM),
        Case::new("an owner that is too short", owner, "ADDRESS_MALFORMED", "0x7591"),
        Case::new("the zero address as owner", owner, "ADDRESS_ZERO", format!("0x{}", "0".repeat(40))),
        Case::new("a recipient with a wrong checksum", recipient, "ADDRESS_CHECKSUM", WRONG_CHECKSUM),
        Case::new("65 bytes that begin with 05", signer, "PUBKEY_PREFIX", format!("0x05{hex64}")),
        Case::new("65 bytes that begin with 00", signer, "PUBKEY_PREFIX", format!("0x00{hex64}")),
        Case::new(
            "64 bytes that are no point",
            signer,
            "PUBKEY_NOT_ON_CURVE",
            format!("0x{}", "07".repeat(64)),
        ),
        Case::new(
            "65 bytes that are no point",
            signer,
            "PUBKEY_NOT_ON_CURVE",
            format!("0x04{}", "07".repeat(64)),
        ),
        Case::new("63 bytes", signer, "PUBKEY_MALFORMED", format!("0x{}", &hex64[2..])),
        Case::new("33 bytes without a sign", signer, "PUBKEY_PREFIX", format!("0x05{}", &compressed[2..])),
        Case::new("a name with capitals", ["name", "name"], "NAME_MALFORMED", "Alpha"),
    ]
}

/// Bad locks of a sequencer that could be locked.
pub fn locks(sequencer: &str) -> Vec<Case> {
    let amount = ["lock.amount_wei", "operation.amountWei"];
    let recipient = ["lock.reward_recipient", "operation.rewardRecipient"];
    let cases = [
        Case::new("nothing", amount, "AMOUNT_ZERO", "0"),
        Case::new(
            "one METIS below the minimum",
            amount,
            "AMOUNT_BELOW_MINIMUM",
            Metis::whole(19_999).wei_string(),
        ),
        Case::new(
            "one METIS above the maximum",
            amount,
            "AMOUNT_ABOVE_MAXIMUM",
            Metis::whole(100_001).wei_string(),
        ),
        Case::new("a negative amount", amount, "AMOUNT_NEGATIVE", "-20000000000000000000000"),
        Case::new("a fraction of a wei", amount, "AMOUNT_FRACTIONAL_WEI", "20000000000000000000000.5"),
        Case::new("2^256", amount, "AMOUNT_TOO_LARGE", TOO_LARGE),
        Case::new("words", amount, "AMOUNT_MALFORMED", "twenty thousand"),
        Case::new("a recipient with a wrong checksum", recipient, "ADDRESS_CHECKSUM", WRONG_CHECKSUM),
    ];
    cases.into_iter().map(|case| Case { sequencer: sequencer.to_owned(), ..case }).collect()
}
