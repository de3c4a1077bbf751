//! One request on a connection of its own, for answers that may last.
//!
//! An event stream takes its connection for itself, so there is nothing to gain
//! from a pool. And once its head is read there is nothing hyper could add: it
//! would keep buffers of 16 KiB for as long as the stream lasts, and a task of
//! its own between the socket and whoever reads the body.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use http::{Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service as _;

use super::dial::{Dial, DialTimeout};
use super::gate::Gate;
use super::socket::{Framing, SocketBody};
use super::{BoxError, MAX_BUFFER};
use crate::resume::is_event_stream;

type Socket = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;
type Gated = TokioIo<Gate<Socket>>;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// Read from the socket.
    Stream(Box<SocketBody<Socket>>),
    /// Left to hyper.
    Other(Incoming),
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was sent.
    Connect(BoxError),
    /// Something may have been sent.
    Broken(hyper::Error),
}

impl Failure {
    /// Whether connecting took too long.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Connect(error) if error.is::<DialTimeout>())
    }
}

/// Connects to `server`, asks, and waits for the head of the answer.
pub(super) async fn ask<B>(
    mut dial: Dial,
    server: Uri,
    request: Request<B>,
) -> Result<Response<Answer>, Failure>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let socket = dial.call(server).await.map_err(Failure::Connect)?;
    let (gate, key) = Gate::new(TokioIo::new(socket));
    let mut builder = Builder::new();
    let handshake = builder
        .max_buf_size(MAX_BUFFER)
        .handshake(TokioIo::new(gate));
    let (mut sender, connection) = handshake.await.map_err(Failure::Broken)?;
    let mut connection = Box::pin(connection);
    let answer = driven(&mut connection, sender.send_request(request));
    let (head, body) = answer.await.map_err(Failure::Broken)?.into_parts();
    let is_stream = is_event_stream(head.status, &head.headers);
    let framing = Framing::of(&head.headers).filter(|_| is_stream);
    let answer = if let Some(framing) = framing {
        let parts = Pin::into_inner(connection).into_parts();
        let (socket, ahead) = parts.io.into_inner().into_parts();
        Answer::Stream(Box::new(SocketBody::new(socket, framing, ahead)))
    } else {
        // Without its sender it ends with this answer.
        drop(sender);
        key.open();
        tokio::spawn(connection);
        Answer::Other(body)
    };
    Ok(Response::from_parts(head, answer))
}

/// The future's output, with the connection at work meanwhile.
async fn driven<B, F>(connection: &mut Pin<Box<Connection<Gated, B>>>, future: F) -> F::Output
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    F: Future,
{
    let mut future = pin!(future);
    let mut over = false;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        // Its failure, too, is told by the future.
        over = over || connection.as_mut().poll(cx).is_ready();
        future.as_mut().poll(cx)
    })
    .await
}
