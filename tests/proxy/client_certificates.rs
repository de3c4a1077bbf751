//! What the upstream is told of clients, and that nobody else can tell it.

use http::Request;
use http_body_util::{BodyExt, Empty};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustls::{ClientConfig, HandshakeKind};
use tower_sse::proxy::Server;
use tower_sse::proxy::config::model::{ClientCertificates, Config, Tls};
use tower_sse::resume::settings::Mode;

use crate::authority::{Authority, connect_as, send};
use crate::harness::{Proxy, config, fetch, get, listener, route};
use crate::patience::eventually;
use crate::upstream::{Upstream, header};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn telling(authority: &Authority, required: bool) -> Tls {
    Tls {
        clients: Some(ClientCertificates {
            ca: authority.file(),
            required,
            subject_header: Some("x-client-subject".parse().unwrap()),
            certificate_header: Some("client-cert".parse().unwrap()),
        }),
        ..authority.listener(None)
    }
}

/// A TLS listener, and one in clear.
fn listening(upstream: &Upstream, tls: Tls) -> Config {
    let mut config = config(&[upstream.url()]);
    config.listeners = vec![listener(Some(tls)), listener(None)];
    config
}

fn identity(authority: &Authority) -> (String, String) {
    let mut params = CertificateParams::new([]).unwrap();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Example, Inc");
    name.push(DnType::CommonName, "worker-7");
    params.distinguished_name = name;
    authority.sign(&params)
}

/// A request that claims to be somebody, and would have the truth taken out.
fn claiming() -> Request<Empty<bytes::Bytes>> {
    Request::get("/")
        .header("host", "localhost")
        .header("X-Client-Subject", "CN=admin")
        .header("X_Client_Subject", "CN=admin")
        .header("Client-Cert", ":AAAA:")
        .header("Connection", "X-Client-Subject, client-cert, x-kept-back")
        .header("X-Kept-Back", "1")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn the_subject_is_the_proxys_word_alone() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("subject");
    let server = Server::bind(listening(&upstream, telling(&authority, false)));
    let server = server.await.unwrap();
    let (secure, clear) = (server.listeners()[0], server.listeners()[1]);
    tokio::spawn(server.run(std::future::pending()));
    let claims = ["x-client-subject", "x_client_subject", "client-cert"];

    let known = identity(&authority);
    let client = authority.client("http/1.1", Some(known.clone()));
    let stream = connect_as(secure, client, "localhost").await.unwrap();
    assert_eq!(send(stream, claiming()).await.unwrap().status(), 200);
    let head = upstream.heads().pop().unwrap();
    let subject = header(&head, "x-client-subject");
    assert_eq!(subject, Some("CN=worker-7,O=Example\\, Inc"));
    assert_eq!(header(&head, "x_client_subject"), None);
    let body = known.0.lines().filter(|line| !line.starts_with('-'));
    let expected = format!(":{}:", body.collect::<String>());
    assert_eq!(header(&head, "client-cert"), Some(expected.as_str()));
    assert_eq!(header(&head, "x-kept-back"), None);

    // Without a certificate nothing is told, whatever the client says.
    let client = authority.client("http/1.1", None);
    let stream = connect_as(secure, client, "localhost").await.unwrap();
    assert_eq!(send(stream, claiming()).await.unwrap().status(), 200);
    fetch(clear, claiming()).await;
    let heads = upstream.heads();
    assert_eq!(heads.len(), 3);
    for head in &heads[1..] {
        assert!(
            claims.iter().all(|name| header(head, name).is_none()),
            "{head}"
        );
    }
}

