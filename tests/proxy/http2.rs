//! HTTP/2 without TLS, for clients that know beforehand.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::harness::Proxy;
use crate::upstream::{Upstream, header};

#[tokio::test]
async fn a_request_becomes_http11_with_its_authority_as_host() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let stream = TcpStream::connect(proxy.addr).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://app.example/a?b")
        .body(Full::new(Bytes::from_static(b"hello")))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "ok"
    );
    let head = &upstream.heads()[0];
    assert!(head.starts_with("POST /a?b HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(head, "host"), Some("app.example"));
    assert_eq!(header(head, "content-length"), Some("5"));
}
