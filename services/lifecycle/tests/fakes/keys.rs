//! A keys service without policy: it signs what lifecycle asks, guards nonces as the real one does, and counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256, keccak256};
use api::keys::v1::keys_service_server::KeysService;
use api::keys::v1::*;
use api::reasons;
use k256::SecretKey;
use prost_types::Timestamp;
use runtime::errors::Refusal;
use testkit::contracts::secret;
use tonic::{Request, Response, Status};

use super::wallet;

/// What the fake knows; tests look into it and change it.
#[derive(Debug, Clone, Default)]
pub struct FakeKeys {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    keys: BTreeMap<String, (SecretKey, KeyRole)>,
    /// By chain, sender and nonce: digest of the call.
    guard: BTreeMap<(u64, String, u64), B256>,
    signatures: u64,
    refuses: bool,
    /// Keys whose backup no drill has proven.
    unproven: Vec<String>,
    /// Nobody is told of keys.
    away: bool,
}

impl FakeKeys {
    /// Adds a key; its id is its name.
    pub fn add(&self, name: &str, role: KeyRole) {
        self.state.lock().unwrap().keys.insert(name.to_owned(), (secret(name), role));
    }

    /// Distinct (account, nonce) pairs that were signed.
    pub fn nonces_signed(&self) -> usize {
        self.state.lock().unwrap().guard.len()
    }

    /// Something else was signed for this nonce.
    pub fn reserve(&self, chain_id: u64, account: Address, nonce: u64) {
        self.state.lock().unwrap().guard.insert((chain_id, account.to_string(), nonce), B256::ZERO);
    }

    /// From now on the policy denies everything, or nothing.
    pub fn refuse(&self, refuses: bool) {
        self.state.lock().unwrap().refuses = refuses;
    }

    /// From now on a drill has proven the backup of this key, or not.
    pub fn backup_proven(&self, name: &str, yes: bool) {
        let mut state = self.state.lock().unwrap();
        state.unproven.retain(|other| other != name);
        if !yes {
            state.unproven.push(name.to_owned());
        }
    }

    /// From now on nobody is told of keys, or everybody again.
    pub fn away(&self, yes: bool) {
        self.state.lock().unwrap().away = yes;
    }

    fn key(&self, name: &str) -> Option<Key> {
        let state = self.state.lock().unwrap();
        let (secret, role) = state.keys.get(name)?;
        let public: domain::pubkey::PublicKey = secret.public_key().into();
        Some(Key {
            id: name.to_owned(),
            name: name.to_owned(),
            role: (*role).into(),
            state: KeyState::Enabled.into(),
            backend: "fake".to_owned(),
            public_key: Some(PublicKeyForms {
                address: public.address().to_string(),
                uncompressed: public.listing(),
                ..Default::default()
            }),
            backup_proven_time: (!state.unproven.iter().any(|other| other == name)).then(Timestamp::default),
            ..Default::default()
        })
    }
}

fn unknown() -> Status {
    Refusal::new(&reasons::KEY_NOT_FOUND, "there is no such key").status()
}

#[tonic::async_trait]
impl KeysService for FakeKeys {
    async fn get_key(&self, request: Request<GetKeyRequest>) -> Result<Response<GetKeyResponse>, Status> {
        let Some(get_key_request::Selector::Id(id)) = request.into_inner().selector else {
            return Err(unknown());
        };
        let key = self.key(&id).ok_or_else(unknown)?;
        Ok(Response::new(GetKeyResponse { key: Some(key) }))
    }

    async fn list_keys(&self, _: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        if self.state.lock().unwrap().away {
            return Err(Status::unavailable("the test says so"));
        }
        let names: Vec<String> = self.state.lock().unwrap().keys.keys().cloned().collect();
        let keys = names.iter().filter_map(|name| self.key(name)).collect();
        Ok(Response::new(ListKeysResponse { keys, next_page_token: String::new() }))
    }

