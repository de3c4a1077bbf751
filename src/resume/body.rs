//! The response body a client is given.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::Span;

use super::packer::Packer;
use super::settings::Coding;
use super::tally::Tally;
use crate::log::{Chunk, Ending, Next, Reader};
use crate::observe::{GapReason, Observer, Signal};
use crate::stream::gap_comment;
#[cfg(feature = "proxy")]
use crate::stream::policy::Kind as StreamKind;
use crate::stream::source::BoxError;
use crate::stream::stream::Subscription;
use crate::wire::{Boundary, HEARTBEAT, LeadingBom, encode_comment, encode_retry};

type Poller<T> = Poll<Option<Result<T, BoxError>>>;

pin_project! {
    /// The body of every response that passed the layer.
    pub struct SseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        // What is not an event stream goes through untouched.
        Plain { #[pin] body: B },
        Verbatim { #[pin] body: B, pace: Pace, tap: Tap },
        Text { text: Bytes },
        Held { pace: Pace, begun: bool, end: Close },
        // Boxed: most responses are plain, and should not carry its size.
        Live { live: Box<Live> },
        Empty,
    }
}

impl<B> SseBody<B> {
    pub(super) fn plain(body: B) -> Self {
        Self {
            kind: Kind::Plain { body },
        }
    }

    /// Bytes as they come, with heartbeats, until the upstream ends or, between
    /// two events, after `close`.
    pub(super) fn verbatim(
        body: B,
        heartbeat: Duration,
        observer: Arc<dyn Observer>,
        close: Option<Close>,
    ) -> Self {
        Self {
            kind: Kind::Verbatim {
                body,
                pace: Pace::new(heartbeat, observer),
                tap: Tap {
                    close,
                    ..Tap::default()
                },
            },
        }
    }

    pub(super) fn live(live: Live) -> Self {
        Self {
            kind: Kind::Live {
                live: Box::new(live),
            },
        }
    }

    /// Heartbeats, and a clean end once there is a reason to come back.
    pub(super) fn held(heartbeat: Duration, observer: Arc<dyn Observer>, end: Close) -> Self {
        Self {
            kind: Kind::Held {
                pace: Pace::new(heartbeat, observer),
                begun: false,
                end,
            },
        }
    }

    pub(super) fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    /// Whether a stream's events are in it.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.kind, Kind::Live { .. })
    }

    /// Has a stream's events counted, and why it ended.
    pub(super) fn count_in(&mut self, tally: Arc<Tally>) {
        if let Kind::Live { live } = &mut self.kind {
            live.tally = Some(tally);
        }
    }

    /// Whether a client takes an end of it for no more than a reason to come
    /// back: the end of an answer would mean that it is whole.
    #[cfg(feature = "proxy")]
    pub(crate) fn may_end_early(&self) -> bool {
        match &self.kind {
            Kind::Live { live } => live.subscription.stream().policy.kind != StreamKind::OneShot,
            Kind::Held { .. } => true,
            _ => false,
        }
    }

    /// Whether it is the answer to one request, which has an end of its own.
    #[cfg(feature = "proxy")]
    pub(crate) fn is_answer(&self) -> bool {
        let Kind::Live { live } = &self.kind else {
            return false;
        };
        live.subscription.stream().policy.kind == StreamKind::OneShot
    }

    /// Has it end cleanly before its time, for this reason, in its next frames.
    /// False where it has nothing to say before it ends.
    #[cfg(feature = "proxy")]
    pub(crate) fn end_early(self: Pin<&mut Self>, reason: &'static str) -> bool {
        match self.project().kind.project() {
            KindProjection::Live { live } => {
                live.leaving.get_or_insert(reason);
                true
            }
            _ => false,
        }
    }

    /// A short text of our own.
    pub(super) fn text(text: Bytes) -> Self {
        Self {
            kind: Kind::Text { text },
        }
    }
}

/// An empty body: what layers such as `Cors` and `Timeout` answer with.
impl<B> Default for SseBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B> Body for SseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poller<Frame<Bytes>> {
        match self.project().kind.project() {
            KindProjection::Plain { body } => body.poll_frame(cx).map_err(Into::into),
            KindProjection::Verbatim { body, pace, tap } => {
                if !std::mem::replace(&mut tap.begun, true) {
                    pace.wrote();
                    let beat = Frame::data(Bytes::from_static(HEARTBEAT));
                    return Poll::Ready(Some(Ok(beat)));
                }
                if tap.poll_close(cx).is_ready() {
                    return Poll::Ready(None);
                }
                match body.poll_frame(cx).map_err(Into::into) {
                    Poll::Pending if tap.boundary.between_blocks() => {
                        pace.poll_beat(cx).map(|beat| Some(Ok(Frame::data(beat))))
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        pace.wrote();
                        Poll::Ready(Some(Ok(frame.map_data(|data| tap.pass(data)))))
                    }
                    other => other,
                }
            }
            KindProjection::Text { text } if text.is_empty() => Poll::Ready(None),
            KindProjection::Text { text } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(text)))))
            }
            KindProjection::Held { pace, begun, end } => {
                if !std::mem::replace(begun, true) {
                    pace.wrote();
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(HEARTBEAT)))));
                }
                if end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                pace.poll_beat(cx).map(|beat| Some(Ok(Frame::data(beat))))
            }
            KindProjection::Live { live } => live.poll(cx).map_ok(Frame::data),
            KindProjection::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Plain { body } => body.is_end_stream(),
            Kind::Empty => true,
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Plain { body } => body.size_hint(),
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Text { text } => SizeHint::with_exact(text.remaining() as u64),
            Kind::Verbatim { .. } | Kind::Held { .. } | Kind::Live { .. } => SizeHint::default(),
        }
    }
}