/// The start of a stream, as whom the client proves to be: the answer's word
/// on resumption, and the text up to the first id.
async fn begin(proxy: &Proxy, client: ClientConfig, last: Option<&str>) -> (String, String) {
    let stream = connect_as(proxy.addr, client, "localhost").await.unwrap();
    let mut request = Request::get("/").header("host", "localhost");
    if let Some(id) = last {
        request = request.header("last-event-id", id);
    }
    let mut answer = send(stream, request.body(Empty::new()).unwrap())
        .await
        .unwrap();
    let resumed = answer.headers()["sse-resume"].to_str().unwrap().to_owned();
    let mut text = String::new();
    while last.is_none() && !text.contains("\nid: s1.") {
        let frame = answer.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    let id = text.lines().find_map(|line| line.strip_prefix("id: "));
    (resumed, id.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_stream_is_its_subjects_and_a_shared_one_nobodys() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
    let upstream = Upstream::start(|mut connection| async move {
        connection.request().await;
        connection.send(EVENTS).await;
        connection.closed().await;
    })
    .await;
    let authority = Authority::new("whose");
    let mut config = listening(&upstream, telling(&authority, true));
    let mut shared = route("/shared", "app");
    shared.sse.mode = Mode::Shared;
    config.routes.insert(0, shared);
    let proxy = Proxy::start(config).await;
    let named = |name: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        authority.client("http/1.1", Some(authority.sign(&params)))
    };

    let (_, id) = begin(&proxy, named("alice"), None).await;
    // With another certificate, which is what becomes of all in time.
    let (resumed, _) = begin(&proxy, named("alice"), Some(&id)).await;
    assert_eq!(resumed, "exact");
    let (resumed, _) = begin(&proxy, named("bob"), Some(&id)).await;
    assert_ne!(resumed, "exact");

    let request = Request::get("/shared").header("host", "localhost");
    let stream = connect_as(proxy.addr, named("alice"), "localhost");
    let request = request.body(Empty::new()).unwrap();
    let answer = send(stream.await.unwrap(), request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let head = upstream.heads().pop().unwrap();
    assert!(head.starts_with("GET /shared "), "{head}");
    for name in ["x-client-subject", "client-cert"] {
        assert_eq!(header(&head, name), None, "{head}");
    }
}

#[tokio::test]
async fn a_strangers_certificate_is_worse_than_none() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("optional");
    let stranger = Authority::new("optional-stranger");
    let proxy = Proxy::start(listening(&upstream, telling(&authority, false))).await;
    let client = authority.client("http/1.1", Some(identity(&stranger)));
    // With TLS 1.3 the client learns of the refusal after its handshake.
    let refused = match connect_as(proxy.addr, client, "localhost").await {
        Ok(stream) => send(stream, claiming()).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    assert!(upstream.heads().is_empty());
    eventually("the refusal is counted", async || {
        let metrics = proxy.ask_admin("/metrics").await;
        let counted = r#"sse_tls_handshake_failures_total{reason="client_certificate"} 1"#;
        metrics.text().contains(counted)
    })
    .await;
}

#[tokio::test]
async fn who_was_accepted_by_another_authority_has_to_prove_itself_again() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("exchanged");
    let next = Authority::new("exchanged-next");
    let mut tls = telling(&authority, true);
    let trusted = authority.path("clients.pem");
    std::fs::copy(authority.file(), &trusted).unwrap();
    tls.clients.as_mut().unwrap().ca.clone_from(&trusted);
    let config = listening(&upstream, tls);
    let server = Server::bind(config.clone()).await.unwrap();
    let (addr, control) = (server.listeners()[0], server.control());
    tokio::spawn(server.run(std::future::pending()));

    // Clones share what they need to resume a session without a certificate.
    let old = authority.client("http/1.1", Some(identity(&authority)));
    let accepted = async |client: &ClientConfig| {
        let stream = connect_as(addr, client.clone(), "localhost").await;
        let Ok(stream) = stream else { return None };
        let kind = stream.get_ref().1.handshake_kind();
        send(stream, claiming()).await.ok().and(kind)
    };
    assert_eq!(accepted(&old).await, Some(HandshakeKind::Full));
    assert_eq!(accepted(&old).await, Some(HandshakeKind::Resumed));
    let head = upstream.heads().pop().unwrap();
    let subject = header(&head, "x-client-subject");
    assert_eq!(
        subject,
        Some("CN=worker-7,O=Example\\, Inc"),
        "resumed, too"
    );

    std::fs::copy(next.file(), &trusted).unwrap();
    control.reload(config).await.unwrap();
    assert_eq!(accepted(&old).await, None);
    let new = authority.client("http/1.1", Some(identity(&next)));
    assert!(accepted(&new).await.is_some());
}

#[tokio::test]
async fn headers_that_nobody_configured_pass() {
    let upstream = Upstream::answering(OK).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let mut request = get("/");
    let name = http::HeaderName::from_static("x-client-subject");
    request.headers_mut().insert(name, "CN=a".parse().unwrap());
    fetch(proxy.addr, request).await;
    let head = upstream.heads().pop().unwrap();
    assert_eq!(header(&head, "x-client-subject"), Some("CN=a"));
}