    async fn sign_transaction(
        &self,
        request: Request<SignTransactionRequest>,
    ) -> Result<Response<SignTransactionResponse>, Status> {
        let SignTransactionRequest { key_id, transaction, intent, .. } = request.into_inner();
        let unsigned = transaction.expect("lifecycle sends a transaction");
        let mut state = self.state.lock().unwrap();
        if state.refuses {
            return Err(Refusal::new(&reasons::POLICY_DENIED, "the test denies everything").status());
        }
        let nonce = unsigned.nonce.expect("lifecycle sends a nonce");
        let call = format!("{} {} {}", unsigned.to, unsigned.value_wei, unsigned.data);
        let replaces = intent == i32::from(SigningIntent::Replace);
        let digest = keccak256(if replaces {
            call.clone()
        } else {
            format!("{call} {} {}", unsigned.max_fee_per_gas_wei, unsigned.gas_limit)
        });
        let place = (unsigned.chain_id, unsigned.from.clone(), nonce);
        let cancels = intent == i32::from(SigningIntent::Cancel);
        let before = *state.guard.entry(place).or_insert(digest);
        if !replaces && !cancels && before != digest {
            return Err(Refusal::new(&reasons::NONCE_CONFLICT, "another payload was signed").status());
        }
        state.signatures += 1;
        let secret = state.keys.get(&key_id).map(|(secret, _)| secret.clone()).ok_or_else(unknown)?;
        let raw = wallet::sign(&secret, &unsigned, nonce);
        let audit_sequence = state.signatures;
        Ok(Response::new(SignTransactionResponse {
            transaction_hash: keccak256(&raw).to_string(),
            raw_transaction: raw.to_vec().into(),
            audit_sequence,
            ..Default::default()
        }))
    }

    async fn create_key(&self, _: Request<CreateKeyRequest>) -> Result<Response<CreateKeyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn import_key(&self, _: Request<ImportKeyRequest>) -> Result<Response<ImportKeyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn set_key_state(
        &self,
        _: Request<SetKeyStateRequest>,
    ) -> Result<Response<SetKeyStateResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn backup_keys(
        &self,
        _: Request<BackupKeysRequest>,
    ) -> Result<Response<BackupKeysResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn verify_backup(
        &self,
        _: Request<VerifyBackupRequest>,
    ) -> Result<Response<VerifyBackupResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn restore_keys(
        &self,
        _: Request<RestoreKeysRequest>,
    ) -> Result<Response<RestoreKeysResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn export_node_key(
        &self,
        _: Request<ExportNodeKeyRequest>,
    ) -> Result<Response<ExportNodeKeyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_policy(&self, _: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn set_policy(&self, _: Request<SetPolicyRequest>) -> Result<Response<SetPolicyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_audit_records(
        &self,
        _: Request<ListAuditRecordsRequest>,
    ) -> Result<Response<ListAuditRecordsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn sign_transactions(
        &self,
        _: Request<SignTransactionsRequest>,
    ) -> Result<Response<SignTransactionsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn attach_key(&self, _: Request<AttachKeyRequest>) -> Result<Response<AttachKeyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn confirm_key_backup(
        &self,
        _: Request<ConfirmKeyBackupRequest>,
    ) -> Result<Response<ConfirmKeyBackupResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn approve_intent(
        &self,
        _: Request<ApproveIntentRequest>,
    ) -> Result<Response<ApproveIntentResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn revoke_approval(
        &self,
        _: Request<RevokeApprovalRequest>,
    ) -> Result<Response<RevokeApprovalResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_approvals(
        &self,
        _: Request<ListApprovalsRequest>,
    ) -> Result<Response<ListApprovalsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn freeze_label(
        &self,
        _: Request<FreezeLabelRequest>,
    ) -> Result<Response<FreezeLabelResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn thaw_label(&self, _: Request<ThawLabelRequest>) -> Result<Response<ThawLabelResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_frozen_labels(
        &self,
        _: Request<ListFrozenLabelsRequest>,
    ) -> Result<Response<ListFrozenLabelsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn test_policy(
        &self,
        _: Request<TestPolicyRequest>,
    ) -> Result<Response<TestPolicyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn explain_policy(
        &self,
        _: Request<ExplainPolicyRequest>,
    ) -> Result<Response<ExplainPolicyResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_blast_radius(
        &self,
        _: Request<GetBlastRadiusRequest>,
    ) -> Result<Response<GetBlastRadiusResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn sign_message(
        &self,
        _: Request<SignMessageRequest>,
    ) -> Result<Response<SignMessageResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn sign_typed_data(
        &self,
        _: Request<SignTypedDataRequest>,
    ) -> Result<Response<SignTypedDataResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_audit_head(
        &self,
        _: Request<GetAuditHeadRequest>,
    ) -> Result<Response<GetAuditHeadResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn confirm_nonce_floor(
        &self,
        _: Request<ConfirmNonceFloorRequest>,
    ) -> Result<Response<ConfirmNonceFloorResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn rotate_kek(&self, _: Request<RotateKekRequest>) -> Result<Response<RotateKekResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_drills(
        &self,
        _: Request<ListDrillsRequest>,
    ) -> Result<Response<ListDrillsResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn export_keystore(
        &self,
        _: Request<ExportKeystoreRequest>,
    ) -> Result<Response<ExportKeystoreResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
}
