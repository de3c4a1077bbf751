//! Attaching a client to a stream that exists.
//!
//! This is the table of answers to `Last-Event-ID`: where the client goes on,
//! and what it is told.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::body::{Live, SseBody, write_gap};
use super::coding;
use super::cursor::Cursor;
use super::head::{Resumed, dress, unpack};
use super::route::Route;
use super::settings::Coding;
use crate::log::{Attached, Ending, Position, Ring};
use crate::observe::{GapReason, Signal};
use crate::stream::gap_data;
use crate::stream::id::IdWriter;
use crate::stream::policy::{Ids, Join, OnGap, UpstreamResume};
use crate::stream::session::End;
use crate::stream::stream::{Head, Phase, Stream, Subscription};
use crate::wire::{HEARTBEAT, encode_event, encode_retry};

/// Whoever asks.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) route: &'a Arc<Route>,
    pub(super) get: bool,
    /// It is to have an id to come back with before there is an event (MCP
    /// 2025-11-25, "Sending Messages to the Server").
    pub(super) prime: bool,
    /// The coding it takes its stream in.
    pub(super) coding: Option<Coding>,
}

/// What became of a client that came back to its stream.
pub(super) enum Outcome<R> {
    Answer(Response<SseBody<R>>),
    /// It is to have a fresh upstream connection.
    Afresh,
}

/// What became of a client that came to a shared stream.
pub(super) enum Joined<R> {
    Answer(Response<SseBody<R>>),
    /// It is to ask the upstream itself what follows this id.
    Aside(Bytes),
    /// The stream has ended, and not for this client.
    Over,
}

/// Goes on after `seq`, which the stream has reached.
pub(super) fn resume<R>(client: Client<'_>, stream: &Arc<Stream>, seq: u64) -> Outcome<R> {
    // The phase first: once it says that the stream is over, the log is final,
    // whereas an end could follow a last event that was not looked at.
    let phase = stream.phase();
    let (low, high) = stream.log().with(|ring| (ring.low(), ring.high()));
    match phase {
        Phase::Gone => return Outcome::Afresh,
        Phase::Ended(End::Status(status)) => return Outcome::Answer(refused(stream, status)),
        Phase::Ended(End::Upstream(ending)) if seq == high => {
            return client.finished(stream, ending);
        }
        _ => {}
    }
    if seq >= low {
        return client.attach(stream, Position::After(seq), None);
    }
    match client.route.settings.on_gap {
        OnGap::Continue => client.attach(stream, Position::After(seq), None),
        OnGap::Reset if client.get => Outcome::Afresh,
        OnGap::Reset | OnGap::Close => {
            client.observe(GapReason::Trimmed);
            Outcome::Answer(if client.get {
                no_content(stream)
            } else {
                trimmed(stream)
            })
        }
    }
}

/// Whether the upstream has ended this stream, and nothing follows `seq`.
pub(super) fn is_finished(stream: &Stream, seq: u64) -> bool {
    // In this order, as above.
    let ended = matches!(stream.phase(), Phase::Ended(End::Upstream(_)));
    ended && stream.log().with(Ring::high) == seq
}

/// Begins on a shared stream, wherever the client's cursor says.
pub(super) fn join<R>(client: Client<'_>, stream: &Arc<Stream>, cursor: &Cursor) -> Joined<R> {
    // Its log is empty by now: what it does not know, the next one may.
    if stream.phase() == Phase::Gone {
        return Joined::Over;
    }
    let settings = &client.route.settings;
    let fresh = join_position(settings.join, settings.resume);
    let (position, gap) = match locate(stream, cursor, settings.ids) {
        // Once it is known what the journal has, those who wait are cut and come
        // back: what they had is asked then.
        _ if stream.phase() == Phase::Waiting => (Some(Position::Live), None),
        Place::At(seq) => return rejoin(client, stream, seq),
        Place::Upstreams(id) => return Joined::Aside(id),
        Place::Nowhere => (Some(fresh), None),
        Place::Unreadable => (Some(fresh), Some(GapReason::MalformedId)),
        // All that is retained is later than what the client had. But where others
        // keep the same stream, it may have had it from one of them.
        Place::Forgotten if client.route.engine.is_shared() => {
            (Some(Position::Live), Some(GapReason::UnknownId))
        }
        Place::Forgotten => (None, Some(GapReason::UnknownId)),
    };
    if matches!(stream.phase(), Phase::Ended(_) | Phase::Gone) {
        return Joined::Over;
    }
    match client.attach(stream, position.unwrap_or(Position::Oldest), gap) {
        Outcome::Answer(response) => Joined::Answer(response),
        Outcome::Afresh => Joined::Over,
    }
}

