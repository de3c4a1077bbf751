//! What an operator may decide about a stream: plain values, no behaviour.

use std::time::Duration;

/// Who decides the `id:` of the events a client sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// Shared streams preserve if the first event with a payload has an id, and
    /// assign otherwise. Private and one-shot streams assign: their id must
    /// find the stream again.
    #[default]
    Auto,
    /// Every id is ours; the upstream's is carried inside it.
    Assign,
    /// Upstream ids are left alone and indexed.
    Preserve,
}

/// What a new upstream connection does with `Last-Event-ID`.
///
/// This cannot be seen on the wire: an upstream that ignores the header looks
/// like one that had nothing to resend. So it is declared, not guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamResume {
    /// Nothing is promised. A reconnect is reported as a gap unless the
    /// upstream's own ids prove that nothing was missed.
    #[default]
    None,
    /// The upstream sends everything after the id it is given.
    LastEventId,
    /// The upstream restates its whole state whenever it is connected to.
    Snapshot,
}

/// Where a client that brings no id begins on a shared stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// At the next event. (With [`UpstreamResume::Snapshot`]: at the last
    /// snapshot, if it is still retained.)
    #[default]
    Live,
    /// At the oldest retained event.
    Start,
    /// At most this many retained events back.
    Tail(u64),
}

/// What to do with a client whose next event was trimmed away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// Go on from the oldest retained event.
    #[default]
    Continue,
    /// Open a fresh upstream connection.
    Reset,
    /// Answer 204 to GET, which stops an `EventSource`, and 410 to others.
    Close,
}

/// What the last event of an answer looks like.
///
/// Where a route names some, an answer that ends without one was cut, however
/// cleanly its connection was closed; one that had it is whole, however its
/// connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// An event of this type.
    Event(String),
    /// An event whose data is this text and nothing else.
    Data(String),
    /// An event whose data is JSON that has something at this pointer
    /// (RFC 6901).
    Json {
        /// Such as `/type`. The empty one points to the whole.
        pointer: String,
        /// What it may be: the text of a string, or a number or a boolean as
        /// JSON has it. If none is listed, anything but `null` and `false`.
        values: Vec<String>,
    },
    /// An event whose data is a JSON-RPC response, or a batch of them: a result
    /// or an error. Notifications and requests are none.
    JsonRpcResponse,
}

/// How long a stream lives without readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// This long, then its upstream connection is closed. Zero makes a
    /// disconnect a cancellation.
    For(Duration),
    /// A one-shot runs to its end, but no longer than its `max_runtime`.
    /// (Streams that never end linger for the default 30 s.)
    Complete,
}

/// Linger where none is configured.
pub const DEFAULT_LINGER: Duration = Duration::from_secs(30);

/// How long a one-shot that nobody reads may run where nothing is configured.
pub const DEFAULT_MAX_RUNTIME: Duration = Duration::from_secs(15 * 60);

impl Default for Linger {
    fn default() -> Self {
        Self::For(DEFAULT_LINGER)
    }
}

/// How a lost upstream connection is sought again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// The first delay's upper bound, until the upstream names one by `retry:`.
    /// Default 1 s.
    pub initial: Duration,
    /// No delay is longer than this, unless `Retry-After` asks for it.
    /// Default 30 s.
    pub max: Duration,
    /// After this long without an upstream, clients are aborted. Default 5 min.
    pub give_up_after: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(30),
            give_up_after: Duration::from_secs(300),
        }
    }
}

/// What kind of stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One client session's own, over as many connections as it takes.
    Private,
    /// Everybody's who asks for the same.
    Shared,
    /// The answer to one request, sent once.
    OneShot,
}
