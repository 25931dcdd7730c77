//! Every bound of the public edge, with its reason.

use std::time::Duration;

/// A request body or socket message. Ours are below 4 KiB; a batch of 50 of them fits well.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// All answers to one request together; what gRPC allows for one answer behind us.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Requests of one batch.
pub const BATCH_ITEMS_MAX: usize = 50;

/// Items of one batch in work at once, so that one batch cannot take every connection behind us.
pub const BATCH_ITEMS_AT_ONCE: usize = 8;

/// Connections at once; more wait in the backlog of the kernel.
pub const CONNECTIONS_MAX: usize = 500;

/// A client that sends its headers or its body slower than this holds a connection for nothing.
pub const READ_WAIT: Duration = Duration::from_secs(10);

/// How long the system may refuse to accept (no file descriptors, mostly) before we ask again.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Bytes of an id: long enough for two UUIDs, short enough to be echoed.
pub const ID_BYTES_MAX: usize = 256;

/// Largest whole number that JSON readers everywhere keep exact: 2^53 - 1.
pub const ID_NUMBER_MAX: i64 = (1 << 53) - 1;

/// Bytes of a method name; the longest of ours has 32.
pub const METHOD_BYTES_MAX: usize = 128;

/// Bytes of a request id that we take over from a caller.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Calls of one socket in work at once; further messages stay unread.
pub const SOCKET_CALLS_MAX: usize = 32;

/// Subscriptions of one socket.
pub const SUBSCRIPTIONS_PER_SOCKET_MAX: u32 = 32;

/// Characters of a subscription id: random, so that nobody guesses that of another.
pub const SUBSCRIPTION_ID_CHARS: usize = 24;

/// Messages that wait for a socket to be written.
pub const SOCKET_QUEUE: usize = 64;

/// Notifications of one subscription that wait for its socket.
pub const SUBSCRIPTION_QUEUE: usize = 16;

/// Changes kept for the slowest subscriber; who is further behind is told so and dropped.
pub const FEED_BUFFER: usize = 1024;

/// Subscribers that catch up with streams of their own. All streams share one HTTP/2 connection, which
/// carries 256.
pub const CATCH_UPS_MAX: usize = 64;

/// How long the start of an upstream stream may take: a subscriber waits for it.
pub const OPEN_WAIT: Duration = Duration::from_secs(2);

/// Pauses before an upstream stream that broke is opened again; each is twice the one before.
pub const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest of them.
pub const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pings on sockets.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A socket from which nothing came for this long (not even pongs) is gone.
pub const SOCKET_IDLE_MAX: Duration = Duration::from_secs(60);

/// A message that a client does not take within this time is the last one.
pub const SOCKET_WRITE_WAIT: Duration = Duration::from_secs(10);

/// API keys remembered between two requests, for at most this long: a revoked one ends that soon.
pub const KEY_CACHE_TTL: Duration = Duration::from_secs(2);
/// How many; unknown ids count, so that guessing does not reach the database each time.
pub const KEY_CACHE_MAX: u64 = 10_000;

/// How often quotas of callers that went away are forgotten.
pub const QUOTA_SWEEP: Duration = Duration::from_secs(60);

/// How long browsers may remember what CORS allows.
pub const CORS_MAX_AGE: Duration = Duration::from_secs(600);
