//! The dashboard's entry of a sequencer, ready for the pull request, with every rule of the README and of the upstream
//! check.

use api::convert;
use api::lifecycle::v1::{BuildListingRequest, BuildListingResponse};
use domain::listing::{Avatar, Entry};
use domain::pubkey::PublicKey;

use super::subject::standing;
use super::view::listing_of;
use crate::error::Error;
use crate::fleet::Fleet;
use crate::request;

/// Builds the entry from the register and the present owner and signer.
pub async fn run(fleet: &Fleet, request: BuildListingRequest) -> Result<BuildListingResponse, Error> {
    let standing = standing(fleet, request::id("sequencer", &request.sequencer)?).await?;
    let bytes = standing.position.signer_pubkey.as_ref().or(standing.register.signer_pubkey.as_ref());
    let signer = convert::present("sequencer.signer_pubkey", bytes)?;
    let signer =
        PublicKey::from_bytes(signer).map_err(|_| Error::Malformed { what: "a stored public key" })?;
    let fields = listing_of(&standing.register).unwrap_or_default();
    let entry = Entry {
        name: fields.name,
        desc: fields.description,
        avatar: fields.avatar,
        url: fields.url,
        lst_name: Some(fields.lst_name).filter(|text| !text.is_empty()),
        lst_url: Some(fields.lst_url).filter(|text| !text.is_empty()),
        ..Entry::default()
    };
    let entry = entry.of(standing.position.owner.0, &signer);
    let checks = entry.check(&[], Avatar::Unseen).into_iter().map(convert::wire_check).collect();
    Ok(BuildListingResponse { json: entry.json(), checks })
}
