//! Operations that a wallet signs: preflight, prepare, submit. The keys stay with their owners.

use std::sync::Arc;

use api::lifecycle::v1::submit_transaction_request::Transaction as Submitted;
use api::lifecycle::v1::{
    CreateOperationRequest, CreateOperationResponse, OperationMode, PreflightOperationRequest,
    SubmitTransactionRequest,
};
use api::reasons::TRANSACTION_MALFORMED;
use serde_json::{Value, json};

use super::operation::{self, OPERATION};
use super::{AS_OF, Caller, Context, Endpoint, SEQUENCER, Schema, Shape};
use crate::args::{Args, Kind, bad, optional, required};
use crate::fault::Fault;
use crate::methods::mutations::{admit_operation, admit_sequencer};
use crate::wire;

/// Version of `wallet_sendCalls` that our params are for (EIP-5792).
const SEND_CALLS_VERSION: &str = "2.0.0";

pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: "sequencer_preflight",
        about: "Every precondition of an operation with its verdict, ending in a simulation from the real sender.",
        params: &[SEQUENCER, OPERATION],
        result: Shape::Message("sequencer.lifecycle.v1.PreflightOperationResponse", &[]),
        handler: Some(|context, args, _| Box::pin(preflight(context, args))),
    },
    Endpoint {
        name: "sequencer_prepare",
        about: "An operation for a wallet to sign: its transactions, ready to send, and the id to report back with.",
        params: &[
            SEQUENCER,
            OPERATION,
            optional(
                "requestId",
                Kind::Text,
                "UUID made by the caller: asking again gives the same operation.",
            ),
        ],
        result: Shape::Members(&[
            ("operationId", Schema::Text),
            ("network", Schema::Text),
            ("chainId", Schema::Quantity),
            ("expiresAt", Schema::Time),
            ("kind", Schema::Text),
            ("words", Schema::Text),
            ("calls", Schema::Messages("sequencer.lifecycle.v1.Transaction")),
            ("sendTransaction", Schema::Messages("sequencer.types.v1.UnsignedTransaction")),
            ("sendCalls", Schema::Object),
            ("checks", Schema::Messages("sequencer.types.v1.Check")),
            AS_OF,
        ]),
        handler: Some(|context, args, caller| Box::pin(prepare(context, args, caller))),
    },
    Endpoint {
        name: "sequencer_submit",
        about: "What the wallet made of a prepared operation: signed bytes for us to send, or the hash of what it sent.",
        params: &[
            required("operationId", Kind::Text, "Id of the prepared operation."),
            optional("rawTransaction", Kind::Text, "Signed EIP-2718 bytes as 0x hex."),
            optional("transactionHash", Kind::Text, "Hash of the transaction that the wallet sent itself."),
        ],
        result: Shape::Message("sequencer.lifecycle.v1.SubmitTransactionResponse", &[]),
        handler: Some(|context, args, caller| Box::pin(submit(context, args, caller))),
    },
];

async fn preflight(context: Arc<Context>, args: Args) -> Result<Value, Fault> {
    let request = PreflightOperationRequest {
        sequencer: args.text("sequencer"),
        parameters: Some(operation::of(&args)?),
    };
    let mut lifecycle = context.neighbours.lifecycle.clone();
    Ok(wire::json(lifecycle.preflight_operation(request).await.map_err(operation::fault)?.get_ref()))
}

async fn prepare(context: Arc<Context>, args: Args, caller: Caller) -> Result<Value, Fault> {
    let parameters = operation::of(&args)?;
    let sequencer = context.neighbours.sequencer(&args.text("sequencer")).await?;
    admit_sequencer(&caller, &sequencer)?;
    let request = CreateOperationRequest {
        // Without one of the caller's, each call is an operation of its own.
        request_id: if args.has("requestId") {
            args.text("requestId")
        } else {
            uuid::Uuid::now_v7().to_string()
        },
        sequencer: args.text("sequencer"),
        parameters: Some(parameters),
        mode: OperationMode::Prepared.into(),
        validate_only: false,
        terms: None,
    };
    let mut lifecycle = context.neighbours.lifecycle.clone();
    let answer = lifecycle.create_operation(request).await.map_err(operation::fault)?.into_inner();
    let as_of = sequencer.as_of.as_ref().map(wire::json).unwrap_or_default();
    Ok(prepared(&answer, as_of))
}

/// The operation in the forms that wallets take.
fn prepared(answer: &CreateOperationResponse, as_of: Value) -> Value {
    let mut shown = wire::json(answer);
    let steps = answer.operation.iter().flat_map(|operation| &operation.transactions);
    let transactions: Vec<Value> = steps.filter_map(|step| step.unsigned.as_ref()).map(wire::json).collect();
    let first = transactions.first().cloned().unwrap_or_default();
    let part = |transaction: &Value| json!({ "to": transaction["to"], "value": transaction["value"], "data": transaction["data"] });
    let calls: Vec<Value> = transactions.iter().map(part).collect();
    let operation = shown["operation"].take();
    json!({
        "operationId": operation["id"],
        "network": operation["network"],
        "chainId": first["chainId"],
        "expiresAt": operation["expireTime"],
        "kind": operation["kind"],
        "words": operation["words"],
        "calls": operation["transactions"],
        "sendTransaction": transactions,
        "sendCalls": {
            "version": SEND_CALLS_VERSION,
            "chainId": first["chainId"],
            "from": first["from"],
            // In order is enough: the second call fails without the first, and harms nothing.
            "atomicRequired": false,
            "calls": calls,
        },
        "checks": shown["checks"].take(),
        "asOf": as_of,
    })
}

async fn submit(context: Arc<Context>, args: Args, caller: Caller) -> Result<Value, Fault> {
    let transaction = match args.only_one_of(&["rawTransaction", "transactionHash"])? {
        "rawTransaction" => {
            let text = args.text("rawTransaction");
            let bytes = text.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
            let malformed = || bad(&TRANSACTION_MALFORMED, "rawTransaction", "must be 0x and hex digits");
            Submitted::RawTransaction(bytes.ok_or_else(malformed)?.into())
        }
        _ => Submitted::TransactionHash(args.text("transactionHash")),
    };
    let operation_id = args.text("operationId");
    admit_operation(&context, &caller, &operation_id, "operationId").await?;
    let request = SubmitTransactionRequest { operation_id, transaction: Some(transaction) };
    Ok(wire::json(context.neighbours.lifecycle.clone().submit_transaction(request).await?.get_ref()))
}
