//! GetPolicy: the policy in force. Answers while sealed, too: it holds no secret.

use api::keys::v1::GetPolicyResponse;
use sea_orm::ConnectionTrait;

use super::wire;
use crate::db;
use crate::error::{Declined, Failure};

pub async fn run<C: ConnectionTrait>(db: &C) -> Result<GetPolicyResponse, Declined> {
    let row = db::policy::in_force(db).await?.ok_or(Failure::PolicyMissing)?;
    Ok(GetPolicyResponse { policy: Some(wire::policy(row)) })
}
