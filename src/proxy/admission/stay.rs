//! What a client has of the proxy for as long as its answer lasts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use super::super::activity::Busy;
use super::places::Permit;

/// Goes with an answer's body.
#[derive(Debug)]
pub(crate) struct Stay {
    _places: Vec<Permit>,
    _busy: Option<Busy>,
    leave: Option<Pin<Box<Sleep>>>,
}

impl Stay {
    /// `None` where there is nothing to hold and nothing to wait for.
    pub(crate) fn new(
        places: Vec<Permit>,
        busy: Option<Busy>,
        leave: Option<Instant>,
    ) -> Option<Box<Self>> {
        if places.is_empty() && busy.is_none() && leave.is_none() {
            return None;
        }
        Some(Box::new(Self {
            _places: places,
            _busy: busy,
            leave: leave.map(|leave| Box::pin(sleep_until(leave))),
        }))
    }

    /// Ready, once, when the body should end. The timer is set once, and after
    /// that costs a look at it.
    pub(crate) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(leave) = &mut self.leave else {
            return Poll::Pending;
        };
        ready!(leave.as_mut().poll(cx));
        self.leave = None;
        Poll::Ready(())
    }
}
