//! The generated trait: who calls, is the installation open, then the operation.

use std::sync::Arc;

use api::keys::v1::keys_service_server::KeysService;
use api::keys::v1::{
    BackupKeysRequest, BackupKeysResponse, ConfirmNonceFloorRequest, ConfirmNonceFloorResponse,
    CreateKeyRequest, CreateKeyResponse, ExportNodeKeyRequest, ExportNodeKeyResponse, GetAuditHeadRequest,
    GetAuditHeadResponse, GetKeyRequest, GetKeyResponse, GetPolicyRequest, GetPolicyResponse,
    ImportKeyRequest, ImportKeyResponse, ListAuditRecordsRequest, ListAuditRecordsResponse, ListKeysRequest,
    ListKeysResponse, RestoreKeysRequest, RestoreKeysResponse, SetKeyStateRequest, SetKeyStateResponse,
    SetPolicyRequest, SetPolicyResponse, SignTransactionRequest, SignTransactionResponse,
    VerifyBackupRequest, VerifyBackupResponse,
};
use api::reasons::SEALED;
use runtime::errors::Refusal;
use runtime::server::identity;
use sea_orm::DatabaseConnection;
use tonic::{Request, Response, Status};

use crate::keyring::Keyring;
use crate::operations as verb;

/// The service as gRPC sees it.
pub struct Rpc {
    db: DatabaseConnection,
    /// Or why it is sealed.
    keyring: Result<Arc<Keyring>, &'static str>,
}

impl Rpc {
    /// With all methods.
    pub fn opened(keyring: Keyring) -> Self {
        Self { db: keyring.db.clone(), keyring: Ok(Arc::new(keyring)) }
    }

    /// With the methods that need no key.
    pub fn sealed(db: DatabaseConnection, reason: &'static str) -> Self {
        Self { db, keyring: Err(reason) }
    }

    fn open(&self) -> Result<&Keyring, Status> {
        self.keyring.as_deref().map_err(|reason| Refusal::new(&SEALED, format!("sealed: {reason}")).into())
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
    confirm_nonce_floor(ConfirmNonceFloorRequest) -> ConfirmNonceFloorResponse;
}
