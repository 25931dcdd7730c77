//! The digest chain, by which two installations prove that they hold the same.

use alloy_primitives::B256;
use api::indexer::v1 as wire;
use api::reasons;
use runtime::errors::Refusal;

use super::{Context, Error, block, checkpoint_of};
use crate::db::{self, block as blocks, checkpoint, column, height};
use crate::fold::wire::hash;

/// The digest over everything up to a block, which must be final.
///
/// # Errors
/// When the request is wrong, or digests do not stand up to the block yet.
pub async fn get(
    context: &Context,
    request: &wire::GetDigestRequest,
) -> Result<wire::GetDigestResponse, Error> {
    let source = context.network("network", &request.network)?.layer("layer", request.layer)?;
    let view = db::snapshot(&context.db).await?;
    let row = checkpoint_of(&view, &source.network, source.layer).await?;
    let number = if request.at_block == 0 { row.digested } else { column(request.at_block) };
    if number < 0 || number > row.digested {
        let what = match u64::try_from(row.digested) {
            Ok(digested) => format!("digests stand up to block {digested} only"),
            Err(_) => "no final block is indexed yet".to_owned(),
        };
        return Err(Refusal::new(&reasons::INDEX_BEHIND, what).meta("digested", row.digested).into());
    }
    let found = blocks::digest_at(&view, &source.network, source.layer, number).await?;
    let digest = found.map_or(B256::ZERO, |found| found.digest.0);
    let block = found.map(|found| {
        let blocks::Digested { number, hash, time, digest: _ } = found;
        block(&checkpoint::Tip { number, hash, time })
    });
    Ok(wire::GetDigestResponse { at_block: height(number), block, digest: hash(digest) })
}