/// Follows bytes that go on verbatim.
#[derive(Default)]
struct Tap {
    /// The first heartbeat is out.
    begun: bool,
    /// After which a byte order mark would no longer lead the stream, and
    /// would be read as part of a field's name.
    bom: LeadingBom,
    boundary: Boundary,
    close: Option<Close>,
    closing: bool,
}

/// Resolves when a body should end.
pub(super) type Close = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Tap {
    /// Ready when the body should end, and no event is cut by that.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(close) = &mut self.close {
            self.closing = close.as_mut().poll(cx).is_ready();
        }
        if self.closing {
            self.close = None;
        }
        if self.closing && self.boundary.between_blocks() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn pass(&mut self, data: Bytes) -> Bytes {
        let data = self.bom.strip(data);
        self.boundary.feed(&data);
        data
    }
}

/// A client's share of a stream.
pub(super) struct Live {
    reader: Reader,
    // After the reader: it counts as read until the reader is gone.
    subscription: Subscription,
    /// Written before anything else.
    prelude: Option<Bytes>,
    /// The line of `retry:` that goes before the first block.
    retry: Option<Bytes>,
    pace: Pace,
    /// Why the connection will be cut, once what was written is on its way.
    cut: Option<BoxError>,
    /// Set when the process is going down: when to end, cleanly.
    close: Option<Pin<Box<Sleep>>>,
    /// Why it is to end, cleanly, before its time.
    leaving: Option<&'static str>,
    /// It has been told when to come back.
    parted: bool,
    /// What compresses it, if anything does.
    packer: Option<Box<Packer>>,
    /// The request's. To enter it for each event would cost more than the rest.
    span: Span,
    /// Where the client's share is counted, if anywhere.
    tally: Option<Arc<Tally>>,
}

