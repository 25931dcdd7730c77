//! The param `operation`: `{kind, …}`, one of the nine, into what lifecycle takes. Values pass through unread, so
//! that lifecycle's refusals are the same as over gRPC; only their fields get the names used here.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::rotate_signer_parameters::NewSigner;
use api::lifecycle::v1::{
    ClaimParameters, IncreaseParameters, LockParameters, OperationParameters, RotateSignerParameters,
    SetOwnerParameters, SetRecipientParameters, UnlockParameters, WithdrawFinalParameters,
    WithdrawParameters,
};

use crate::args::{Args, Kind, Param, optional, required};
use crate::fault::Fault;

/// The param.
pub const OPERATION: Param =
    required("operation", Kind::Variant(KINDS), "What to do: kind, and the members of that kind.");

const L2_GAS: Param = optional("l2Gas", Kind::Count, "Gas on L2; the bridge's minimum if left out.");

/// Kinds with their members.
const KINDS: &[(&str, &[Param])] = &[
    (
        "lock",
        &[
            required("amountWei", Kind::Wei, "METIS to lock."),
            optional("rewardRecipient", Kind::Text, "L2 recipient; the registered one if left out."),
            optional(
                "overrideNodeReason",
                Kind::Text,
                "Lock although the node is not ready, for this reason.",
            ),
        ],
    ),
    (
        "increase",
        &[
            optional("amountWei", Kind::Wei, "METIS of the owner to add; may be left out with rewards."),
            optional("withRewards", Kind::Flag, "Convert the unclaimed reward too."),
        ],
    ),
    ("withdraw", &[required("amountWei", Kind::Wei, "METIS to take out.")]),
    ("claim", &[L2_GAS]),
    ("set_recipient", &[required("recipient", Kind::Text, "L2 address.")]),
    ("set_owner", &[required("newOwner", Kind::Text, "L1 address.")]),
    (
        "rotate_signer",
        &[
            optional("keyId", Kind::Text, "Key of ours."),
            optional("pubkey", Kind::Text, "Public key of somebody else."),
        ],
    ),
    ("unlock", &[L2_GAS]),
    ("withdraw_final", &[L2_GAS]),
];

/// The operation of a call that declared `OPERATION`.
pub fn of(args: &Args) -> Result<OperationParameters, Fault> {
    let operation = args.object("operation").unwrap_or_default();
    let text = |name: &str| operation.text(name);
    let l2_gas = operation.count("l2Gas");
    let parameters = match operation.text("kind").as_str() {
        "lock" => Some(Parameters::Lock(LockParameters {
            amount_wei: operation.wei("amountWei"),
            reward_recipient: text("rewardRecipient"),
            override_node_reason: text("overrideNodeReason"),
        })),
        "increase" => Some(Parameters::Increase(IncreaseParameters {
            amount_wei: operation.wei("amountWei"),
            with_rewards: operation.flag("withRewards"),
        })),
        "withdraw" => {
            Some(Parameters::Withdraw(WithdrawParameters { amount_wei: operation.wei("amountWei") }))
        }
        "claim" => Some(Parameters::Claim(ClaimParameters { l2_gas })),
        "set_recipient" => {
            Some(Parameters::SetRecipient(SetRecipientParameters { recipient: text("recipient") }))
        }
        "set_owner" => Some(Parameters::SetOwner(SetOwnerParameters { new_owner: text("newOwner") })),
        "rotate_signer" => {
            let new_signer = match operation.only_one_of(&["keyId", "pubkey"]).map_err(named)? {
                "keyId" => NewSigner::KeyId(text("keyId")),
                _ => NewSigner::Pubkey(text("pubkey")),
            };
            Some(Parameters::RotateSigner(RotateSignerParameters { new_signer: Some(new_signer) }))
        }
        "unlock" => Some(Parameters::Unlock(UnlockParameters { l2_gas })),
        "withdraw_final" => Some(Parameters::WithdrawFinal(WithdrawFinalParameters { l2_gas })),
        _ => None,
    };
    Ok(OperationParameters { parameters })
}

fn named(fault: Fault) -> Fault {
    fault.rename_fields(|field| format!("operation.{field}"))
}

/// A fault of lifecycle with the names of our params: `lock.amountWei` is `operation.amountWei` here.
pub fn fault(status: tonic::Status) -> Fault {
    Fault::from(status).rename_fields(|field| {
        let field = field.strip_prefix("parameters.").unwrap_or(field);
        let member = KINDS.iter().find_map(|(kind, _)| {
            // The fault has camelCase already.
            field.strip_prefix(crate::fault::camel_case(kind).as_str())?.strip_prefix('.')
        });
        match (member, field) {
            (Some(member), _) => format!("operation.{member}"),
            (None, "parameters") => "operation".to_owned(),
            (None, other) => other.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use runtime::errors::Refusal;

    use super::*;

    const DECLARED: &[Param] = &[OPERATION];

    fn read(json: &str) -> Result<OperationParameters, Fault> {
        of(&Args::read(Some(json), DECLARED)?)
    }

    #[test]
    fn every_kind_becomes_the_message_of_its_name() {
        for (kind, members) in KINDS {
            let value = |param: &Param| match param.kind {
                Kind::Count => "7".to_owned(),
                Kind::Flag => "true".to_owned(),
                _ => "\"0x10\"".to_owned(),
            };
            let given = members.iter().filter(|param| param.name != "pubkey");
            let members: Vec<String> =
                given.map(|param| format!(",\"{}\":{}", param.name, value(param))).collect();
            let json = format!(r#"{{"operation":{{"kind":"{kind}"{}}}}}"#, members.concat());
            let parameters = read(&json).expect(&json);
            let shown = crate::wire::json(&api::lifecycle::v1::Operation {
                parameters: Some(parameters),
                ..Default::default()
            });
            assert_eq!(shown["parameters"]["kind"], *kind);
            assert!(!shown.to_string().contains("\"amountWei\":null"), "{shown}");
        }
    }

    #[test]
    fn a_wrong_param_is_named_by_its_path() {
        let cases = [
            (r#"{}"#, "operation"),
            (r#"{"operation":{}}"#, "operation.kind"),
            (r#"{"operation":{"kind":"lok"}}"#, "operation.kind"),
            (r#"{"operation":{"kind":"lock"}}"#, "operation.amountWei"),
            (r#"{"operation":{"kind":"lock","amountWei":1}}"#, "operation.amountWei"),
            (r#"{"operation":{"kind":"lock","amountWei":"0xzz"}}"#, "operation.amountWei"),
            (r#"{"operation":{"kind":"lock","amountWei":"1","gas":1}}"#, "operation.gas"),
            (r#"{"operation":{"kind":"rotate_signer"}}"#, "operation.keyId"),
            (r#"{"operation":{"kind":"claim"},"x":1}"#, "x"),
        ];
        for (json, field) in cases {
            let fault = read(json).expect_err(json);
            assert_eq!((fault.code, fault.fields[0].0.as_str()), (-32602, field), "{json}");
        }
    }

    #[test]
    fn fields_of_lifecycle_get_our_names() {
        for (theirs, ours) in [
            ("lock.amount_wei", "operation.amountWei"),
            ("set_recipient.recipient", "operation.recipient"),
            ("withdraw_final.l2_gas", "operation.l2Gas"),
            ("parameters", "operation"),
            ("request_id", "requestId"),
        ] {
            let refusal = Refusal::new(&api::reasons::AMOUNT_ZERO, "no").field(theirs, "no");
            assert_eq!(fault(refusal.status()).fields[0].0, ours);
        }
    }
}
