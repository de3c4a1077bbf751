//! Every failure has its status and says no more than a client may know.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, Proxy, config, fetch, get, refused, request};
use crate::upstream::Upstream;

fn assert_failed(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status.as_u16(), answer.text()), (status, text));
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert!(!answer.text().contains("127.0.0.1"));
}

#[tokio::test]
async fn no_route_is_404() {
    let mut config = config(&[refused()]);
    config.routes[0].path = "/events".into();
    let proxy = Proxy::start(config).await;
    assert_failed(
        &proxy.get("/eventsource").await,
        404,
        "no route for this request\n",
    );
    assert_eq!(proxy.get("/events/1").await.status, 502);
}

#[tokio::test]
async fn routes_match_by_method_and_host_first_come_first_served() {
    let a = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").await;
    let b = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb").await;
    let mut config = config(&[a.url()]);
    config
        .upstreams
        .insert("b".into(), crate::harness::upstream(&[b.url()]));
    config.routes[0].host = Some("*.example".into());
    config.routes[0].methods = Some(vec![http::Method::GET]);
    config.routes.push(crate::harness::route("/", "b"));
    let proxy = Proxy::start(config).await;
    assert_eq!(proxy.get("/").await.text(), "a");
    assert_eq!(
        fetch(proxy.addr, request("POST", "/", "")).await.text(),
        "b"
    );
    let mut elsewhere = get("/");
    elsewhere
        .headers_mut()
        .insert("host", "other.test".parse().unwrap());
    assert_eq!(fetch(proxy.addr, elsewhere).await.text(), "b");
}

#[tokio::test]
async fn a_refused_connect_is_502() {
    let proxy = Proxy::to(&[refused()]).await;
    assert_failed(
        &proxy.get("/").await,
        502,
        "cannot connect to the upstream\n",
    );
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_head_is_502() {
    let upstream = Upstream::start(|mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200").await;
        connection.reset();
    })
    .await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let text = "the upstream closed the connection without a response\n";
    assert_failed(&proxy.get("/").await, 502, text);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_502() {
    for response in [
        "220 mail.example ESMTP\r\n\r\n",
        "HTTP/1.1 101 Why Not\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ] {
        let upstream = Upstream::answering(response).await;
        let proxy = Proxy::to(&[upstream.url()]).await;
        assert_failed(
            &proxy.get("/").await,
            502,
            "the upstream sent an invalid response\n",
        );
    }
}

#[tokio::test]
async fn silence_is_504() {
    let upstream = Upstream::start(|mut connection| async move {
        connection.request().await;
        connection.closed().await;
    })
    .await;
    let mut config = config(&[upstream.url()]);
    config.upstreams.get_mut("app").unwrap().response_timeout = Some(Duration::from_millis(50));
    let proxy = Proxy::start(config).await;
    assert_failed(
        &proxy.get("/").await,
        504,
        "the upstream did not respond in time\n",
    );
}

#[tokio::test]
async fn a_connect_that_takes_too_long_is_504() {
    // A listener whose queue is full lets nobody in and refuses nobody.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(addr)).await
    {
        held.push(stream.unwrap());
    }
    let mut config = config(&[format!("http://{addr}")]);
    config.upstreams.get_mut("app").unwrap().connect_timeout = Duration::from_millis(50);
    let proxy = Proxy::start(config).await;
    assert_failed(
        &proxy.get("/").await,
        504,
        "timed out connecting to the upstream\n",
    );
}

#[tokio::test]
async fn requests_without_one_valid_host_and_tunnels_are_refused() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "HTTP/1.1 400 "),
        (
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            "HTTP/1.1 501 ",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n",
            "HTTP/1.1 501 ",
        ),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "HTTP/1.1 200 "),
    ];
    for (request, status) in cases {
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = vec![0; status.len()];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(String::from_utf8(head).unwrap(), status, "{request}");
    }
}
