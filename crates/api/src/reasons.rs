//! The one error registry: every reason a caller can meet, with its gRPC code, JSON-RPC code, HTTP
//! status, whether repeating helps, and what to do.
//!
//! `docs/errors.md` is made from it (`cargo xtask errors`), and `cargo xtask check` compares the two.
//! Generic reasons (deadline, limits, credentials) stand in `runtime::errors::generic`.

use runtime::errors::{Reason, generic};
use tonic::Code;

/// Bad input: the caller must change the request.
const fn invalid(name: &'static str, help: &'static str) -> Reason {
    Reason { name, grpc: Code::InvalidArgument, jsonrpc: -32602, http: 200, retryable: false, help }
}

/// Nothing there.
const fn missing(name: &'static str, help: &'static str) -> Reason {
    Reason { name, grpc: Code::NotFound, jsonrpc: -32001, http: 200, retryable: false, help }
}

/// The rules say no in the present state.
const fn refused(name: &'static str, help: &'static str) -> Reason {
    Reason { name, grpc: Code::FailedPrecondition, jsonrpc: -32003, http: 200, retryable: false, help }
}

/// Not allowed, whatever the state.
const fn denied(name: &'static str, help: &'static str) -> Reason {
    Reason { name, grpc: Code::PermissionDenied, jsonrpc: 4100, http: 403, retryable: false, help }
}

/// Somebody else was faster.
const fn conflict(name: &'static str, help: &'static str) -> Reason {
    Reason { name, grpc: Code::Aborted, jsonrpc: -32000, http: 200, retryable: false, help }
}

/// A dependency is away.
const fn unavailable(name: &'static str, help: &'static str) -> Reason {
    Reason { name, grpc: Code::Unavailable, jsonrpc: -32002, http: 200, retryable: true, help }
}

/// Turned down at the public edge, before any method was looked at.
const fn edge(name: &'static str, grpc: Code, jsonrpc: i32, http: u16, help: &'static str) -> Reason {
    Reason { name, grpc, jsonrpc, http, retryable: false, help }
}

/// Not JSON: the only envelope fault that is a fault of HTTP as well.
const fn unparsable(name: &'static str, help: &'static str) -> Reason {
    edge(name, Code::InvalidArgument, -32700, 400, help)
}

/// JSON, but not a JSON-RPC 2.0 request.
const fn envelope(name: &'static str, help: &'static str) -> Reason {
    edge(name, Code::InvalidArgument, -32600, 200, help)
}

/// A wrong HTTP method.
const fn wrong_method(name: &'static str, help: &'static str) -> Reason {
    edge(name, Code::Unimplemented, -32600, 405, help)
}

/// A wrong content type.
const fn wrong_media(name: &'static str, help: &'static str) -> Reason {
    edge(name, Code::InvalidArgument, -32600, 415, help)
}

/// A wrong path.
const fn wrong_path(name: &'static str, help: &'static str) -> Reason {
    edge(name, Code::NotFound, -32601, 404, help)
}

/// More than one request may bring.
const fn too_large(name: &'static str, help: &'static str) -> Reason {
    edge(name, Code::ResourceExhausted, -32005, 413, help)
}

/// More than a caller may hold.
const fn exhausted(name: &'static str, help: &'static str) -> Reason {
    edge(name, Code::ResourceExhausted, -32005, 200, help)
}

/// A method that this transport cannot carry.
const fn unsupported(name: &'static str, help: &'static str) -> Reason {
    edge(name, Code::Unimplemented, -32004, 200, help)
}

macro_rules! registry {
    ($($constant:ident = $kind:ident $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Reason = $kind(stringify!($constant), $help);)*
        /// Reasons of the control plane, without the generic ones.
        pub const OWN: &[&Reason] = &[$(&$constant),*];
    };
}