fn rejoin<R>(client: Client<'_>, stream: &Arc<Stream>, seq: u64) -> Joined<R> {
    match resume(client, stream, seq) {
        Outcome::Answer(response) => Joined::Answer(response),
        Outcome::Afresh if stream.phase() == Phase::Gone => Joined::Over,
        // One upstream connection serves all: those who read on see its
        // snapshot restated.
        Outcome::Afresh => {
            if stream.log().with(Ring::snapshot).is_none() {
                stream.reset();
            }
            let gap = Some(GapReason::Trimmed);
            match client.attach(stream, Position::Snapshot, gap) {
                Outcome::Answer(response) => Joined::Answer(response),
                Outcome::Afresh => Joined::Over,
            }
        }
    }
}

/// Whether a shared stream can say where a cursor is, or will when it is known
/// what the journal has.
pub(super) fn knows(stream: &Stream, cursor: &Cursor, ids: Ids) -> bool {
    let unknown = || {
        let place = locate(stream, cursor, ids);
        matches!(place, Place::Upstreams(_) | Place::Forgotten)
    };
    stream.phase() == Phase::Waiting || !unknown()
}

/// What a cursor means on a shared stream.
enum Place {
    /// After this block.
    At(u64),
    /// The upstream knows, if anybody does.
    Upstreams(Bytes),
    /// It says nothing.
    Nowhere,
    /// It cannot be read.
    Unreadable,
    /// It was ours, of a log that is no more.
    Forgotten,
}

fn locate(stream: &Stream, cursor: &Cursor, ids: Ids) -> Place {
    let find = |id: &[u8]| stream.log().with(|ring| ring.find(id));
    match cursor {
        Cursor::None => Place::Nowhere,
        Cursor::Malformed => Place::Unreadable,
        Cursor::Foreign(id) => find(id).map_or_else(|| Place::Upstreams(id.clone()), Place::At),
        Cursor::Ours { id, raw } => {
            if let Some(seq) = stream.place(id) {
                return Place::At(seq);
            }
            if let Some(seq) = find(raw) {
                return Place::At(seq);
            }
            match &id.carried {
                _ if ids == Ids::Preserve => Place::Upstreams(raw.clone()),
                None => Place::Forgotten,
                Some(carried) => find(carried).map_or_else(
                    || Place::Upstreams(Bytes::copy_from_slice(carried)),
                    Place::At,
                ),
            }
        }
    }
}

