//! GetKey: the public side of one key, by id, name or address.

use api::convert;
use api::keys::v1::get_key_request::Selector;
use api::keys::v1::{GetKeyRequest, GetKeyResponse};

use super::wire;
use crate::db;
use crate::error::Declined;
use crate::keyring::{Keyring, not_found};

pub async fn run(keyring: &Keyring, request: GetKeyRequest) -> Result<GetKeyResponse, Declined> {
    let db = &keyring.db;
    let (found, field) = match convert::present("selector", request.selector)? {
        Selector::Id(id) => (db::key::of_id(db, &id).await?, "id"),
        Selector::Name(name) => (db::key::of_name(db, &name).await?, "name"),
        Selector::Address(text) => {
            (db::key::of_address(db, convert::address("address", &text)?).await?, "address")
        }
    };
    let key = found.ok_or_else(|| not_found(field))?;
    Ok(GetKeyResponse { key: Some(wire::key(&key)) })
}