registry! {
    // input
    ADDRESS_MALFORMED = invalid "Give 0x and 40 hex digits.";
    ADDRESS_CHECKSUM = invalid "The mixed-case checksum is wrong (EIP-55): copy the address again from its source.";
    ADDRESS_ZERO = invalid "The zero address is not allowed here.";
    AMOUNT_MALFORMED = invalid "Give a decimal number of wei without sign, fraction or separators.";
    AMOUNT_NEGATIVE = invalid "Amounts are not negative.";
    AMOUNT_FRACTIONAL_WEI = invalid "An amount in wei has no fraction.";
    AMOUNT_TOO_LARGE = invalid "The amount does not fit in 256 bits.";
    AMOUNT_ZERO = invalid "The amount must be above zero.";
    AMOUNT_BELOW_MINIMUM = invalid "The amount is below the contract's minLock.";
    AMOUNT_ABOVE_MAXIMUM = invalid "The amount is above the contract's maxLock; the contract reverts, it does not cap.";
    PUBKEY_MALFORMED = invalid "Give hex of 64 bytes, of 65 bytes with prefix 04, or of 33 bytes with prefix 02 or 03.";
    PUBKEY_PREFIX = invalid "A 65-byte public key begins with 04.";
    PUBKEY_NOT_ON_CURVE = invalid "These coordinates are no point of secp256k1: copy the public key again.";
    NAME_MALFORMED = invalid "Names are 1 to 63 of a-z, 0-9 and -.";
    REQUEST_ID_MALFORMED = invalid "request_id is a UUID that the caller makes and keeps.";
    FIELD_REQUIRED = invalid "The field must be set.";
    ENUM_UNSPECIFIED = invalid "Choose one of the values; unspecified is not one.";
    HASH_MALFORMED = invalid "Give 0x and 64 hex digits.";
    ID_MALFORMED = invalid "The id is not of the form this service gives out.";
    TRANSACTION_MALFORMED = invalid "The signed transaction cannot be decoded; only EIP-1559 transactions are taken.";
    TRANSACTION_MISMATCH = invalid "The transaction is not the one that was prepared: sender, target, value and data must be the same.";
    ENDPOINT_MALFORMED = invalid "Give an http or https URL.";
    NODE_URL_FORBIDDEN = invalid "The URL leads where this service may not go; indexer.nodes.allow names the private networks of nodes.";
    CURSOR_MALFORMED = invalid "Begin again without cursor, or with one that this service gave out.";
    WEBHOOK_URL_FORBIDDEN = invalid "Give an https URL that leads to a public address; lifecycle.webhooks names other networks.";
    EVENT_TYPE_UNKNOWN = invalid "Notifications have the types that the message lists.";
    BLOCK_NOT_APPLIED = invalid "This block is above the last one that was applied: give that, an earlier one, or 0.";
    BLOCK_BELOW_START = invalid "Nothing is indexed below the chain's start block: give that, a later block, or 0.";
    LISTING_INVALID = invalid "The listing breaks a rule of the README or the upstream check.";
    // not found
    NETWORK_NOT_FOUND = missing "The network is not configured here; chain_networks lists those that are.";
    SEQUENCER_NOT_FOUND = missing "No such sequencer on this network.";
    OPERATION_NOT_FOUND = missing "No such operation.";
    WEBHOOK_NOT_FOUND = missing "No such webhook.";
    DELIVERY_NOT_FOUND = missing "No such delivery; old ones are removed.";
    KEY_NOT_FOUND = missing "No such key.";
    NODE_NOT_FOUND = missing "No such node.";
    EPOCH_NOT_FOUND = missing "No epoch contains this L2 block: it is below the first, or nobody is chosen for it yet.";
    REORG_NOT_FOUND = missing "No such reorganisation on this network; ListReorgs has those there are.";
    // register and keys
    NAME_TAKEN = refused "Another one has this name: choose a new one.";
    SIGNER_TAKEN = refused "This signer belongs to another sequencer of the register.";
    OWNER_TAKEN = refused "This owner has another live sequencer in the register.";
    KEY_DUPLICATE = refused "This key is here already, under the name in the metadata.";
    KEY_MATERIAL_INVALID = invalid "The key material does not parse, or is not a secp256k1 secret.";
    KEY_ADDRESS_MISMATCH = invalid "The secret derives another address than the one expected.";
    KEY_PASSPHRASE_WRONG = invalid "The passphrase does not open the keystore.";
    KEY_ROLE_WRONG = refused "This key has another role.";
    KEY_NOT_ENABLED = refused "The key is disabled or frozen.";
    RECIPIENT_MALFORMED = invalid "Give an age X25519 recipient (age1...).";
    IDENTITY_MALFORMED = invalid "Give an age identity (AGE-SECRET-KEY-1...).";
    ARCHIVE_INVALID = invalid "The archive cannot be decrypted with this identity, or is damaged; nothing was written.";
    KEY_NOT_EXPORTABLE = refused "The secret of this key cannot leave its backend: back it up there, and say so with ConfirmKeyBackup.";
    KEY_EXPORTABLE = refused "This key is backed up by BackupKeys and proven by VerifyBackup.";
    BACKEND_NOT_FOUND = missing "No backend of this name is configured in keys.backends.";
    BACKEND_UNAVAILABLE = unavailable "The backend of this key is away, slow or throttled; the same request will sign later.";
    BACKEND_REFUSED = refused "The backend of this key refuses or does not have it: an operator must look there.";
    BACKEND_REFERENCE_UNKNOWN = invalid "The backend has no key under this reference.";
    BACKEND_UNSUPPORTED = refused "This kind of backend cannot do that; the message says what can be done instead.";
    SEALED = unavailable "The key-encryption key is missing, wrong or cannot be had: give it; the service tries again by itself.";
    ARCHIVE_VERSION = invalid "The archive is of a version that this service does not read: use the one that made it, or a later one.";
    KEK_UNCHANGED = refused "The configured key-encryption key is the newest already: configure another, and the old one as keys.kek_previous.";
    KEK_UNUSABLE = refused "The new key-encryption key cannot be had; the message says why. Nothing was changed.";
    EXPORT_FORBIDDEN = denied "This export is a right of its own: keys.rights in the configuration names who has it.";
    NODE_KEY_MALFORMED = invalid "Give a node_key.json with a tendermint/PrivKeyEd25519 of 64 bytes, or none for a fresh one.";
    PASSPHRASE_SHORT = invalid "Choose a longer passphrase.";
    GUARD_UNPROVEN = unavailable "The database was restored from an older state, or the key from an archive: confirm a nonce floor for this account (`seqctl keys confirm-floor`).";
    NONCE_BELOW_FLOOR = refused "An operator confirmed that nonces below the floor in the metadata are used or given up: take a higher one.";
    GUARD_PROVEN = refused "Neither the database nor keys were restored: no nonce floor is needed.";
    // signing
    POLICY_DENIED = denied "No rule of the policy allows this; the metadata names the nearest rule and its bound.";
    POLICY_INVALID = invalid "The policy document does not parse or contradicts itself.";
    POLICY_CONFLICT = conflict "The policy was changed in between: read it again.";
    NONCE_CONFLICT = refused "Another payload was signed for this nonce; only a replacement with higher fees or a cancel may follow.";
    APPROVALS_MISSING = refused "Other identities must approve exactly this first: the metadata has the digest, how many are needed and how many there are.";
    APPROVAL_NOT_FOUND = missing "No such approval.";
    LABEL_FROZEN = refused "This label is frozen already.";
    LABEL_NOT_FROZEN = refused "This label is not frozen.";
    MESSAGE_INVALID = invalid "A message is text of 1 to 32768 bytes that could not be taken for a digest.";
    TYPED_DATA_INVALID = invalid "The typed data does not fit its own types (EIP-712), or says too little of its domain.";
    CALLDATA_UNKNOWN = denied "The calldata is not a known call in canonical encoding.";
    // operations: checks of P 1.10 and 1.11
    NOT_WHITELISTED = refused "The owner is not whitelisted: ask Metis governance.";
    POOL_PAUSED = refused "The pool is paused: wait until it is not.";
    SEQUENCER_NOT_ACTIVE = refused "The contract's status is not Active.";
    SEQUENCER_NOT_LOCKED = refused "Nothing is locked yet for this sequencer.";
    LABEL_GUARDED = refused "A rule of approvals or a fee budget matches this label: change lifecycle.approvals or lifecycle.fees first.";
    SEQUENCER_NOT_MANAGED = refused "This sequencer is only observed: register it first.";
    NOT_SEQUENCER_OWNER = refused "The sender is not the owner of this sequencer.";
    NOT_SEQUENCER_SIGNER = refused "The sender is not the signer of this sequencer.";
    OWNER_HAS_SEQUENCER = refused "This owner has a live sequencer already.";
    SIGNER_USED = refused "This signer was used before; signers are never reusable: make a new key.";
    LOCK_OUT_OF_RANGE = refused "The amount is outside minLock and maxLock.";
    LOCK_CAP_EXCEEDED = refused "The lock would exceed maxLock; the whole call reverts, nothing is capped.";
    NOTHING_TO_LOCK = refused "Neither METIS nor reward to add.";
    WITHDRAW_ABOVE_AVAILABLE = refused "The rest would be below minLock.";
    WITHDRAW_UNSUPPORTED = refused "This implementation of the pool has no partial withdrawal: exit, or wait for its upgrade.";
    WITHDRAW_THROTTLED = refused "One withdrawal, lock or signer update per batch: wait for the next batch.";
    SIGNER_UPDATE_THROTTLED = refused "The signer was updated, or METIS withdrawn, too few batches ago.";
    NO_REWARD_RECIPIENT = refused "The reward recipient is empty: set it first.";
    NO_REWARD = refused "There is no reward to claim; ETH sent with an empty claim is lost.";
    EXIT_RESTRICTED = refused "The contract's BFT rule allows no further exit now.";
    EXIT_PERIOD_NOT_OVER = refused "The exit delay is not over by chain time.";
    NOT_EXITING = refused "The sequencer is not exiting.";
    ALLOWANCE_TOO_LOW = refused "LockingInfo may not take that much METIS from the owner.";
    BALANCE_TOO_LOW = refused "The owner has too little METIS.";
    ETH_TOO_LOW = refused "The sender has too little ETH for gas and bridge fee.";
    FEE_TOO_LOW = refused "The bridge asks for a higher fee than was quoted: quote again.";
    NODE_NOT_READY = refused "The node is not in sync: a lock now may go unseen. Wait, or override with a reason.";
    BACKUP_UNPROVEN = refused "No restore drill has proven the backup of the key: run verify-backup.";
    OPERATION_IN_FLIGHT = refused "Another operation of this sequencer is not finished.";
    OPERATION_NOT_CANCELLABLE = refused "The operation is signed or final.";
    OPERATION_MODE_WRONG = refused "The operation is not in the mode this call is for.";
    OPERATION_EXPIRED = refused "The prepared operation has expired: prepare it again.";
    OPERATION_REJECTED = refused "Somebody who may decide said no; the reason has who and why.";
    TERMS_INVALID = invalid "Times must be ahead, the deadline after not_before, and a year is the most; the field says which.";
    APPROVAL_NOT_AWAITED = refused "It does not wait for approvals.";
    APPROVAL_DIGEST_MISMATCH = conflict "The digest is not that of what waits: read it again, then decide.";
    APPROVAL_NOT_ALLOWED = denied "This identity may not decide about it: it asked for it, or no rule names it.";
    FLEET_NOT_FOUND = missing "No such fleet operation.";
    FLEET_SPEC_INVALID = invalid "The specification of a fleet operation breaks a rule; the field says which.";
    FLEET_EMPTY = refused "Nothing would be done: no sequencer matches, or each is left out for the reason in the plan.";
    FLEET_PLAN_CHANGED = conflict "The plan is no longer the one that was read: plan again.";
    FLEET_STATE_WRONG = refused "The fleet operation is in a state in which this cannot be done.";
    FLEET_CANARY_FAILED = refused "A canary was not confirmed, so the rest was not begun.";
    FLEET_BUDGET = refused "The next member could exceed the fee budget: resume with a higher one.";
    SCHEDULE_NOT_FOUND = missing "No such schedule.";
    SCHEDULE_RULE_INVALID = invalid "The rule of a schedule means nothing; the field says why.";
    SCHEDULE_STATE_WRONG = refused "The schedule is in a state in which this cannot be done.";
    ACCOUNT_EXTERNAL = refused "The account is not a key of ours: use prepared mode.";
    NETWORK_HELD = refused "A reorganisation went below a final block: look at it with `seqctl chain reorgs`, then `seqctl chain acknowledge`; sending goes on by itself.";
    MPC_ONLY = refused "Only the MPC address may call this.";
    CALL_REVERTED = refused "The contract refuses the call; the metadata carries its words.";
    SIMULATION_UNAVAILABLE = unavailable "The simulation could not be run: no L1 endpoint answered.";
    FEE_ABOVE_CEILING = refused "Gas costs more than lifecycle.fees.max_fee_per_gas_wei allows: wait, or raise it.";
    FEE_BUDGET_SPENT = refused "The fee budget of 24 hours is spent or reserved: wait, or raise it in lifecycle.fees.";
    TRANSACTION_REFUSED = refused "Every endpoint refuses the transaction for what it is: its gas limit, its fees, its chain or its form. Look at the answers, then at limits and endpoints.";
    NO_EFFECT = refused "The transaction was mined without the effect that was asked for: what it was to do had been done, or was no longer there.";
    NOTHING_IN_FLIGHT = refused "No transaction of the operation waits for a block.";
    NONCE_FOREIGN = refused "Somebody else sent a transaction with this nonce from the account: find out who, then ask again.";
    TRANSACTION_NOT_SEEN = unavailable "No endpoint knows this transaction yet: try again, or submit the signed bytes.";
    WALLET_CANCELLED = refused "The wallet replaced the transaction by one that does nothing: prepare again if it is still wanted.";
    WALLET_REPLACED = refused "The wallet replaced the transaction by another call: look what it did, then prepare again.";
    OPERATION_FINISHED = refused "The operation is signed or final: there is nothing left to hand to a wallet.";
    BATCH_UNPROVEN = unavailable "The calls inside this transaction cannot be seen yet: wait until it is mined, and give an endpoint that traces.";
    NONCE_TAKEN = refused "Another operation uses this nonce of the account: sign again with the next one.";
    ETAG_MISMATCH = conflict "The resource changed since it was read: read it again.";
    // notifications
    WEBHOOKS_CLOSED = refused "Webhooks need lifecycle.webhooks.secret_key, under which their secrets are sealed.";
    WEBHOOK_LIMIT = refused "There are as many webhooks as may be: remove one.";
    CURSOR_TOO_OLD = refused "What happened before is no longer kept: replay from the cursor in the metadata, or from 0.";
    // dependencies
    L1_UNAVAILABLE = unavailable "No L1 endpoint answers: try again.";
    L2_UNAVAILABLE = unavailable "No L2 endpoint answers: try again.";
    LAYER_NOT_FOLLOWED = refused "The network is configured without its L2.";
    INDEX_BEHIND = unavailable "The index has not reached that block yet: try again.";
    // public edge
    JSON_MALFORMED = unparsable "The body is not JSON.";
    REQUEST_INVALID = envelope "Send a JSON-RPC 2.0 request: jsonrpc \"2.0\", a method, params as object or array, an id that is text or a whole number.";
    BATCH_EMPTY = envelope "A batch has at least one request.";
    BATCH_TOO_LARGE = too_large "Split the batch; the metadata has the limit.";
    HTTP_METHOD_NOT_ALLOWED = wrong_method "Send JSON-RPC with POST, or open a WebSocket with GET.";
    MEDIA_TYPE_UNSUPPORTED = wrong_media "Send the body as application/json.";
    PATH_NOT_FOUND = wrong_path "JSON-RPC is at / and /rpc.";
    HOST_NOT_ALLOWED = denied "The Host header names another host than this gateway serves.";
    ORIGIN_NOT_ALLOWED = denied "This origin is not configured to open WebSockets here.";
    TRANSPORT_UNSUPPORTED = unsupported "Subscribe over WebSocket.";
    SUBSCRIPTIONS_EXHAUSTED = exhausted "Unsubscribe from something first, or open another connection.";
    SUBSCRIBER_LAGGED = exhausted "The connection reads too slowly: subscribe again from the cursor last seen.";
    RESYNC_REQUIRED = conflict "The stream has a gap: read the present state, then subscribe again.";
}

/// The whole registry, generic reasons first.
pub fn all() -> impl Iterator<Item = &'static Reason> {
    generic::ALL.iter().copied().chain(OWN.iter().copied())
}

/// The reason with this name.
pub fn by_name(name: &str) -> Option<&'static Reason> {
    all().find(|reason| reason.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_upper_snake_and_at_most_63_long() {
        let names: Vec<_> = all().map(|reason| reason.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in names {
            assert!(
                name.len() <= 63
                    && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'),
                "{name}"
            );
        }
    }
}
