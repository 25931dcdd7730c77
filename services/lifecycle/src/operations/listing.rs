//! The dashboard's entry of a sequencer, ready for the pull request, with every rule of the README and of the upstream
//! check.

use std::collections::BTreeMap;

use api::lifecycle::v1::{
    BuildListingRequest, BuildListingResponse, ListingEntryChecks, ListingImage, ValidateListingRequest,
    ValidateListingResponse,
};
use api::types::v1::{Check, Verdict};
use api::{convert, reasons};
use domain::address;
use domain::listing::{Avatar, Checked, Entry, check_entry, check_file};
use domain::pubkey::PublicKey;

use super::subject::standing;
use super::view::listing_of;
use crate::db::{position, whitelist};
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

/// Checks what somebody wrote: by the rules of P 4, and against the register where a network is named.
pub async fn validate(
    fleet: &Fleet,
    request: ValidateListingRequest,
) -> Result<ValidateListingResponse, Error> {
    let ValidateListingRequest { network, json, images, images_complete, base_json } = request;
    convert::required("json", &json)?;
    let network = match network.as_str() {
        "" => None,
        name => Some(fleet.network("network", name)?.name.clone()),
    };
    let images: BTreeMap<String, Vec<u8>> =
        images.into_iter().map(|ListingImage { name, content }| (name, content.to_vec())).collect();
    let image = |avatar: &str| {
        let file = avatar.rsplit('/').next().unwrap_or_default();
        match images.get(file) {
            Some(content) => Avatar::File(content),
            None if images_complete => Avatar::Missing,
            None => Avatar::Unseen,
        }
    };
    let base = Some(base_json.as_str()).filter(|text| !text.is_empty());
    let checked = match json.trim_start().starts_with('{') {
        true => check_entry(&json, image),
        false => check_file(&json, base, image),
    };
    let ok = checked.passes();
    let Checked { checks, entries, formatted } = checked;
    let mut shown = Vec::with_capacity(entries.len());
    for one in entries {
        let mut checks: Vec<Check> = one.checks.into_iter().map(convert::wire_check).collect();
        if let Some(network) = &network {
            checks.extend(on_chain(fleet, network, &one.entry).await?);
        }
        shown.push(ListingEntryChecks { name: one.entry.name, checks });
    }
    Ok(ValidateListingResponse {
        ok,
        checks: checks.into_iter().map(convert::wire_check).collect(),
        entries: shown,
        formatted_json: formatted,
    })
}

/// Nothing upstream looks at the chain: an entry may be there before its sequencer, so these only warn.
async fn on_chain(fleet: &Fleet, network: &str, entry: &Entry) -> Result<Vec<Check>, Error> {
    let (Ok(owner), Ok(signer)) = (address::parse(&entry.address), address::parse(&entry.seq_addr)) else {
        return Ok(Vec::new());
    };
    let whitelisted = whitelist::of(&fleet.db, network, owner).await?;
    let locked = position::of_signer(&fleet.db, network, signer).await?;
    let own = locked.iter().all(|row| row.owner.0 == owner);
    Ok(vec![
        warned("LISTING_WHITELISTED", whitelisted, format!("{owner} is whitelisted on {network}")),
        warned("LISTING_SIGNER_OWN", own, format!("{signer} is nobody else's signer on {network}")),
    ])
}

fn warned(name: &str, holds: bool, words: String) -> Check {
    let (verdict, reason, message) = match holds {
        true => (Verdict::Pass, "", words),
        false => (Verdict::Warn, reasons::LISTING_INVALID.name, format!("not so: {words}")),
    };
    Check {
        name: name.to_owned(),
        verdict: verdict.into(),
        reason: reason.to_owned(),
        message,
        ..Check::default()
    }
}