impl Client<'_> {
    pub(super) fn attach<R>(
        self,
        stream: &Arc<Stream>,
        position: Position,
        gap: Option<GapReason>,
    ) -> Outcome<R> {
        // Before attaching: a seam that is judged in between is in the log then.
        let doubtful = stream.doubtful();
        let Some((subscription, attached)) = stream.attach(position) else {
            return Outcome::Afresh;
        };
        let gap = match (gap, attached.lost) {
            (None, 0) => None,
            (None, lost) => Some((GapReason::Trimmed, Some(lost))),
            (Some(reason), _) => Some((reason, None)),
        };
        if let Some((reason, _)) = gap {
            self.observe(reason);
        }
        let resumed = match position {
            _ if gap.is_some() => Resumed::Gap,
            _ if attached.snapshot => Resumed::Snapshot,
            Position::After(_) if attached.gap || doubtful => Resumed::Gap,
            Position::After(_) => Resumed::Exact,
            _ => Resumed::New,
        };
        let mut headers = unpack(&stream.head);
        self.dress(&mut headers, Some(resumed));
        let mut response = Response::new(self.body(subscription, attached, gap));
        *response.headers_mut() = headers;
        Outcome::Answer(response)
    }

    /// Makes a head fit for the body that this client is given.
    pub(super) fn dress(self, headers: &mut HeaderMap, resumed: Option<Resumed>) {
        dress(headers, resumed);
        coding::declare(headers, self.route.settings.compress, self.coding);
    }

    /// The body of an attached client, with what it is told first.
    pub(super) fn body<R>(
        self,
        subscription: Subscription,
        attached: Attached,
        gap: Option<(GapReason, Option<u64>)>,
    ) -> SseBody<R> {
        let mut prelude = BytesMut::from(HEARTBEAT);
        if let Some((reason, lost)) = gap {
            self.announce(
                &mut prelude,
                subscription.stream(),
                attached.after,
                reason,
                lost,
            );
        }
        let mut retry = self.retry();
        if self.prime {
            prelude.extend_from_slice(&retry.take().unwrap_or_default());
            let mut ids = IdWriter::new(subscription.stream().epoch());
            encode_event(&mut prelude, "", "", Some(ids.write(attached.after)));
        }
        self.live(subscription, attached, prelude, retry)
    }

    /// When this client is to come back.
    fn retry(self) -> Option<Bytes> {
        let range = self.route.settings.retry.as_ref()?;
        let (least, most) = (millis(*range.start()), millis(*range.end()));
        let mut line = BytesMut::new();
        encode_retry(&mut line, fastrand::u64(least..=most.max(least)));
        Some(line.freeze())
    }

    fn live<R>(
        self,
        subscription: Subscription,
        attached: Attached,
        prelude: BytesMut,
        retry: Option<Bytes>,
    ) -> SseBody<R> {
        SseBody::live(Live::new(
            attached.reader,
            subscription,
            prelude.freeze(),
            retry,
            self.route.settings.heartbeat,
            Arc::clone(&self.route.observer),
            self.coding,
        ))
    }

    /// Tells of a gap before the first block: in a comment, and in an event if
    /// the route asks for one. The event's id is the place just before that
    /// block, so that whoever is cut right after it goes on there.
    fn announce(
        self,
        out: &mut BytesMut,
        stream: &Stream,
        after: u64,
        reason: GapReason,
        lost: Option<u64>,
    ) {
        write_gap(out, reason, lost);
        if let Some(event) = &self.route.settings.gap_event {
            let data = gap_data(reason.as_str(), lost);
            let mut ids = IdWriter::new(stream.epoch());
            encode_event(out, event, &data, Some(ids.write(after)));
        }
    }

    fn observe(self, reason: GapReason) {
        self.route.observer.observe(Signal::Gap(reason));
    }

    /// Nothing is left to read. 204 is what stops an `EventSource`; others take
    /// an end of the same kind as the original's for what it is.
    fn finished<R>(self, stream: &Arc<Stream>, ending: Ending) -> Outcome<R> {
        if self.get {
            return Outcome::Answer(no_content(stream));
        }
        let mut headers = unpack(&stream.head);
        let body = match ending {
            Ending::Complete => {
                // Of nothing there is nothing to compress.
                let plain = Client {
                    coding: None,
                    ..self
                };
                plain.dress(&mut headers, Some(Resumed::Exact));
                SseBody::empty()
            }
            Ending::Aborted(_) => match stream.attach(Position::Live) {
                Some((subscription, attached)) => {
                    self.dress(&mut headers, Some(Resumed::Exact));
                    self.body(subscription, attached, None)
                }
                // A clean end would say that nothing is missing.
                None => return Outcome::Afresh,
            },
        };
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        Outcome::Answer(response)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn no_content<R>(stream: &Stream) -> Response<SseBody<R>> {
    let mut response = Response::new(SseBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    readable(response, stream)
}

/// Lets pages of other origins read the answer, as they could the stream's
/// head: to one that may not, it is a lost connection, to be tried again.
fn readable<R>(mut response: Response<SseBody<R>>, stream: &Stream) -> Response<SseBody<R>> {
    for (name, value) in &stream.head {
        if name == VARY || name.as_str().starts_with("access-control-") {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response
}

/// An id of ours that is not known here, with a request that must not be sent
/// twice.
pub(super) fn unknown_id<R>() -> Response<SseBody<R>> {
    text(
        StatusCode::GONE,
        "The stream of this Last-Event-ID is not known here. The request was not executed.\n",
    )
}

pub(super) fn trimmed<R>(stream: &Stream) -> Response<SseBody<R>> {
    let answer = text(
        StatusCode::GONE,
        "Events after this Last-Event-ID are no longer retained. The request was not executed.\n",
    );
    readable(answer, stream)
}

/// Whether this request was sent before cannot be known just now.
pub(super) fn unknown_name<R>() -> Response<SseBody<R>> {
    let mut response = text(
        StatusCode::SERVICE_UNAVAILABLE,
        "Whether this request was sent before cannot be known just now. It was not executed.\n",
    );
    let soon = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, soon);
    response
}

/// No stream can be made just now.
pub(super) fn unavailable<R>() -> Response<SseBody<R>> {
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "No stream can be opened.\n",
    )
}

/// The upstream's own last word on this stream.
fn refused<R>(stream: &Stream, status: u16) -> Response<SseBody<R>> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::GONE);
    let answer = text(status, "The upstream refused to go on with this stream.\n");
    readable(answer, stream)
}

