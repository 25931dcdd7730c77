//! The method table: every gRPC and JSON-RPC method with who may call it, what it costs, how long it
//! may take, whether it may be retried and whether it is audited.
//!
//! Authorisation, limits, metrics, OpenRPC and the matrix tests come from here; a method without a
//! row is refused by `runtime::server` and fails a test.

use runtime::methods::{Access, Audit, Deadline, Method, Table};

/// Reads of public facts: our own services and operators.
const READERS: &[&str] = &["gateway", "lifecycle", "rewards", "operator:*"];
/// Public side of keys.
const KEY_READERS: &[&str] = &["gateway", "lifecycle", "operator:*"];
/// People and tooling with a certificate of their own.
const OPERATORS: &[&str] = &["operator:*"];
/// Who may ask for operations: the gateway for its API keys, rewards for claims, operators.
const CALLERS: &[&str] = &["gateway", "rewards", "operator:*"];
/// Who may ask for a signature.
const SIGNERS: &[&str] = &["lifecycle"];
/// Who may ask for a signed message; which of them for what, the policy says.
const MESSAGE_SIGNERS: &[&str] = &["lifecycle", "operator:*"];
/// Who may read the ledger.
const LEDGER_READERS: &[&str] = &["gateway", "operator:*"];

const fn read(name: &'static str, identities: &'static [&'static str]) -> Method {
    Method {
        name,
        access: Access::Identities(identities),
        cost: 1,
        deadline: Deadline::Read,
        idempotent: true,
        audit: Audit::None,
    }
}

const fn write(name: &'static str, identities: &'static [&'static str]) -> Method {
    Method {
        name,
        access: Access::Identities(identities),
        cost: 10,
        deadline: Deadline::Write,
        idempotent: false,
        audit: Audit::Mutation,
    }
}

/// A mutation that carries a `request_id` or is harmless twice, so that clients may repeat it.
const fn repeatable(name: &'static str, identities: &'static [&'static str]) -> Method {
    Method { idempotent: true, ..write(name, identities) }
}

const fn stream(name: &'static str, identities: &'static [&'static str]) -> Method {
    Method {
        name,
        access: Access::Identities(identities),
        cost: 5,
        deadline: Deadline::Stream,
        idempotent: true,
        audit: Audit::None,
    }
}

/// The same for whole archives and whole fleets.
const fn bulk(row: Method) -> Method {
    Method { deadline: Deadline::Bulk, ..row }
}

const fn public(name: &'static str, cost: u32) -> Method {
    Method {
        name,
        access: Access::Public,
        cost,
        deadline: Deadline::Read,
        idempotent: true,
        audit: Audit::None,
    }
}

const fn scoped(name: &'static str, scope: &'static str) -> Method {
    Method {
        name,
        access: Access::Scope(scope),
        cost: 10,
        deadline: Deadline::Write,
        idempotent: true,
        audit: Audit::Mutation,
    }
}

/// gRPC methods of all services, by full path.
pub const GRPC: &[Method] = &[
    // keys
    repeatable("/sequencer.keys.v1.KeysService/CreateKey", OPERATORS),
    repeatable("/sequencer.keys.v1.KeysService/ImportKey", OPERATORS),
    read("/sequencer.keys.v1.KeysService/GetKey", KEY_READERS),
    read("/sequencer.keys.v1.KeysService/ListKeys", KEY_READERS),
    repeatable("/sequencer.keys.v1.KeysService/SetKeyState", OPERATORS),
    bulk(repeatable("/sequencer.keys.v1.KeysService/BackupKeys", OPERATORS)),
    bulk(repeatable("/sequencer.keys.v1.KeysService/VerifyBackup", OPERATORS)),
    bulk(repeatable("/sequencer.keys.v1.KeysService/RestoreKeys", OPERATORS)),
    write("/sequencer.keys.v1.KeysService/ExportNodeKey", OPERATORS),
    repeatable("/sequencer.keys.v1.KeysService/SignTransaction", SIGNERS),
    read("/sequencer.keys.v1.KeysService/GetPolicy", OPERATORS),
    write("/sequencer.keys.v1.KeysService/SetPolicy", OPERATORS),
    read("/sequencer.keys.v1.KeysService/ListAuditRecords", OPERATORS),
    repeatable("/sequencer.keys.v1.KeysService/AttachKey", OPERATORS),
    repeatable("/sequencer.keys.v1.KeysService/ConfirmKeyBackup", OPERATORS),
    Method { cost: 100, ..repeatable("/sequencer.keys.v1.KeysService/SignTransactions", SIGNERS) },
    // keys: policy, approvals, messages
    repeatable("/sequencer.keys.v1.KeysService/ApproveIntent", OPERATORS),
    repeatable("/sequencer.keys.v1.KeysService/RevokeApproval", OPERATORS),
    read("/sequencer.keys.v1.KeysService/ListApprovals", OPERATORS),
    write("/sequencer.keys.v1.KeysService/FreezeLabel", OPERATORS),
    write("/sequencer.keys.v1.KeysService/ThawLabel", OPERATORS),
    read("/sequencer.keys.v1.KeysService/ListFrozenLabels", OPERATORS),
    Method {
        cost: 20,
        deadline: Deadline::Write,
        ..read("/sequencer.keys.v1.KeysService/TestPolicy", OPERATORS)
    },
    read("/sequencer.keys.v1.KeysService/ExplainPolicy", OPERATORS),
    Method {
        cost: 20,
        deadline: Deadline::Write,
        ..read("/sequencer.keys.v1.KeysService/GetBlastRadius", OPERATORS)
    },
    repeatable("/sequencer.keys.v1.KeysService/SignMessage", MESSAGE_SIGNERS),
    repeatable("/sequencer.keys.v1.KeysService/SignTypedData", MESSAGE_SIGNERS),
    repeatable("/sequencer.keys.v1.KeysService/RotateKek", OPERATORS),
    read("/sequencer.keys.v1.KeysService/ListDrills", OPERATORS),
    write("/sequencer.keys.v1.KeysService/ExportKeystore", OPERATORS),
    read("/sequencer.keys.v1.KeysService/GetAuditHead", OPERATORS),
    repeatable("/sequencer.keys.v1.KeysService/ConfirmNonceFloor", OPERATORS),
    // indexer
    read("/sequencer.indexer.v1.IndexerService/ListNetworks", READERS),
    read("/sequencer.indexer.v1.IndexerService/GetChainParameters", READERS),
    read("/sequencer.indexer.v1.IndexerService/GetSequencerRecord", READERS),
    read("/sequencer.indexer.v1.IndexerService/ListSequencerRecords", READERS),
    read("/sequencer.indexer.v1.IndexerService/ReadContractRecords", READERS),
    read("/sequencer.indexer.v1.IndexerService/GetWhitelistEntry", READERS),
    read("/sequencer.indexer.v1.IndexerService/ListEvents", READERS),
    stream("/sequencer.indexer.v1.IndexerService/StreamEvents", READERS),
    read("/sequencer.indexer.v1.IndexerService/ListEpochs", READERS),
    read("/sequencer.indexer.v1.IndexerService/GetProducer", READERS),
    read("/sequencer.indexer.v1.IndexerService/ListMissedTurns", READERS),
    Method { cost: 20, ..stream("/sequencer.indexer.v1.IndexerService/ExportState", OPERATORS) },
    read("/sequencer.indexer.v1.IndexerService/GetReconciliation", READERS),
    Method {
        cost: 20,
        deadline: Deadline::Write,
        ..read("/sequencer.indexer.v1.IndexerService/Reconcile", OPERATORS)
    },
    repeatable("/sequencer.indexer.v1.IndexerService/Resync", OPERATORS),
    read("/sequencer.indexer.v1.IndexerService/GetDigest", READERS),
    read("/sequencer.indexer.v1.IndexerService/ListReorgs", READERS),
    repeatable("/sequencer.indexer.v1.IndexerService/AcknowledgeReorg", OPERATORS),
    repeatable("/sequencer.indexer.v1.NodesService/RegisterNode", OPERATORS),
    repeatable("/sequencer.indexer.v1.NodesService/DeleteNode", OPERATORS),
    read("/sequencer.indexer.v1.NodesService/GetNode", READERS),
    read("/sequencer.indexer.v1.NodesService/ListNodes", READERS),
    // lifecycle
    repeatable("/sequencer.lifecycle.v1.LifecycleService/RegisterSequencer", CALLERS),
    write("/sequencer.lifecycle.v1.LifecycleService/UpdateSequencer", OPERATORS),
    read("/sequencer.lifecycle.v1.LifecycleService/GetSequencer", CALLERS),
    read("/sequencer.lifecycle.v1.LifecycleService/ListSequencers", CALLERS),
    read("/sequencer.lifecycle.v1.LifecycleService/ListTransitions", CALLERS),
    stream("/sequencer.lifecycle.v1.LifecycleService/WatchTransitions", CALLERS),
    read("/sequencer.lifecycle.v1.LifecycleService/GetSequencerAt", CALLERS),
    Method {
        deadline: Deadline::Write,
        cost: 5,
        ..read("/sequencer.lifecycle.v1.LifecycleService/PreflightOperation", CALLERS)
    },
    repeatable("/sequencer.lifecycle.v1.LifecycleService/CreateOperation", CALLERS),
    repeatable("/sequencer.lifecycle.v1.LifecycleService/SubmitTransaction", CALLERS),
    repeatable("/sequencer.lifecycle.v1.LifecycleService/CancelOperation", CALLERS),
    read("/sequencer.lifecycle.v1.LifecycleService/GetOperation", CALLERS),
    read("/sequencer.lifecycle.v1.LifecycleService/ListOperations", CALLERS),
    stream("/sequencer.lifecycle.v1.LifecycleService/WatchOperation", CALLERS),
    read("/sequencer.lifecycle.v1.LifecycleService/BuildListing", CALLERS),
    // lifecycle: prepared mode and listing
    read("/sequencer.lifecycle.v1.LifecycleService/ExportPreparedOperation", CALLERS),
    Method { cost: 5, ..read("/sequencer.lifecycle.v1.LifecycleService/ValidateListing", CALLERS) },
    // lifecycle: webhooks
    repeatable("/sequencer.lifecycle.v1.WebhooksService/CreateWebhook", OPERATORS),
    read("/sequencer.lifecycle.v1.WebhooksService/ListWebhooks", OPERATORS),
    write("/sequencer.lifecycle.v1.WebhooksService/UpdateWebhook", OPERATORS),
    write("/sequencer.lifecycle.v1.WebhooksService/DeleteWebhook", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.WebhooksService/RotateWebhookSecret", OPERATORS),
    write("/sequencer.lifecycle.v1.WebhooksService/TestWebhook", OPERATORS),
    read("/sequencer.lifecycle.v1.WebhooksService/ListDeliveries", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.WebhooksService/RetryDelivery", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.WebhooksService/ReplayNotifications", OPERATORS),
    // lifecycle: approvals, fleets, schedules
    repeatable("/sequencer.lifecycle.v1.LifecycleService/ApproveOperation", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.LifecycleService/RejectOperation", OPERATORS),
    Method { cost: 50, ..bulk(read("/sequencer.lifecycle.v1.FleetService/PlanFleet", OPERATORS)) },
    Method { cost: 50, ..bulk(repeatable("/sequencer.lifecycle.v1.FleetService/CreateFleet", OPERATORS)) },
    read("/sequencer.lifecycle.v1.FleetService/GetFleet", OPERATORS),
    read("/sequencer.lifecycle.v1.FleetService/ListFleets", OPERATORS),
    read("/sequencer.lifecycle.v1.FleetService/ListFleetMembers", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.FleetService/PauseFleet", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.FleetService/ResumeFleet", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.FleetService/CancelFleet", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.FleetService/ApproveFleet", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.FleetService/RejectFleet", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.ScheduleService/CreateSchedule", OPERATORS),
    read("/sequencer.lifecycle.v1.ScheduleService/GetSchedule", OPERATORS),
    read("/sequencer.lifecycle.v1.ScheduleService/ListSchedules", OPERATORS),
    write("/sequencer.lifecycle.v1.ScheduleService/UpdateSchedule", OPERATORS),
    repeatable("/sequencer.lifecycle.v1.ScheduleService/DeleteSchedule", OPERATORS),
    read("/sequencer.lifecycle.v1.ScheduleService/ListScheduleRuns", OPERATORS),
    // lifecycle: lanes
    repeatable("/sequencer.lifecycle.v1.LifecycleService/SpeedUpOperation", CALLERS),
    // rewards
    read("/sequencer.rewards.v1.RewardsService/GetBalance", LEDGER_READERS),
    read("/sequencer.rewards.v1.RewardsService/ListBalances", LEDGER_READERS),
    read("/sequencer.rewards.v1.RewardsService/ListEntries", LEDGER_READERS),
    read("/sequencer.rewards.v1.RewardsService/GetRate", LEDGER_READERS),
    read("/sequencer.rewards.v1.RewardsService/GetNetworkSummary", LEDGER_READERS),
    read("/sequencer.rewards.v1.RewardsService/GetReconciliation", LEDGER_READERS),
];

/// JSON-RPC methods of the gateway. Subscriptions stand under the name that opens them.
pub const JSONRPC: &[Method] = &[
    public("rpc.discover", 5),
    public("chain_networks", 1),
    public("chain_parameters", 1),
    public("chain_head", 1),
    public("chain_events", 2),
    public("chain_epochs", 2),
    public("sequencer_list", 2),
    public("sequencer_get", 1),
    public("sequencer_history", 2),
    public("sequencer_operation", 1),
    public("sequencer_operations", 2),
    public("sequencer_listing", 2),
    Method { deadline: Deadline::Write, ..public("sequencer_preflight", 10) },
    public("sequencer_subscribeTransitions", 5),
    public("sequencer_unsubscribeTransitions", 1),
    scoped("sequencer_prepare", "prepare"),
    scoped("sequencer_submit", "prepare"),
    scoped("sequencer_register", "operate"),
    scoped("sequencer_execute", "operate"),
    scoped("sequencer_cancel", "operate"),
    public("rewards_balance", 1),
    public("rewards_balances", 2),
    public("rewards_entries", 2),
    public("rewards_rate", 2),
    public("rewards_summary", 1),
    public("node_list", 2),
    public("node_get", 1),
];

/// The gRPC rows as a table.
pub fn grpc() -> Table {
    Table::new(GRPC)
}

/// The JSON-RPC rows as a table.
pub fn jsonrpc() -> Table {
    Table::new(JSONRPC)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;

    #[test]
    fn every_rpc_has_exactly_one_row_and_every_row_an_rpc() {
        let set = prost_types::FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap();
        let declared: BTreeSet<String> = set
            .file
            .iter()
            .filter(|file| file.package().starts_with("sequencer."))
            .flat_map(|file| {
                file.service.iter().flat_map(move |service| {
                    service
                        .method
                        .iter()
                        .map(move |rpc| format!("/{}.{}/{}", file.package(), service.name(), rpc.name()))
                })
            })
            .collect();
        let rows: BTreeSet<String> = GRPC.iter().map(|row| row.name.to_owned()).collect();
        assert_eq!(rows.len(), GRPC.len(), "a row stands twice");
        assert_eq!(declared, rows);
    }

    #[test]
    fn streaming_rpcs_have_no_deadline_and_others_have_one() {
        let set = prost_types::FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap();
        let table = grpc();
        for file in set.file.iter().filter(|file| file.package().starts_with("sequencer.")) {
            for service in &file.service {
                for rpc in &service.method {
                    let name = format!("/{}.{}/{}", file.package(), service.name(), rpc.name());
                    let row = table.get(&name).unwrap();
                    assert_eq!(rpc.server_streaming(), matches!(row.deadline, Deadline::Stream), "{name}");
                }
            }
        }
    }
}
