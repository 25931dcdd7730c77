//! Pages of lists as in AIP-158: a size that is lowered rather than refused, and an opaque token
//! that only fits the filters it was made for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::errors::{Refusal, generic};

/// The size of a page when the caller names none.
pub const SIZE_DEFAULT: u32 = 50;

/// The largest page; more rows would not fit the limits of an answer.
pub const SIZE_MAX: u32 = 500;

/// A longer token is not one of ours; do not spend time on it.
const TOKEN_CHARS_MAX: usize = 4096;

/// This much of the hash tells filters apart; it guards against mistakes, not against attackers.
const FILTER_HASH_BYTES: usize = 16;

#[derive(Serialize, Deserialize)]
struct Sealed<C> {
    #[serde(rename = "c")]
    cursor: C,
    #[serde(rename = "f")]
    filter: String,
}

/// How many rows to give for a `page_size` of a request.
///
/// # Errors
/// A negative size is refused.
pub fn page_size(asked: i32) -> Result<u32, Refusal> {
    match u32::try_from(asked) {
        Ok(0) => Ok(SIZE_DEFAULT),
        Ok(size) => Ok(size.min(SIZE_MAX)),
        Err(_) => Err(Refusal::new(&generic::INVALID_ARGUMENT, "the page size is negative")
            .field("page_size", "must not be negative")
            .meta("page_size", asked)),
    }
}

/// The token for the page after `cursor` under `filter`.
///
/// `filter` must serialise the same way each time: no hash maps in it.
pub fn encode<C: Serialize, F: Serialize>(cursor: &C, filter: &F) -> String {
    let sealed = Sealed { cursor, filter: hash(filter) };
    let json = serde_json::to_vec(&sealed).expect("cursors are plain values, which always serialise");
    URL_SAFE_NO_PAD.encode(json)
}

/// The cursor of a `page_token`; `None` for the first page.
///
/// # Errors
/// A token that is damaged, or was made for other filters, is refused.
pub fn decode<C: DeserializeOwned, F: Serialize>(token: &str, filter: &F) -> Result<Option<C>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let refused = |message: &str| {
        Refusal::new(&generic::INVALID_PAGE_TOKEN, message).field("page_token", message.to_owned())
    };
    let damaged = || refused("the page token is damaged");
    if token.len() > TOKEN_CHARS_MAX {
        return Err(damaged());
    }
    let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| damaged())?;
    let sealed: Sealed<C> = serde_json::from_slice(&json).map_err(|_| damaged())?;
    if sealed.filter != hash(filter) {
        return Err(refused("the page token belongs to other filters"));
    }
    Ok(Some(sealed.cursor))
}

fn hash<F: Serialize>(filter: &F) -> String {
    let json = serde_json::to_vec(filter).expect("filters are plain values, which always serialise");
    URL_SAFE_NO_PAD.encode(&Sha256::digest(&json)[..FILTER_HASH_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_size_is_defaulted_lowered_or_refused() {
        assert_eq!(page_size(0), Ok(50));
        assert_eq!(page_size(1), Ok(1));
        assert_eq!(page_size(500), Ok(500));
        assert_eq!(page_size(501), Ok(500));
        let refused = page_size(-1).expect_err("negative");
        assert_eq!(refused.reason, &generic::INVALID_ARGUMENT);
        assert_eq!(refused.fields[0].0, "page_size");
    }

    #[test]
    fn a_token_gives_back_its_cursor_under_the_same_filters() {
        let token = encode(&(7_u64, "id"), &("devnet", Some("ACTIVE")));
        let cursor: Option<(u64, String)> = decode(&token, &("devnet", Some("ACTIVE"))).expect("own token");
        assert_eq!(cursor, Some((7, "id".to_owned())));
        assert_eq!(decode::<u64, _>("", &()), Ok(None));
    }

    #[test]
    fn a_token_with_other_filters_or_damage_is_refused() {
        let token = encode(&7_u64, &"devnet");
        let long = "A".repeat(TOKEN_CHARS_MAX + 1);
        for (token, filter) in
            [(token.as_str(), "sepolia"), (&token[1..], "devnet"), ("%", "devnet"), (&long, "")]
        {
            let refused = decode::<u64, _>(token, &filter).expect_err("not this token");
            assert_eq!(refused.reason, &generic::INVALID_PAGE_TOKEN);
        }
    }
}
