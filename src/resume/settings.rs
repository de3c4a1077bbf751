//! Every setting of one route, with its default.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use crate::stream::policy::{
    DEFAULT_MAX_RUNTIME, Ids, Join, Linger, Marker, OnGap, Reconnect, UpstreamResume,
};

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
    /// Streams of the Model Context Protocol: POST and GET, each as the version
    /// its client speaks wants it.
    Mcp,
}

/// A request credential that binds a stream to whoever opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The whole value of a header.
    Header(HeaderName),
    /// One cookie, by name. (A whole `Cookie` header changes too often.)
    Cookie(String),
    /// What is in the request's [`Claims`](super::Claims) under this name: proved
    /// by whoever authenticated the request, and the same when a token is renewed.
    Claim(String),
}

/// What else makes two requests the same stream, beside route, method, host,
/// path and sorted query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySettings {
    /// Headers whose values are part of the key.
    ///
    /// On one-shots they name a request, as `Idempotency-Key` does: one that has
    /// any of them is, sent again by the same principal, not executed again but
    /// given the same answer. (Not on routes that are [`Mode::Shared`], where
    /// they tell feeds apart.)
    pub headers: Vec<HeaderName>,
    /// Query parameters that make no difference.
    pub ignore_query: Vec<String>,
    /// Where a request names the stream that its answer becomes. By that name
    /// its principal can attach to it, and stop it, wherever [`Settings::attach`]
    /// says. (One-shots only; in place of [`headers`](Self::headers).)
    pub name: Option<NameSource>,
    /// What becomes of a request whose name, or whose headers, a running stream
    /// has. Default: [`Repeat::Attach`] for headers, [`Repeat::Supersede`] for
    /// names.
    pub repeat: Option<Repeat>,
}

/// Where a request names the stream that its answer becomes.
///
/// A name is up to 256 bytes of text. A request without one is answered all the
/// same; its stream is found by the key in the answer's `Sse-Stream` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// A header, such as `X-Chat-Id`.
    Header(HeaderName),
    /// The request's JSON body.
    Json {
        /// Where in it (RFC 6901), such as `/id`. A string or a number is there.
        pointer: String,
        /// So many bytes of the body are read to find it.
        max: usize,
    },
}

/// How much of a request's body is read to find its stream's name, where nothing
/// else is said: 64 KiB.
pub const NAME_WITHIN: usize = 64 << 10;

/// What becomes of a request whose name a running stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is not executed: its answer is that stream, from its beginning, even
    /// if that has ended. What `Idempotency-Key` means.
    Attach,
    /// That stream is stopped, and the request executed.
    Supersede,
    /// It is answered 409, and not executed.
    Refuse,
}

/// A path of which one segment is the key of a stream: `/chat/{key}/stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath {
    before: String,
    after: String,
}

impl KeyPath {
    /// Reads a path that has `{key}` as one of its segments; `None` if it has
    /// not, or more than one.
    pub fn parse(path: &str) -> Option<Self> {
        let (before, after) = path.split_once("{key}")?;
        let whole = before.starts_with('/')
            && before.ends_with('/')
            && (after.is_empty() || after.starts_with('/'))
            && !format!("{before}{after}").contains(['{', '}', '?', '#']);
        whole.then(|| Self {
            before: before.into(),
            after: after.into(),
        })
    }

    /// The key in a path, as it is written there.
    pub(crate) fn key<'a>(&self, path: &'a str) -> Option<&'a str> {
        let key = path.strip_prefix(self.before.as_str())?;
        let key = key.strip_suffix(self.after.as_str())?;
        (!key.is_empty() && !key.contains('/')).then_some(key)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{key}}{}", self.before, self.after)
    }
}

/// How much of a stream is retained for those who come back.
///
/// `None` is the default of the stream's kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferSettings {
    /// Events. Default 1024; one-shot streams have no such limit.
    pub events: Option<usize>,
    /// Bytes of encoded events. Default 4 MiB, one-shot 16 MiB.
    pub bytes: Option<usize>,
    /// Age. Default 5 min; one-shot streams have no such limit.
    pub age: Option<Duration>,
}

/// A coding that clients may be given event streams in (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// gzip, flushed with whatever is delivered.
    #[cfg(feature = "gzip")]
    Gzip,
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
    /// How long a one-shot that nobody reads may run, from its request on, where
    /// it lingers until it is complete. Default 15 min.
    pub max_runtime: Duration,
    /// How many one-shots of one principal may run with nobody reading them;
    /// beyond that, the one left first is stopped. (Not counted are those whose
    /// request brought no credential.) Default 16.
    pub max_detached: usize,
    /// What the last event of an answer looks like. Where any is listed, an
    /// answer that ends before is taken for cut. Default: none, an answer is
    /// whole if its connection ends in order.
    pub finish: Vec<Marker>,
    /// Where a client attaches to a stream by its key (GET, answered 204 if
    /// there is none) and stops it (DELETE): its name, or what the header
    /// `Sse-Stream` said. Such requests do not go upstream. Default: nowhere.
    pub attach: Option<KeyPath>,
    /// Where a client is told, as JSON, of its streams (GET). Such requests do
    /// not go upstream. Default: nowhere.
    pub list: Option<String>,
    /// How often a request with a body may be sent again if it failed before
    /// anything of its answer came. Only for upstreams that heed
    /// `Idempotency-Key`, which is added where a request has none. Default 0.
    pub retries: u32,
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
    /// Compresses streams for clients that accept it: what several are sent is
    /// compressed once for all of them. Not in [`Mode::Passthrough`]. Needs the
    /// feature `gzip`. Default: not.
    ///
    /// Worth it for large events and long replays; a single event of a few hundred
    /// bytes hardly gets smaller, because nothing may refer to what came before
    /// it. Where secrets and text of strangers stand in one event, its compressed
    /// length tells of both (BREACH).
    pub compress: Option<Coding>,
}

impl Settings {
    /// What makes up the principal: with MCP, the session always does.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &Credential> {
        let session = (self.mode == Mode::Mcp && !self.principal.contains(&MCP_SESSION))
            .then_some(&MCP_SESSION);
        self.principal.iter().chain(session)
    }
}

/// What names a session of the Model Context Protocol.
static MCP_SESSION: Credential = Credential::Header(HeaderName::from_static("mcp-session-id"));

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
            max_runtime: DEFAULT_MAX_RUNTIME,
            max_detached: 16,
            finish: Vec::new(),
            attach: None,
            list: None,
            retries: 0,
            retain: Duration::from_secs(600),
            join: Join::default(),
            reconnect: Reconnect::default(),
            hold: Duration::ZERO,
            on_gap: OnGap::default(),
            gap_event: None,
            max_event_bytes: 1 << 20,
            batch: Duration::ZERO,
            upstream_idle: None,
            compress: None,
        }
    }
}
