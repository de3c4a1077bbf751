use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::Outgoing;
use super::{Taken, head};

/// What a client may send while it is being answered: the requests it will ask
/// next. More is left in its socket.
const AHEAD: usize = 8 << 10;

/// Read at once; hardly ever is there anything to read.
const READ: usize = 1 << 10;

pin_project! {
    /// An event stream on its way to one client.
    ///
    /// Resolves to the socket, and what the client sent meanwhile, when the
    /// stream is over and the next request may follow; to `None` when the
    /// client is gone, or must see that the stream was cut; and to an error when
    /// the socket failed.
    #[derive(Debug)]
    pub(crate) struct EventStream<I, B> {
        io: Option<I>,
        #[pin]
        body: B,
        out: Outgoing,
        ended: Option<Ended>,
        close: bool,
        ahead: BytesMut,
    }
}

/// How the body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Complete,
    Cut,
}

/// A connection between two requests.
#[derive(Debug)]
pub(crate) struct Kept<I> {
    pub(crate) io: I,
    /// What the client sent already.
    pub(crate) ahead: BytesMut,
    /// There is to be no next request.
    pub(crate) close: bool,
}

impl<I, B: Body<Data = Bytes>> EventStream<I, B> {
    /// Begins with what the client sent `ahead`. With `close` the connection
    /// ends with the stream, even if the client did not ask for that.
    pub(crate) fn new(io: I, ahead: BytesMut, taken: Taken<B>, close: bool) -> Self {
        let close = close || taken.asked.close;
        let (head, body) = taken.response.into_parts();
        Self {
            io: Some(io),
            body,
            out: Outgoing::new(head::encode(&head, close)),
            ended: None,
            close,
            ahead,
        }
    }
}

impl<I, B> Future for EventStream<I, B>
where
    I: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes>,
{
    type Output = io::Result<Option<Kept<I>>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(io) = this.io.as_mut() else {
            return Poll::Ready(Ok(None));
        };
        if is_gone(io, this.ahead, cx)? {
            return Poll::Ready(Ok(None));
        }
        let mut asleep = false;
        loop {
            while !asleep && this.ended.is_none() && this.out.takes_more() {
                match this.body.as_mut().poll_frame(cx) {
                    // An event stream has no trailers.
                    Poll::Ready(Some(Ok(frame))) => {
                        this.out.add(frame.into_data().unwrap_or_default());
                    }
                    Poll::Ready(Some(Err(_))) => *this.ended = Some(Ended::Cut),
                    Poll::Ready(None) => {
                        this.out.end();
                        *this.ended = Some(Ended::Complete);
                    }
                    Poll::Pending => asleep = true,
                }
            }
            if !this.out.is_empty() {
                ready!(this.out.poll_write(io, cx))?;
            } else if let Some(ended) = *this.ended {
                ready!(Pin::new(io).poll_flush(cx))?;
                let kept = this.io.take().filter(|_| ended == Ended::Complete);
                return Poll::Ready(Ok(kept.map(|io| Kept {
                    io,
                    ahead: std::mem::take(this.ahead),
                    close: *this.close,
                })));
            } else {
                // What TLS holds back goes out; if it has to wait, it will wake us.
                let _ = Pin::new(io).poll_flush(cx)?;
                return Poll::Pending;
            }
        }
    }
}

/// Whether the client hung up. What it says instead is kept for later.
fn is_gone<I>(io: &mut I, ahead: &mut BytesMut, cx: &mut Context<'_>) -> io::Result<bool>
where
    I: AsyncRead + Unpin,
{
    while ahead.len() < AHEAD {
        let mut space = [MaybeUninit::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut space);
        match Pin::new(&mut *io).poll_read(cx, &mut read)? {
            Poll::Ready(()) if read.filled().is_empty() => return Ok(true),
            Poll::Ready(()) => ahead.extend_from_slice(read.filled()),
            Poll::Pending => return Ok(false),
        }
    }
    Ok(false)
}
