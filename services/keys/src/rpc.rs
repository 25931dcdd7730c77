//! The generated trait: who calls, is the installation open, then the operation.

use std::sync::Arc;

use api::keys::v1::keys_service_server::KeysService;
use api::keys::v1::{
    ApproveIntentRequest, ApproveIntentResponse, ExplainPolicyRequest, ExplainPolicyResponse,
    FreezeLabelRequest, FreezeLabelResponse, GetBlastRadiusRequest, GetBlastRadiusResponse,
    ListApprovalsRequest, ListApprovalsResponse, ListFrozenLabelsRequest, ListFrozenLabelsResponse,
    RevokeApprovalRequest, RevokeApprovalResponse, SignMessageRequest, SignMessageResponse,
    SignTypedDataRequest, SignTypedDataResponse, TestPolicyRequest, TestPolicyResponse, ThawLabelRequest,
    ThawLabelResponse,
};
use api::keys::v1::{AttachKeyRequest, AttachKeyResponse, ConfirmKeyBackupRequest, ConfirmKeyBackupResponse};
use api::keys::v1::{
    BackupKeysRequest, BackupKeysResponse, ConfirmNonceFloorRequest, ConfirmNonceFloorResponse,
    CreateKeyRequest, CreateKeyResponse, ExportNodeKeyRequest, ExportNodeKeyResponse, GetAuditHeadRequest,
    GetAuditHeadResponse, GetKeyRequest, GetKeyResponse, GetPolicyRequest, GetPolicyResponse,
    ImportKeyRequest, ImportKeyResponse, ListAuditRecordsRequest, ListAuditRecordsResponse, ListKeysRequest,
    ListKeysResponse, RestoreKeysRequest, RestoreKeysResponse, SetKeyStateRequest, SetKeyStateResponse,
    SetPolicyRequest, SetPolicyResponse, SignTransactionRequest, SignTransactionResponse,
    SignTransactionsRequest, SignTransactionsResponse, VerifyBackupRequest, VerifyBackupResponse,
};
use api::keys::v1::{
    ExportKeystoreRequest, ExportKeystoreResponse, ListDrillsRequest, ListDrillsResponse, RotateKekRequest,
    RotateKekResponse,
};
use runtime::server::identity;
use sea_orm::DatabaseConnection;
use tonic::{Request, Response, Status};

use crate::gate::Gate;
use crate::keyring::{Keyring, sealed};
use crate::operations as verb;

/// The service as gRPC sees it.
pub struct Rpc {
    db: DatabaseConnection,
    gate: Arc<Gate>,
}

impl Rpc {
    /// The methods that need no key answer whatever the gate says.
    pub fn new(db: DatabaseConnection, gate: Arc<Gate>) -> Self {
        Self { db, gate }
    }

    fn open(&self) -> Result<&Arc<Keyring>, Status> {
        self.gate.keyring().map_err(|reason| sealed(&reason).into())
    }
}

/// Methods of operators and signers: the caller goes into the record.
macro_rules! methods {
    ($($name:ident($request:ty) -> $response:ty;)*) => {
        #[tonic::async_trait]
        impl KeysService for Rpc {
            $(async fn $name(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                let (caller, keyring) = (identity(&request), self.open()?);
                Ok(Response::new(verb::$name::run(keyring, caller.as_str(), request.into_inner()).await?))
            })*

            async fn get_key(&self, request: Request<GetKeyRequest>) -> Result<Response<GetKeyResponse>, Status> {
                Ok(Response::new(verb::get_key::run(self.open()?, request.into_inner()).await?))
            }

            async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
                Ok(Response::new(verb::list_keys::run(self.open()?, request.into_inner()).await?))
            }

            async fn list_drills(
                &self,
                request: Request<ListDrillsRequest>,
            ) -> Result<Response<ListDrillsResponse>, Status> {
                Ok(Response::new(verb::list_drills::run(self.open()?, request.into_inner()).await?))
            }

            async fn get_policy(&self, _: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
                Ok(Response::new(verb::get_policy::run(&self.db).await?))
            }

            async fn get_audit_head(
                &self,
                request: Request<GetAuditHeadRequest>,
            ) -> Result<Response<GetAuditHeadResponse>, Status> {
                Ok(Response::new(verb::get_audit_head::run(&self.db, request.into_inner()).await?))
            }

            async fn list_audit_records(
                &self,
                request: Request<ListAuditRecordsRequest>,
            ) -> Result<Response<ListAuditRecordsResponse>, Status> {
                Ok(Response::new(verb::list_audit_records::run(&self.db, request.into_inner()).await?))
            }
        }
    };
}

methods! {
    create_key(CreateKeyRequest) -> CreateKeyResponse;
    import_key(ImportKeyRequest) -> ImportKeyResponse;
    set_key_state(SetKeyStateRequest) -> SetKeyStateResponse;
    backup_keys(BackupKeysRequest) -> BackupKeysResponse;
    verify_backup(VerifyBackupRequest) -> VerifyBackupResponse;
    restore_keys(RestoreKeysRequest) -> RestoreKeysResponse;
    export_node_key(ExportNodeKeyRequest) -> ExportNodeKeyResponse;
    sign_transaction(SignTransactionRequest) -> SignTransactionResponse;
    set_policy(SetPolicyRequest) -> SetPolicyResponse;
    attach_key(AttachKeyRequest) -> AttachKeyResponse;
    confirm_key_backup(ConfirmKeyBackupRequest) -> ConfirmKeyBackupResponse;
    sign_transactions(SignTransactionsRequest) -> SignTransactionsResponse;
    approve_intent(ApproveIntentRequest) -> ApproveIntentResponse;
    revoke_approval(RevokeApprovalRequest) -> RevokeApprovalResponse;
    list_approvals(ListApprovalsRequest) -> ListApprovalsResponse;
    freeze_label(FreezeLabelRequest) -> FreezeLabelResponse;
    thaw_label(ThawLabelRequest) -> ThawLabelResponse;
    list_frozen_labels(ListFrozenLabelsRequest) -> ListFrozenLabelsResponse;
    test_policy(TestPolicyRequest) -> TestPolicyResponse;
    explain_policy(ExplainPolicyRequest) -> ExplainPolicyResponse;
    get_blast_radius(GetBlastRadiusRequest) -> GetBlastRadiusResponse;
    sign_message(SignMessageRequest) -> SignMessageResponse;
    sign_typed_data(SignTypedDataRequest) -> SignTypedDataResponse;
    rotate_kek(RotateKekRequest) -> RotateKekResponse;
    export_keystore(ExportKeystoreRequest) -> ExportKeystoreResponse;
    confirm_nonce_floor(ConfirmNonceFloorRequest) -> ConfirmNonceFloorResponse;
}
