//! What leaves here must read like what hyper would have written.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};

use super::super::activity::Terms;
use super::super::forward::Peer;
use super::{Asked, EventStream, HandingOver, Handover, Rewind};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// One step of a body.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    /// Nothing now, but in a moment.
    Wait,
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => vec(any::<u8>(), 0..40).prop_map(Step::Data),
        1 => vec(any::<u8>(), 60_000..70_000).prop_map(Step::Data),
        3 => Just(Step::Wait),
        1 => Just(Step::Fail),
    ];
    vec(step, 0..40)
}

/// A body that takes these steps.
struct Script(std::vec::IntoIter<Step>);

impl Body for Script {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.next() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Fail) => Poll::Ready(Some(Err(std::io::ErrorKind::Other.into()))),
            None => Poll::Ready(None),
        }
    }
}

fn response<B>(body: B) -> Response<B> {
    let response = Response::builder()
        .header("content-type", "text/event-stream")
        .header("x-twice", "1")
        .header("x-twice", "2");
    response.body(body).unwrap()
}

/// A socket that takes no more than so many bytes at once.
struct Narrow(DuplexStream, usize);

impl AsyncRead for Narrow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let most = buf.len().min(self.1);
        Pin::new(&mut self.0).poll_write(cx, &buf[..most])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn through_hyper(steps: Vec<Step>) -> Vec<u8> {
    let (ours, mut theirs) = duplex(1 << 16);
    theirs.write_all(REQUEST).await.unwrap();
    let service = service_fn(move |_| {
        let response = response(Script(steps.clone().into_iter()));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut hyper = http1::Builder::new();
    let connection = hyper
        .keep_alive(false)
        .serve_connection(TokioIo::new(ours), service);
    let mut seen = Vec::new();
    let (_, read) = tokio::join!(connection, theirs.read_to_end(&mut seen));
    read.unwrap();
    seen
}

async fn through_us(steps: Vec<Step>, at_once: usize) -> Vec<u8> {
    let (ours, mut theirs) = duplex(1 << 16);
    let handover = Handover::new();
    let body = Script(steps.into_iter());
    handover.leave(response(body), Asked { close: true });
    let taken = handover.take().unwrap();
    let ours = Narrow(ours, at_once);
    let stream = EventStream::new(ours, BytesMut::new(), taken, false);
    let mut seen = Vec::new();
    let ((), read) = tokio::join!(
        async {
            let ended = stream.await.unwrap();
            if let Some(mut kept) = ended {
                assert!(kept.close);
                kept.io.shutdown().await.unwrap();
            }
        },
        theirs.read_to_end(&mut seen)
    );
    read.unwrap();
    seen
}

/// What a client makes of an answer: status line and headers, the body, and
/// whether it was complete.
#[derive(Debug, PartialEq)]
struct Read {
    status: String,
    headers: BTreeMap<String, Vec<String>>,
    body: Vec<u8>,
    complete: bool,
}

fn read(bytes: &[u8]) -> Option<Read> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().to_owned();
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        // The time of day may differ.
        let value = if name == "date" { "today" } else { value };
        headers
            .entry(name.to_owned())
            .or_default()
            .push(value.to_owned());
    }
    let (mut rest, mut body) = (&bytes[end + 4..], Vec::new());
    let complete = loop {
        let Some(line) = rest.windows(2).position(|w| w == b"\r\n") else {
            break false;
        };
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            assert_eq!(rest, b"\r\n");
            break true;
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        let Some(after) = rest.get(size..size + 2) else {
            break false;
        };
        assert_eq!(after, b"\r\n");
        rest = &rest[size + 2..];
    };
    Some(Read {
        status,
        headers,
        body,
        complete,
    })
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_client_reads_what_hyper_would_have_written(steps in steps(), at_once in 1..200_000_usize) {
        let ours = read(&block_on(through_us(steps.clone(), at_once))).unwrap();
        let fails = steps.iter().any(|step| matches!(step, Step::Fail));
        prop_assert_eq!(ours.complete, !fails);
        // When a body fails, hyper drops what it had not yet written, down to
        // the head.
        if let Some(theirs) = read(&block_on(through_hyper(steps.clone()))) {
            prop_assert_eq!(&ours.status, &theirs.status);
            prop_assert_eq!(&ours.headers, &theirs.headers);
            prop_assert_eq!(ours.complete, theirs.complete);
            prop_assert!(ours.body.starts_with(&theirs.body));
        }
        let sent = steps.iter().take_while(|step| !matches!(step, Step::Fail));
        let all: Vec<u8> = sent.flat_map(|step| match step {
            Step::Data(data) => data.as_slice(),
            _ => &[],
        }).copied().collect();
        prop_assert!(ours.body == all);
    }
}