impl Live {
    pub(super) fn new(
        reader: Reader,
        subscription: Subscription,
        prelude: Bytes,
        retry: Option<Bytes>,
        heartbeat: Duration,
        observer: Arc<dyn Observer>,
        coding: Option<Coding>,
    ) -> Self {
        let packer = coding.map(|coding| Box::new(Packer::new(coding)));
        Self {
            reader: match packer {
                Some(_) => reader.by_unit(),
                None => reader,
            },
            packer,
            subscription,
            prelude: Some(prelude),
            retry,
            pace: Pace::new(heartbeat, observer),
            cut: None,
            close: None,
            leaving: None,
            parted: false,
            span: Span::current(),
            tally: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poller<Bytes> {
        if self.packer.as_ref().is_some_and(|p| p.has_ended()) {
            return Poll::Ready(None);
        }
        let part = ready!(self.poll_part(cx));
        let Some(packer) = &mut self.packer else {
            return Poll::Ready(part.map(|part| part.map(Part::plain)));
        };
        Poll::Ready(match part {
            Some(Ok(Part::Own(own))) => Some(Ok(packer.own(&own))),
            Some(Ok(Part::Blocks(retry, chunk))) => {
                let observer = &*self.pace.observer;
                Some(Ok(packer.blocks(
                    &retry.unwrap_or_default(),
                    &chunk,
                    observer,
                )))
            }
            Some(Err(cut)) => Some(Err(cut)),
            None => packer.end().map(Ok),
        })
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poller<Part> {
        if let Some(prelude) = self.prelude.take() {
            self.pace.wrote();
            return Poll::Ready(Some(Ok(Part::Own(prelude))));
        }
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        loop {
            if let Some(close) = &mut self.close
                && close.as_mut().poll(cx).is_ready()
            {
                self.close = None;
                self.leaving.get_or_insert("drained");
            }
            if let Some(reason) = self.leaving {
                self.ended(reason);
                return Poll::Ready(self.farewell().map(|line| Ok(Part::Own(line))));
            }
            match self.reader.poll_next(cx) {
                Poll::Ready(Next::CloseAt(at)) => {
                    // The first moment stands: being asked again is no respite.
                    self.close.get_or_insert_with(|| Box::pin(sleep_until(at)));
                }
                Poll::Ready(next) => match self.write(next) {
                    // Servers drop what they have not flushed when a body
                    // fails, and flush when it has nothing to say.
                    Some(Err(cut)) => {
                        self.cut = Some(cut);
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    written => return Poll::Ready(written),
                },
                Poll::Pending => {
                    let beat = self.pace.poll_beat(cx);
                    return beat.map(|beat| Some(Ok(Part::Own(beat))));
                }
            }
        }
    }

    fn write(&mut self, next: Next) -> Option<Result<Part, BoxError>> {
        let observer = &self.pace.observer;
        match next {
            Next::Data {
                chunk,
                events,
                replayed,
            } => {
                observer.observe(Signal::EventsOut(events));
                if let Some(tally) = &self.tally {
                    tally.add_events(events);
                }
                if replayed > 0 {
                    observer.observe(Signal::Replayed(replayed));
                }
                self.pace.wrote();
                Some(Ok(Part::Blocks(self.retry.take(), chunk)))
            }
            Next::Gap(lost) => {
                if let Some(tally) = &self.tally {
                    tally.add_gap();
                }
                let mut line = BytesMut::new();
                write_gap(&mut line, GapReason::Upstream, lost);
                self.pace.wrote();
                Some(Ok(Part::Own(line.freeze())))
            }
            Next::Comment(line) => {
                self.pace.wrote();
                Some(Ok(Part::Own(line)))
            }
            Next::Lagged(lost) => {
                observer.observe(Signal::Gap(GapReason::Lagged));
                tracing::info!(
                    parent: &self.span,
                    lost,
                    "a client was slower than its buffer is deep; it is cut"
                );
                self.ended("cut: fell behind");
                Some(Err(Box::new(Cut::Lagged(lost))))
            }
            Next::Ended(Ending::Aborted(reason)) => {
                self.ended(reason);
                Some(Err(Box::new(Cut::Aborted(reason))))
            }
            Next::CloseAt(_) | Next::Ended(Ending::Complete) => {
                self.ended("complete");
                None
            }
        }
    }

    /// Tells the client, once, when to come back. The line is bare, as a
    /// heartbeat is: clients that know it heed it when they have read it, and a
    /// blank line after it would be an event to some.
    fn farewell(&mut self) -> Option<Bytes> {
        if std::mem::replace(&mut self.parted, true) {
            return None;
        }
        let mut line = BytesMut::new();
        encode_retry(&mut line, self.subscription.stream().farewell()?);
        Some(line.freeze())
    }

    fn ended(&self, reason: &'static str) {
        if let Some(tally) = &self.tally {
            tally.ended(reason);
        }
    }
}

/// What is written at once.
enum Part {
    /// What is this client's alone.
    Own(Bytes),
    /// Blocks, with the line of `retry:` before them if there is one. In one
    /// piece: alone before a blank line it would be an event to some clients.
    Blocks(Option<Bytes>, Chunk),
}

impl Part {
    fn plain(self) -> Bytes {
        let (retry, blocks) = match self {
            Self::Own(bytes) | Self::Blocks(None, Chunk { bytes, .. }) => return bytes,
            Self::Blocks(Some(retry), chunk) => (retry, chunk.bytes),
        };
        let mut joined = BytesMut::with_capacity(retry.len() + blocks.len());
        joined.extend_from_slice(&retry);
        joined.extend_from_slice(&blocks);
        joined.freeze()
    }
}

/// The comment that tells of a gap.
pub(super) fn write_gap(out: &mut BytesMut, reason: GapReason, lost: Option<u64>) {
    encode_comment(out, gap_comment(reason.as_str(), lost).as_bytes());
}

/// Heartbeats for one client.
///
/// A write only notes the time. The timer, once set, is left alone until it
/// fires, and then set to the time of the last write plus the silence allowed:
/// it is touched once per heartbeat interval, not once per write.
struct Pace {
    silence: Duration,
    wrote: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    observer: Arc<dyn Observer>,
}

impl Pace {
    fn new(silence: Duration, observer: Arc<dyn Observer>) -> Self {
        Self {
            silence,
            wrote: Instant::now(),
            timer: None,
            observer,
        }
    }

    fn wrote(&mut self) {
        self.wrote = Instant::now();
    }

    fn poll_beat(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if self.silence.is_zero() {
            return Poll::Pending;
        }
        loop {
            // A silence past the end of time is never broken.
            let Some(due) = self.wrote.checked_add(self.silence) else {
                return Poll::Pending;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            ready!(timer.as_mut().poll(cx));
            if Instant::now() < due {
                timer.as_mut().reset(due);
                continue;
            }
            self.wrote();
            self.observer.observe(Signal::Heartbeat);
            return Poll::Ready(Bytes::from_static(HEARTBEAT));
        }
    }
}

/// Why a client's connection is aborted rather than ended.
#[derive(Debug)]
enum Cut {
    Lagged(u64),
    Aborted(&'static str),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(lost) => write!(
                f,
                "event stream cut: the client fell {lost} events behind what is retained"
            ),
            Self::Aborted(reason) => write!(f, "event stream cut: {reason}"),
        }
    }
}

impl std::error::Error for Cut {}

impl<B> fmt::Debug for SseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Plain { .. } => "plain",
            Kind::Verbatim { .. } => "verbatim",
            Kind::Text { .. } => "text",
            Kind::Held { .. } => "held",
            Kind::Live { live } => {
                return f
                    .debug_tuple("SseBody")
                    .field(live.subscription.stream())
                    .finish();
            }
            Kind::Empty => "empty",
        };
        f.debug_tuple("SseBody").field(&kind).finish()
    }
}
