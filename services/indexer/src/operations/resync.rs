//! Having a chain fetched again.

use api::indexer::v1 as wire;
use store::in_transaction;

use super::{Context, Error, at_height, checkpoint_of};
use crate::db::{Layer, column, height, reorg, resync};
use crate::source::Source;

/// Notes the wish, which the chain's loop fulfils. Of several wishes the lowest block counts, so that asking twice
/// is harmless.
///
/// # Errors
/// When the request is wrong, or the block is above the last indexed one.
pub async fn ask(
    context: &Context,
    caller: &str,
    request: &wire::ResyncRequest,
) -> Result<wire::ResyncResponse, Error> {
    let source = context.network("network", &request.network)?.layer("layer", request.layer)?;
    let Source { network, layer, .. } = source;
    let (network, layer): (&str, Layer) = (network, *layer);
    let row = checkpoint_of(&context.db, network, layer).await?;
    let from_number = match request.from_block {
        0 => column(source.start()),
        from => at_height(source, &row, "from_block", from)?,
    };
    let wish = resync::Row { from_number, requested_by: caller.to_owned() };
    let after = in_transaction(&context.db, |tx| {
        let wish = wish.clone();
        Box::pin(async move {
            // Read first: the loop may be done as soon as the wish can be seen.
            let after = reorg::last(&tx, network, layer).await?;
            if !request.validate_only {
                resync::ask(&tx, network, layer, &wish).await?;
            }
            Ok::<_, Error>(after)
        })
    })
    .await?;
    if !request.validate_only {
        let layer = layer.name();
        tracing::info!(network, layer, from_number, "{caller} has {network} {layer} fetched again");
    }
    Ok(wire::ResyncResponse { from_block: height(from_number), after_reorg_id: height(after) })
}
