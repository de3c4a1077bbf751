//! Connections that are old enough.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_sse::resume::settings::Mode;

use crate::feed::{Feed, PATIENCE, Reader, ask, stream_request};
use crate::harness::{Proxy, request};

/// Time enough for whatever is to come before it.
const AGE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_stream_ends_in_order_and_goes_on_where_it_was() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.max_connection_age = Some(AGE);
    let proxy = Proxy::start(config).await;
    let socket = TcpStream::connect(proxy.addr).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(socket));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(stream_request()).await.unwrap();
    Reader::of(response).ends().await;
    // The connection goes with it: the client is to come back elsewhere.
    let closed = timeout(PATIENCE, connection).await;
    closed.expect("an end").unwrap().unwrap();
    drop(Reader::open(proxy.addr).await);
}

#[tokio::test]
async fn http2_is_told_to_go_away_and_its_streams_end() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.max_connection_age = Some(AGE);
    let proxy = Proxy::start(config).await;
    let io = TokioIo::new(TcpStream::connect(proxy.addr).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://app.example/stream").body(Full::<Bytes>::default());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    Reader::of(response).ends().await;
    let closed = timeout(PATIENCE, connection).await;
    closed.expect("an end").unwrap().expect("in order");
}

/// The end of an answer would say that it is whole.
#[tokio::test]
async fn an_answer_that_is_asked_for_once_is_not_ended() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.routes[0].sse.mode = Mode::OneShot;
    config.limits.max_connection_age = Some(AGE);
    let proxy = Proxy::start(config).await;
    let mut posted =
        Reader::of(ask(proxy.addr, "127.0.0.1", request("POST", "/stream", "x")).await);
    let mut got = Reader::of(ask(proxy.addr, "127.0.0.1", stream_request()).await);
    // Another connection, opened later, has come of age.
    let io = TokioIo::new(TcpStream::connect(proxy.addr).await.unwrap());
    let handshake = hyper::client::conn::http1::handshake(io);
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request("GET", "/", "")).await;
    assert_eq!(answer.unwrap().status(), 200);
    let closed = timeout(PATIENCE, connection).await;
    closed.expect("an end").unwrap().unwrap();
    let number = feed.send();
    posted.until(number).await;
    got.until(number).await;
}

#[tokio::test]
async fn a_plain_answer_is_finished_first() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.max_connection_age = Some(AGE);
    let proxy = Proxy::start(config).await;
    let answer = ask(proxy.addr, "127.0.0.1", request("POST", "/", "x")).await;
    assert_eq!(answer.status(), 200);
    let whole = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(whole, "ok");
}
