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
use hyper_util::rt::TokioIo;
use tower_service::Service as _;

use super::dial::{self, Dial, DialTimeout};
use super::gate::Gate;
use super::multiplex::Slot;
use super::socket::{Framing, SocketBody};
use super::{BoxError, MAX_BUFFER};
use crate::resume::is_event_stream;

type Socket = TokioIo<dial::Socket>;
type Gated = TokioIo<Gate<Socket>>;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// Read from the socket.
    Stream(Box<SocketBody<Socket>>),
    /// Left to hyper.
    Other(Incoming),
    /// On a connection with others.
    Shared {
        body: Incoming,
        /// Free again when the body is dropped.
        _slot: Slot,
    },
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was sent.
    Connect(BoxError),
    /// Something may have been sent, and is not heeded.
    Unprocessed(hyper::Error),
    /// Something may have been sent.
    Broken(hyper::Error),
    /// The answer was not HTTP.
    Malformed(BoxError),
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
    ask_on(socket, request).await
}

/// Asks on a connection that was made for it.
pub(super) async fn ask_on<B>(
    socket: dial::Socket,
    request: Request<B>,
) -> Result<Response<Answer>, Failure>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
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
        // No more than the head was let through; else bytes would be lost.
        if !parts.read_buf.is_empty() {
            return Err(Failure::Malformed("its head ends where none can".into()));
        }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::proxy::config::model::Upstream;
    use crate::proxy::metrics::Metrics;

    /// What is made of this answer.
    async fn answer(text: &'static str) -> Result<Answer, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = socket.read(&mut request).await.unwrap();
            socket.write_all(text.as_bytes()).await.unwrap();
            let _ = socket.read(&mut request).await;
        });
        let metrics = Metrics::new().connects("app");
        let dial = Dial::new(&Upstream::new(Vec::new()), metrics).unwrap();
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let answer = ask(dial, server.parse().unwrap(), request).await;
        answer.map(Response::into_body)
    }

    #[tokio::test]
    async fn an_event_stream_is_read_from_its_socket() {
        let first = "data: 1\n\n";
        for head in [
            "HTTP/1.1 200 OK",
            "\r\nHTTP/1.1 200 OK",
            "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK",
        ] {
            let text = format!("{head}\r\ncontent-type: text/event-stream\r\n\r\n{first}").leak();
            let Ok(Answer::Stream(mut body)) = answer(text).await else {
                panic!("hyper has it: {text}");
            };
            let data = poll_fn(|cx| body.poll_data(cx)).await;
            assert_eq!(data.unwrap().unwrap(), first);
        }
    }

    #[tokio::test]
    async fn everything_else_is_left_to_hyper() {
        let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        for (head, body) in [
            (stream, "content-length: 9\r\n\r\ndata: 1\n\n"),
            (stream, "transfer-encoding: gzip, chunked\r\n\r\n"),
            ("HTTP/1.1 200 OK\r\n", "content-type: text/html\r\n\r\n"),
        ] {
            let answer = answer(format!("{head}{body}").leak()).await;
            assert!(matches!(answer, Ok(Answer::Other(_))), "{head}{body}");
        }
    }
}