/// The request has a name that another is running under.
pub(super) fn conflict<R>() -> Response<SseBody<R>> {
    text(
        StatusCode::CONFLICT,
        "A stream of that name is running. The request was not executed.\n",
    )
}

/// The request was given up before there was an answer.
pub(super) fn stopped<R>() -> Response<SseBody<R>> {
    text(
        StatusCode::CONFLICT,
        "The request was stopped, or another took its name.\n",
    )
}

/// The client did not send what it said it would.
pub(super) fn unreadable<R>() -> Response<SseBody<R>> {
    text(
        StatusCode::BAD_REQUEST,
        "The request's body broke off. The request was not executed.\n",
    )
}

/// What becomes of this client's stream cannot be known while the journal is out
/// of reach: it waits for that, and comes back.
pub(super) fn held<R>(route: &Route, head: &Head) -> Response<SseBody<R>> {
    let mut back = Box::pin(route.engine.journal_is_back());
    let mut closing = Box::pin(route.engine.closing());
    let end = Box::pin(poll_fn(move |cx| {
        let closing = closing.as_mut().poll(cx).is_ready();
        if closing || back.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }));
    let observer = Arc::clone(&route.observer);
    let body = SseBody::held(route.settings.heartbeat, observer, end);
    let mut response = Response::new(body);
    let mut headers = unpack(head);
    dress(&mut headers, None);
    coding::declare(&mut headers, route.settings.compress, None);
    *response.headers_mut() = headers;
    response
}

/// A short answer of our own.
pub(super) fn text<R>(status: StatusCode, body: &'static str) -> Response<SseBody<R>> {
    let mut response = Response::new(SseBody::text(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// Where a client that brings no id begins.
fn join_position(join: Join, resume: UpstreamResume) -> Position {
    match (join, resume) {
        (Join::Live, UpstreamResume::Snapshot) => Position::Snapshot,
        (Join::Live, _) => Position::Live,
        (Join::Start, _) => Position::Oldest,
        (Join::Tail(n), _) => Position::Tail(n),
    }
}
