//! What others published, and what the stream wants.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Head, State};
use crate::journal::News;
use crate::journal::redis::scripts::{self, Argument, Call};

impl State {
    /// Something became of the stream, on another replica.
    pub(in super::super) fn stirred(&mut self, what: &[u8], now: Instant) {
        match what {
            b"record" => self.behind = true,
            _ => self.stir(now),
        }
    }

    pub(super) fn stir(&mut self, now: Instant) {
        self.outdated = true;
        self.lease.stirred(now);
    }

    /// What was published for a while may have been missed.
    pub(in super::super) fn may_have_missed(&mut self, now: Instant) {
        self.behind = true;
        self.stir(now);
    }

    // === What the stream wants ===

    pub(in super::super) fn begin(&mut self, bytes: Bytes, retain: Duration, now: Instant) {
        self.head = Some(Head {
            bytes,
            retain,
            known: false,
        });
        self.lease.begun(now);
    }

    /// The head of a stream that Redis has, so that it can be given back.
    pub(in super::super) fn keep_head(&mut self, bytes: Bytes, retain: Duration) {
        self.head = Some(Head {
            bytes,
            retain,
            known: true,
        });
    }

    pub(in super::super) fn attend(&mut self, read: bool, now: Instant) {
        // What is asked just now was asked on behalf of nobody.
        self.outdated |= read != self.read;
        self.read = read;
        self.lease.attend(read, now);
    }

    pub(in super::super) fn trim(&mut self, low: u64) {
        self.low = self.low.max(low);
    }

    pub(in super::super) fn poll_news(&mut self, cx: &Context<'_>) -> Poll<News> {
        if let Some(news) = self.news.pop_front() {
            return Poll::Ready(news);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// News that have come already.
    pub(in super::super) fn take_news(&mut self) -> VecDeque<News> {
        std::mem::take(&mut self.news)
    }

    /// Whether a poll has to wake the keeper.
    pub(in super::super) fn wants_more(&self) -> bool {
        self.behind && !self.owned && self.news.is_empty() && !self.asking
    }

    /// Gives up ownership; what to send.
    pub(in super::super) fn release(&mut self, now: Instant) -> Option<Call> {
        let call = (self.owns() && self.token > 0).then(|| self.release_call());
        self.lease.released(now);
        self.disown();
        call
    }

    /// What to send for the owner to end the stream.
    pub(in super::super) fn stop_call(&self, forget: bool) -> Call {
        let how: u64 = if forget { 2 } else { 1 };
        Call::new(&scripts::STOP, &self.keys, [how.argument()])
    }

    /// Nothing is to be kept; what to send.
    pub(in super::super) fn forget(&mut self) -> Option<Call> {
        let arguments = [self.owner().argument(), self.token.argument()];
        let call = (self.owns() && self.token > 0)
            .then(|| Call::new(&scripts::FORGET, &self.keys, arguments));
        self.over = true;
        self.dropped = true;
        call
    }

    pub(in super::super) fn drop_it(&mut self) {
        self.dropped = true;
        self.settled = true;
        self.waker = None;
    }
}
