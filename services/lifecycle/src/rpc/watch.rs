//! Streams: what the tables say, again whenever they may have changed. A wake-up only makes a stream look sooner.

use std::sync::Arc;
use std::time::Duration;

use api::lifecycle::v1::{
    WatchOperationRequest, WatchOperationResponse, WatchTransitionsRequest, WatchTransitionsResponse,
};
use api::{convert, reasons};
use store::notify::{Wake, Wakes};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use crate::db::{operation, sequencer, transition};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::operations::submit::missing;
use crate::operations::view;
use crate::reconcile::follow;
use crate::request;

/// Messages a slow reader may be behind; then its stream waits for it.
const BUFFER: usize = 64;
/// Rows read at once.
const BATCH: u32 = 200;
/// Longest time without a look, for wake-ups that were lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Sender<T> = mpsc::Sender<Result<T, Status>>;
type Stream<T> = ReceiverStream<Result<T, Status>>;

/// State changes from a cursor on, without end.
pub async fn transitions(
    fleet: Arc<Fleet>,
    request: WatchTransitionsRequest,
) -> Result<Stream<WatchTransitionsResponse>, Error> {
    let WatchTransitionsRequest { network, after_cursor } = request;
    let network = match network.as_str() {
        "" => None,
        name => Some(fleet.network("network", name)?.name.clone()),
    };
    // Readers first, so that nothing falls between the look and the wait.
    let wakes = fleet.wakes.wakes();
    let last = transition::last_position(&fleet.db).await?;
    let after = match after_cursor.as_str() {
        "" => last,
        text => text.parse::<i64>().ok().filter(|after| (0..=last).contains(after)).ok_or_else(|| {
            convert::bad(&reasons::CURSOR_MALFORMED, "after_cursor", "this is no cursor of this service")
        })?,
    };
    let (sender, stream) = mpsc::channel(BUFFER);
    let begins_now = after_cursor.is_empty();
    tokio::spawn(async move {
        // Who begins now learns at once from where to resume, before anything has happened.
        let here =
            WatchTransitionsResponse { cursor: after.to_string(), ..WatchTransitionsResponse::default() };
        if begins_now && sender.send(Ok(here)).await.is_err() {
            return;
        }
        if let Err(error) = send_transitions(&fleet, network, after, wakes, &sender).await {
            let _ = sender.send(Err(error.status())).await;
        }
    });
    Ok(ReceiverStream::new(stream))
}

async fn send_transitions(
    fleet: &Fleet,
    network: Option<String>,
    mut after: i64,
    mut wakes: Wakes,
    sender: &Sender<WatchTransitionsResponse>,
) -> Result<(), Error> {
    loop {
        for row in transition::feed(&fleet.db, network.as_deref(), after, BATCH).await? {
            after = row.position;
            let register = sequencer::of_id(&fleet.db, row.sequencer).await?;
            let register = register.ok_or(Error::Malformed { what: "the sequencer of a transition" })?;
            let message = WatchTransitionsResponse {
                cursor: after.to_string(),
                sequencer: Some(view::sequencer_of(&fleet.db, register).await?),
                transition: Some(view::transition(row)),
            };
            if sender.send(Ok(message)).await.is_err() {
                return Ok(());
            }
        }
        if !wait_for(&mut wakes, follow::CHANNEL, None, sender).await {
            return Ok(());
        }
    }
}

/// One operation until it is final.
pub async fn operation(
    fleet: Arc<Fleet>,
    request: WatchOperationRequest,
) -> Result<Stream<WatchOperationResponse>, Error> {
    let id = request::id("id", &request.id)?;
    let wakes = fleet.wakes.wakes();
    if operation::of_id(&fleet.db, id).await?.is_none() {
        return Err(missing(id));
    }
    let (sender, stream) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        if let Err(error) = send_operation(&fleet, id, wakes, &sender).await {
            let _ = sender.send(Err(error.status())).await;
        }
    });
    Ok(ReceiverStream::new(stream))
}

async fn send_operation(
    fleet: &Fleet,
    id: Uuid,
    mut wakes: Wakes,
    sender: &Sender<WatchOperationResponse>,
) -> Result<(), Error> {
    let mut told = None;
    loop {
        let row = operation::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
        let is_final = row.state().is_final();
        let shown = view::operation_of(&fleet.db, row).await?;
        if told.as_ref() != Some(&shown) {
            told = Some(shown.clone());
            if sender.send(Ok(WatchOperationResponse { operation: Some(shown) })).await.is_err() {
                return Ok(());
            }
        }
        let name = id.to_string();
        if is_final || !wait_for(&mut wakes, operation::CHANNEL, Some(&name), sender).await {
            return Ok(());
        }
    }
}

/// Waits until it is worth looking again; false when nobody reads any more.
async fn wait_for<T>(wakes: &mut Wakes, channel: &str, payload: Option<&str>, sender: &Sender<T>) -> bool {
    let woken = async {
        loop {
            match wakes.next().await {
                Wake::Missed => return,
                Wake::Notified { channel: on, payload: what }
                    if on == channel && payload.is_none_or(|wanted| wanted == what) =>
                {
                    return;
                }
                Wake::Notified { .. } => {}
            }
        }
    };
    tokio::select! {
        () = woken => true,
        () = tokio::time::sleep(LOOK_EVERY) => true,
        () = sender.closed() => false,
    }
}
