//! Fleet operations: one call for many sequencers. What would be done is planned first and bound by its digest; each
//! member then becomes an ordinary managed operation, whose request id is made from fleet and sequencer, so that
//! beginning it twice has one effect. The order of members is decided by `domain::fleet`.

pub mod change;
pub mod create;
pub mod plan;
pub mod spec;
pub mod step;
pub mod view;

use domain::approval::digest_of;
use uuid::{Builder, Uuid};

/// Separates these ids from every other use of the hash.
const TAG: &[u8] = b"sequencer.lifecycle.request.v1";

/// The request id of what `maker` asks for `subject`: the same for ever.
pub fn request_id(maker: Uuid, subject: &[u8]) -> Uuid {
    let hash = digest_of([TAG, maker.as_bytes(), subject]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
