//! Every setting of one route, with its default.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use crate::stream::policy::{Ids, Join, Linger, OnGap, Reconnect, UpstreamResume};

/// Which kind of stream a route's responses become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// GET is private, any other method one-shot.
    #[default]
    Auto,
    /// One upstream connection for all clients with the same key (GET only;
    /// other methods are one-shot).
    Shared,
    /// The response is finite: its request is never sent upstream twice.
    OneShot,
    /// Bytes go on verbatim; only heartbeats are added, between events.
    Passthrough,
}

/// A request credential that binds a stream to whoever opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The whole value of a header.
    Header(HeaderName),
    /// One cookie, by name. (A whole `Cookie` header changes too often.)
    Cookie(String),
}

/// What else makes two requests the same stream, beside route, method, host,
/// path and sorted query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySettings {
    /// Headers whose values are part of the key.
    ///
    /// On one-shots they name a request, as `Idempotency-Key` does: one that has
    /// any of them is, sent again by the same principal, not executed again but
    /// given the same answer.
    pub headers: Vec<HeaderName>,
    /// Query parameters that make no difference.
    pub ignore_query: Vec<String>,
}

/// How much of a stream is retained for those who come back.
///
/// `None` is the default of the stream's kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferSettings {
    /// Events. Default 1024; one-shot streams have no such limit while live.
    pub events: Option<usize>,
    /// Bytes of encoded events. Default 4 MiB, one-shot 16 MiB.
    pub bytes: Option<usize>,
    /// Age. Default 5 min; one-shot streams have no such limit while live.
    pub age: Option<Duration>,
}

/// Every setting of one route. [`Settings::default`] is what an empty `sse:`
/// block in `proxy.yaml` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Kind of stream.
    pub mode: Mode,
    /// What makes requests the same stream: shared ones, and one-shots that
    /// their application names.
    pub key: KeySettings,
    /// Credentials that make up the principal. Default: `Authorization`.
    pub principal: Vec<Credential>,
    /// Who decides the ids.
    pub ids: Ids,
    /// What a new upstream connection does.
    pub resume: UpstreamResume,
    /// Silence after which a client is sent a heartbeat; zero turns it off.
    /// Default 15 s.
    pub heartbeat: Duration,
    /// `retry:` sent to each client, drawn from this range. Off by default.
    pub retry: Option<RangeInclusive<Duration>>,
    /// Retention while the stream is live.
    pub buffer: BufferSettings,
    /// Life without readers. Default 30 s.
    pub linger: Linger,
    /// How long an ended or unread stream is kept. Default 10 min.
    pub retain: Duration,
    /// Where clients without an id begin on a shared stream.
    pub join: Join,
    /// How a lost upstream is sought again.
    pub reconnect: Reconnect,
    /// How long a client is kept waiting, with 200 and heartbeats, for an
    /// upstream that is down when it arrives. Default zero: the failure is
    /// passed on.
    pub hold: Duration,
    /// What becomes of a client whose next event is gone.
    pub on_gap: OnGap,
    /// Event type of the in-band gap event. Default: none is sent.
    pub gap_event: Option<String>,
    /// Largest event accepted from upstream, in bytes. Default 1 MiB.
    pub max_event_bytes: usize,
    /// Time to wait for more events before publishing. Default zero: none.
    pub batch: Duration,
    /// Silence after which the upstream is taken for dead; comments do not
    /// count as life. Default: never.
    pub upstream_idle: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            key: KeySettings::default(),
            principal: vec![Credential::Header(http::header::AUTHORIZATION)],
            ids: Ids::default(),
            resume: UpstreamResume::default(),
            heartbeat: Duration::from_secs(15),
            retry: None,
            buffer: BufferSettings::default(),
            linger: Linger::default(),
            retain: Duration::from_secs(600),
            join: Join::default(),
            reconnect: Reconnect::default(),
            hold: Duration::ZERO,
            on_gap: OnGap::default(),
            gap_event: None,
            max_event_bytes: 1 << 20,
            batch: Duration::ZERO,
            upstream_idle: None,
        }
    }
}