#[tokio::test]
async fn what_a_client_asked_meanwhile_is_kept_and_its_end_noticed() {
    let (ours, mut theirs) = duplex(1 << 10);
    let handover = Handover::new();
    let body = StreamBody::new(stream::iter([Ok::<_, Infallible>(Frame::data(
        Bytes::from_static(b":\n"),
    ))]));
    handover.leave(response(body), Asked { close: false });
    theirs.write_all(b"GET /next").await.unwrap();
    let ahead = BytesMut::from(&b"before, "[..]);
    let stream = EventStream::new(ours, ahead, handover.take().unwrap(), false);
    let kept = stream.await.unwrap().unwrap();
    assert_eq!(&kept.ahead[..], b"before, GET /next");
    assert!(!kept.close);

    let handover = Handover::new();
    let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    handover.leave(response(body), Asked { close: false });
    let stream = EventStream::new(kept.io, kept.ahead, handover.take().unwrap(), false);
    let mut stream = pin!(stream);
    assert!(futures_util::poll!(&mut stream).is_pending());
    drop(theirs);
    assert!(stream.await.unwrap().is_none());
}

#[tokio::test]
async fn nothing_is_taken_while_an_earlier_answer_waits() {
    let (ours, mut theirs) = duplex(4);
    let handover = Handover::new();
    handover.leave(response(Empty::<Bytes>::new()), Asked { close: false });
    let mut io = Rewind::new(ours, BytesMut::from(&b"ahead"[..]), handover.clone(), None);
    let mut earlier = pin!(io.write_all(b"an earlier answer"));
    assert!(futures_util::poll!(&mut earlier).is_pending());
    assert!(handover.take().is_none());
    let mut seen = [0; 17];
    let (written, read) = tokio::join!(earlier, theirs.read_exact(&mut seen));
    written.unwrap();
    read.unwrap();
    assert!(handover.take().is_some());
    let (_, ahead) = io.into_parts(b"read, ");
    assert_eq!(&ahead[..], b"read, ahead");
}

#[test]
fn only_what_hyper_need_not_write_is_taken() {
    let request = || Request::get("/");
    let asked =
        |request: http::request::Builder| Asked::of(&request.body(Empty::<Bytes>::new()).unwrap());
    assert_eq!(asked(request()), Some(Asked { close: false }));
    let close = request().header("connection", "keep-alive, Close");
    assert_eq!(asked(close), Some(Asked { close: true }));
    assert_eq!(asked(request().version(Version::HTTP_10)), None);
    assert_eq!(asked(request().method("POST")), None);
    assert_eq!(asked(request().method("HEAD")), None);
    let with_body = request().body(Full::new(Bytes::from_static(b"a"))).unwrap();
    assert_eq!(Asked::of(&with_body), None);

    let body = || StreamBody::new(stream::empty::<Result<Frame<Bytes>, Infallible>>());
    assert!(Asked::takes(&response(body())));
    assert!(!Asked::takes(&response(Empty::<Bytes>::new())));
    let mut other = response(body());
    other.headers_mut().insert("content-length", 3.into());
    assert!(!Asked::takes(&other));
    let mut other = response(body());
    *other.status_mut() = http::StatusCode::ACCEPTED;
    assert!(!Asked::takes(&other));
}

/// All the parts that take a stream out of hyper's hands, and two requests in
/// one write: the second is read after the stream, by whoever serves on.
#[tokio::test]
async fn a_stream_is_taken_and_hyper_writes_none_of_it() {
    let (ours, mut theirs) = duplex(1 << 16);
    theirs
        .write_all(&[REQUEST, REQUEST].concat())
        .await
        .unwrap();
    let stack = tower::service_fn(|_: Request<Incoming>| async {
        let steps = vec![Step::Data(b"data: 1\n\n".to_vec())];
        Ok::<_, Infallible>(response(Script(steps.into_iter())))
    });
    let handover = Handover::new();
    let peer = Peer::new("192.0.2.1:1".parse().unwrap(), false);
    let service = HandingOver::new(peer, Terms::default(), stack, handover.clone(), true);
    let io = Rewind::new(ours, BytesMut::new(), handover.clone(), None);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    let mut connection = Box::pin(connection);
    let taken = std::future::poll_fn(|cx| {
        assert!(connection.as_mut().poll(cx).is_pending());
        handover.take().map_or(Poll::Pending, Poll::Ready)
    });
    let taken = tokio::time::timeout(Duration::from_secs(20), taken).await;
    let parts = Pin::into_inner(connection).into_parts();
    let (io, ahead) = parts.io.into_inner().into_parts(&parts.read_buf);
    let kept = EventStream::new(io, ahead, taken.unwrap(), false).await;
    let kept = kept.unwrap().unwrap();
    assert_eq!(&kept.ahead[..], REQUEST);
    drop(kept);
    let mut seen = Vec::new();
    theirs.read_to_end(&mut seen).await.unwrap();
    let seen = read(&seen).unwrap();
    assert_eq!((&seen.body[..], seen.complete), (&b"data: 1\n\n"[..], true));
}
