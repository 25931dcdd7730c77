//! Wake-ups by LISTEN and NOTIFY. Only a hint: they may be lost, so whoever waits also looks by
//! itself from time to time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::{sync::broadcast, task::AbortHandle};
use tracing::debug;

use crate::{Error, statement};

/// Receivers that fall further behind get one [`Wake::Missed`] instead.
const BACKLOG_MAX: usize = 256;
/// Between attempts to listen again after the connection broke.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Something may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// A notification, in the order of the commits.
    Notified {
        /// The channel it was sent on.
        channel: String,
        /// What the sender said, at most 8000 bytes.
        payload: String,
    },
    /// Notifications may have been lost: look at everything.
    Missed,
}

/// Listens on its own connection until dropped with all its clones.
#[derive(Debug, Clone)]
pub struct Listener {
    wakes: broadcast::Sender<Wake>,
    _task: Arc<StopOnDrop>,
}

/// One reader of a [`Listener`].
#[derive(Debug)]
pub struct Wakes(broadcast::Receiver<Wake>);

#[derive(Debug)]
struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

tokio::task_local! {
    /// What the transaction at hand will tell.
    static TOLD: Mutex<BTreeSet<(String, String)>>;
}

/// Sends a wake-up when the transaction commits; nothing if it rolls back.
///
/// Inside [`crate::in_transaction`] it is sent just after the commit, by itself: commits that notify wait for one
/// another, each for the others' flush of the log. A process that is killed in between sends nothing.
///
/// # Errors
/// When the statement fails, as for a payload of more than 8000 bytes.
pub async fn notify<C: ConnectionTrait>(tx: &C, channel: &str, payload: &str) -> Result<(), Error> {
    let told = (channel.to_owned(), payload.to_owned());
    let later = TOLD.try_with(|all| all.lock().map(|mut all| all.insert(told.clone())).is_ok());
    match later {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => send(tx, BTreeSet::from([told])).await,
    }
}

/// Runs a transaction, and tells after its commit what it had to tell.
pub(crate) async fn telling<T, E, Fut>(db: &DatabaseConnection, transaction: Fut) -> Result<T, E>
where
    Fut: Future<Output = Result<T, E>>,
{
    let kept = async {
        let done = transaction.await?;
        let told = TOLD.with(|all| all.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default());
        Ok((done, told))
    };
    let (done, told) = TOLD.scope(Mutex::default(), kept).await?;
    if !told.is_empty() {
        let db = db.clone();
        tokio::spawn(async move {
            if let Err(error) = send(&db, told).await {
                debug!("a wake-up was not sent: {error}");
            }
        });
    }
    Ok(done)
}

async fn send<C: ConnectionTrait>(db: &C, told: BTreeSet<(String, String)>) -> Result<(), Error> {
    let (channels, payloads): (Vec<String>, Vec<String>) = told.into_iter().unzip();
    let sql =
        "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS told (channel, payload)";
    db.execute_raw(statement(sql, [channels.into(), payloads.into()]))
        .await
        .map_err(Error::at("sending notifications"))?;
    Ok(())
}

/// Listens on `channels` of the database of `db`, over a connection of its own.
///
/// # Errors
/// When the first connection fails; later ones are made again until it is dropped.
pub async fn listener(db: &DatabaseConnection, channels: &[&str]) -> Result<Listener, Error> {
    let options = db.get_postgres_connection_pool().connect_options();
    let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
    let connection = listen(&options, &channels).await.map_err(Error::Connect)?;
    let (wakes, _) = broadcast::channel(BACKLOG_MAX);
    let task = tokio::spawn(forward(connection, wakes.clone(), options, channels));
    Ok(Listener { wakes, _task: Arc::new(StopOnDrop(task.abort_handle())) })
}

impl Listener {
    /// A new reader, from now on.
    pub fn wakes(&self) -> Wakes {
        Wakes(self.wakes.subscribe())
    }
}

impl Wakes {
    /// The next wake-up. Waits for ever once the listener is gone, so it is safe in a `select!`.
    pub async fn next(&mut self) -> Wake {
        match self.0.recv().await {
            Ok(wake) => wake,
            Err(broadcast::error::RecvError::Lagged(_)) => Wake::Missed,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn listen(options: &PgConnectOptions, channels: &[String]) -> Result<PgListener, sqlx::Error> {
    // A pool of one, for this listener only: the service's pool must not lose a connection to it.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_with(options.clone())
        .await?;
    let mut connection = PgListener::connect_with(&pool).await?;
    connection.listen_all(channels.iter().map(String::as_str)).await?;
    Ok(connection)
}

async fn forward(
    mut connection: PgListener,
    wakes: broadcast::Sender<Wake>,
    options: Arc<PgConnectOptions>,
    channels: Vec<String>,
) {
    loop {
        let wake = match connection.try_recv().await {
            Ok(Some(notification)) => Wake::Notified {
                channel: notification.channel().to_owned(),
                payload: notification.payload().to_owned(),
            },
            Ok(None) => Wake::Missed,
            Err(error) => {
                debug!(%error, "listening for notifications broke");
                connection = listen_again(&options, &channels).await;
                Wake::Missed
            }
        };
        // Without readers there is nobody to wake.
        let _ = wakes.send(wake);
    }
}

async fn listen_again(options: &PgConnectOptions, channels: &[String]) -> PgListener {
    loop {
        tokio::time::sleep(RECONNECT_PAUSE).await;
        match listen(options, channels).await {
            Ok(connection) => return connection,
            Err(error) => debug!(%error, "listening for notifications failed again"),
        }
    }
}
