//! TLS towards clients: both protocols, and client certificates.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower_sse::proxy::config::model::Tls;

use crate::authority::{Authority, connect_as, send};
use crate::harness::{Proxy, config, listener};
use crate::upstream::{Upstream, header};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn proxy(upstream: &Upstream, tls: Tls) -> Proxy {
    let mut config = config(&[upstream.url()]);
    config.listeners = vec![listener(Some(tls))];
    Proxy::start(config).await
}

async fn connect(proxy: &Proxy, client: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    connect_as(proxy.addr, client, "localhost").await
}

async fn http1(stream: TlsStream<TcpStream>) -> hyper::Result<Response<Incoming>> {
    let request = Request::get("/").header("host", "localhost");
    send(stream, request.body(Empty::new()).unwrap()).await
}

#[tokio::test]
async fn http1_and_http2_by_alpn() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("alpn");
    let proxy = proxy(&upstream, authority.listener(None)).await;

    let stream = connect(&proxy, authority.client("http/1.1", None))
        .await
        .unwrap();
    let response = http1(stream).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "ok"
    );

    let stream = connect(&proxy, authority.client("h2", None)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "ok"
    );

    for head in upstream.heads() {
        assert_eq!(header(&head, "x-forwarded-proto"), Some("https"));
        assert_eq!(header(&head, "host"), Some("localhost"));
    }
}

#[tokio::test]
async fn with_a_client_ca_strangers_are_refused() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("mtls");
    let stranger = Authority::new("stranger");
    let proxy = proxy(&upstream, authority.listener(Some(authority.file()))).await;

    let member = authority.client("http/1.1", Some(authority.issue("member")));
    let response = http1(connect(&proxy, member).await.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);

    for identity in [None, Some(stranger.issue("member"))] {
        let client = authority.client("http/1.1", identity);
        // With TLS 1.3 the client learns of the refusal after its handshake.
        let refused = match connect(&proxy, client).await {
            Ok(stream) => http1(stream).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
    assert_eq!(upstream.heads().len(), 1);
}

#[tokio::test]
async fn cleartext_on_a_tls_listener_reaches_nobody() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("cleartext");
    let proxy = proxy(&upstream, authority.listener(None)).await;
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
    assert!(!rest.starts_with(b"HTTP/"));
    assert!(upstream.heads().is_empty());
}
