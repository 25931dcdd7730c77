//! A sequencer as it was at a block: its state from the standing history, its record from the before-images of what came
//! later.

use api::lifecycle::v1::{GetSequencerAtRequest, GetSequencerAtResponse};
use api::{convert, reasons};
use runtime::errors::Refusal;
use uuid::Uuid;

use crate::db::{cursor, position, sequencer, transition};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::operations::view;
use crate::request;

/// State and record at a block, and why.
pub async fn sequencer(
    fleet: &Fleet,
    request: GetSequencerAtRequest,
) -> Result<GetSequencerAtResponse, Error> {
    let GetSequencerAtRequest { sequencer, at_block } = request;
    let id = request::id("sequencer", &sequencer)?;
    let register = sequencer::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    let place = cursor::of(&fleet.db, &register.network).await?;
    let applied = place.as_ref().and_then(|place| place.block_number).unwrap_or(0);
    let block = match at_block {
        0 => applied,
        number => i64::try_from(number).ok().filter(|number| *number <= applied).ok_or_else(|| {
            let words = format!("block {number} is above {applied}, the last one applied");
            convert::bad(&reasons::BLOCK_NOT_APPLIED, "at_block", words).meta("applied_block", applied)
        })?,
    };
    let because = transition::at_block(&fleet.db, id, block).await?;
    let because = because.ok_or_else(|| {
        let words = format!("{} was not known at block {block}", register.name);
        Refusal::new(&reasons::SEQUENCER_NOT_FOUND, words).meta("sequencer", id)
    })?;
    let then = position::at_block(&fleet.db, id, block).await?;
    let mut then = then.unwrap_or_else(|| position::Row::without_lock(&register, &because.to_phase));
    // The history is the truth about the state: it is right also about what L2 took back since.
    then.phase.clone_from(&because.to_phase);
    let shown = view::sequencer_then(&fleet.db, register, &then, block).await?;
    Ok(GetSequencerAtResponse { sequencer: Some(shown), because: Some(view::transition(because)) })
}

fn missing(id: Uuid) -> Refusal {
    Refusal::new(&reasons::SEQUENCER_NOT_FOUND, format!("there is no sequencer {id}")).meta("sequencer", id)
}
