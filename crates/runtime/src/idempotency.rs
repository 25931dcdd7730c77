//! What makes two requests the same: everything in them but the `request_id`.
//!
//! Keeping the fingerprint with the effect, in one transaction, is the work of each service.

use prost::Message;
use sha2::{Digest, Sha256};

/// The fingerprint of a request, with `clear` taking out what may differ (the `request_id`).
///
/// The bytes are canonical only if maps of the message are generated as `BTreeMap`.
pub fn fingerprint<M: Message + Clone>(request: &M, clear: impl FnOnce(&mut M)) -> [u8; 32] {
    let mut bare = request.clone();
    clear(&mut bare);
    Sha256::digest(bare.encode_to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, body: &str) -> prost_types::Any {
        prost_types::Any { type_url: id.to_owned(), value: body.as_bytes().to_vec() }
    }

    #[test]
    fn the_request_id_alone_does_not_change_the_fingerprint() {
        let of = |message: &prost_types::Any| fingerprint(message, |bare| bare.type_url.clear());
        assert_eq!(of(&request("1", "body")), of(&request("2", "body")));
        assert_ne!(of(&request("1", "body")), of(&request("1", "other")));
    }
}
