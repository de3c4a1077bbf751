//! A configuration that takes another's place under clients who notice nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_sse::proxy::config::model::{DiskJournal, HealthCheck, JournalSettings, Tls};

use crate::authority::Authority;
use crate::harness::{
    LONG, Proxy, config, eventually, fetch, get, listener, open, refused, route, upstream,
};
use crate::upstream::Upstream;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

fn whole(text: &str) -> String {
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}")
}

/// Says its name in one event, and ends when told to.
async fn named(name: &'static str) -> (Upstream, watch::Sender<bool>) {
    let (end, ended) = watch::channel(false);
    let upstream = Upstream::start(move |mut connection| {
        let mut ended = ended.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                if head.contains("/plain") {
                    connection.send(whole(name)).await;
                    continue;
                }
                connection.send(HEAD).await;
                connection.send(format!("data: {name}\n\n")).await;
                let _ = ended.wait_for(|end| *end).await;
                return;
            }
        }
    })
    .await;
    (upstream, end)
}

async fn until(response: &mut Response<Incoming>, wanted: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let frame = timeout(LONG, response.frame()).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        seen.push_str(std::str::from_utf8(&data).unwrap());
    }
    seen
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

async fn metrics(proxy: &Proxy) -> String {
    proxy.ask_admin("/metrics").await.text().to_owned()
}

#[tokio::test]
async fn a_stream_stays_and_seeks_its_upstream_where_its_route_leads_now() {
    let (old, end) = named("old").await;
    let (new, _keep) = named("new").await;
    let proxy = Proxy::to(&[old.url()]).await;
    let mut response = open(proxy.addr, get("/events")).await;
    until(&mut response, "data: old").await;

    proxy.control.reload(config(&[new.url()])).await.unwrap();
    assert_eq!(proxy.get("/plain").await.text(), "new");
    assert_eq!(old.connections(), 1, "the stream is where it was");

    end.send_replace(true);
    let seen = until(&mut response, "data: new").await;
    assert!(!seen.contains("data: old"), "{seen}");
    let counted = metrics(&proxy).await;
    assert!(
        counted.contains("sse_upstream_reconnects_total{route=\"/\"} 1"),
        "{counted}"
    );
    let gone = format!("server=\"{}\"", old.addr());
    assert!(!counted.contains(&gone), "{counted}");
}

#[tokio::test]
async fn routes_are_replaced_for_connections_that_are_open() {
    let (app, _keep) = named("app").await;
    let (api, _keep_too) = named("api").await;
    let servers = [app.url()];
    let proxy = Proxy::to(&servers).await;
    let stream = TcpStream::connect(proxy.addr).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(get("/api/plain")).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "app"
    );

    let mut next = config(&servers);
    next.upstreams.insert("api".into(), upstream(&[api.url()]));
    next.routes.insert(0, route("/api", "api"));
    proxy.control.reload(next).await.unwrap();
    let answer = sender.send_request(get("/api/plain")).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "api"
    );
}

#[tokio::test]
async fn listeners_open_and_close_and_who_is_behind_them_may_finish() {
    let (app, end) = named("app").await;
    let servers = [app.url()];
    let proxy = Proxy::to(&servers).await;
    let mut idle = TcpStream::connect(proxy.addr).await.unwrap();
    let mut response = open(proxy.addr, get("/events")).await;
    until(&mut response, "data: app").await;

    let mut next = config(&servers);
    let elsewhere = free();
    next.listeners[0].address = elsewhere;
    proxy.control.reload(next).await.unwrap();
    let answer = fetch(elsewhere, get("/plain")).await;
    assert_eq!(answer.text(), "app");
    let refused = || async { TcpStream::connect(proxy.addr).await.is_err() };
    eventually("the listener is closed", refused).await;
    let mut rest = Vec::new();
    let read = timeout(LONG, idle.read_to_end(&mut rest)).await.unwrap();
    assert!(
        matches!(read, Ok(0) | Err(_)),
        "an idle connection is closed"
    );

    // The stream goes on: its upstream ends, and is sought again.
    end.send_replace(true);
    until(&mut response, "data: app").await;
}

#[tokio::test]
async fn the_drain_deadline_holds_behind_a_listener_that_is_gone() {
    let (app, _keep) = named("app").await;
    let servers = [app.url()];
    let proxy = Proxy::to(&servers).await;
    let mut response = open(proxy.addr, get("/events")).await;
    until(&mut response, "data: app").await;
    let mut next = config(&servers);
    next.listeners[0].address = free();
    next.drain.deadline = Duration::from_millis(20);
    proxy.control.reload(next).await.unwrap();
    let cut = async { while let Some(Ok(_)) = response.frame().await {} };
    timeout(LONG, cut).await.expect("cut by the deadline");
}

#[tokio::test]
async fn what_cannot_be_had_or_changed_is_refused_whole() {
    let (app, _keep) = named("app").await;
    let (other, _keep_too) = named("other").await;
    let proxy = Proxy::to(&[app.url()]).await;
    let before = metrics(&proxy).await;

    let mut journal = config(&[other.url()]);
    journal.journal = JournalSettings::Disk(DiskJournal::new("/nowhere".into()));
    let mut admin = config(&[other.url()]);
    admin.admin = None;
    let mut reuse = config(&[other.url()]);
    reuse.listeners[0].reuse_port = true;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut port = config(&[other.url()]);
    let fresh = free();
    for address in [fresh, taken.local_addr().unwrap()] {
        port.listeners.push(listener(None));
        port.listeners.last_mut().unwrap().address = address;
    }
    let mut files = config(&[other.url()]);
    let missing = Tls::of("/none/a.pem".into(), "/none/b.pem".into());
    files.listeners[0].tls = Some(missing);
    for (next, said) in [
        (
            journal,
            "journal cannot be changed while the proxy runs; restart it",
        ),
        (admin, "admin.address cannot be changed"),
        (reuse, "listeners[].reuse_port cannot be changed"),
        (port, "the address is in use"),
        (files, "cannot read /none/a.pem"),
    ] {
        let error = proxy.control.reload(next).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert_eq!(proxy.get("/plain").await.text(), "app");
    }
    assert!(
        TcpStream::connect(fresh).await.is_err(),
        "nothing half done"
    );
    let info = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("sse_config_info{"));
        line.unwrap().to_owned()
    };
    let refused = metrics(&proxy).await;
    assert_eq!(info(&refused), info(&before));
    let unknown = other.addr().to_string();
    assert!(!refused.contains(&unknown), "{refused}");
    let up = format!(
        "sse_server_up{{upstream=\"app\",server=\"{}\"}} 1",
        app.addr()
    );
    assert!(refused.contains(&up), "{refused}");

    proxy.control.reload(config(&[other.url()])).await.unwrap();
    assert_ne!(info(&metrics(&proxy).await), info(&before));
}

#[tokio::test]
async fn what_is_known_of_a_server_that_stays_is_kept() {
    let down = refused();
    let with = |weight: u64| {
        let mut config = config(std::slice::from_ref(&down));
        let app = config.upstreams.get_mut("app").unwrap();
        let interval = Duration::from_millis(weight);
        app.health_check = Some(HealthCheck::new("/".into(), interval));
        config
    };
    let proxy = Proxy::start(with(20)).await;
    eventually("it is down", || async {
        proxy.ask_admin("/readyz").await.status == 503
    })
    .await;
    // Another interval makes another upstream of it, whose servers are the same.
    proxy.control.reload(with(3_600_000)).await.unwrap();
    assert_eq!(proxy.ask_admin("/readyz").await.status, 503);
    let mut unchecked = config(std::slice::from_ref(&down));
    unchecked.drain.spread = Duration::from_millis(1);
    proxy.control.reload(unchecked).await.unwrap();
    assert_eq!(proxy.ask_admin("/readyz").await.status, 200, "nobody knows");
}

#[tokio::test]
async fn limits_of_connections_rise_and_fall_under_those_there_are() {
    let (app, _keep) = named("app").await;
    let with = |connections| {
        let mut config = config(&[app.url()]);
        config.limits.connections = connections;
        config
    };
    let proxy = Proxy::start(with(1)).await;
    let mut first = open(proxy.addr, get("/events")).await;
    until(&mut first, "data: app").await;
    let waiting = fetch(proxy.addr, get("/plain"));
    proxy.control.reload(with(5)).await.unwrap();
    assert_eq!(waiting.await.text(), "app", "let in by the higher limit");

    let mut second = open(proxy.addr, get("/events")).await;
    until(&mut second, "data: app").await;
    proxy.control.reload(with(1)).await.unwrap();
    proxy.control.reload(with(2)).await.unwrap();
    drop(first);
    drop(second);
    assert_eq!(proxy.get("/plain").await.text(), "app", "others have left");
}

/// PEM files for a host, gone with the authority.
fn tls(authority: &Authority, host: &str) -> Tls {
    let files = authority.write("reload", &[host]);
    Tls::of(files.certificate, files.private_key)
}

async fn connect(
    authority: &Authority,
    addr: SocketAddr,
    host: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let ca = std::fs::read(authority.file()).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(host).unwrap();
    TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
}

#[tokio::test]
async fn only_certificates_in_force_are_said_to_expire() {
    let authority = Authority::new("reload-expiry");
    let (app, _keep) = named("app").await;
    let mut config = config(&[app.url()]);
    let of = |name: &str| {
        let files = authority.write(name, &["localhost"]);
        let label = format!("{{certificate=\"{}\"}}", files.certificate.display());
        (Tls::of(files.certificate, files.private_key), label)
    };
    let ((shared, shared_label), (own, own_label)) = (of("shared"), of("own"));
    config.listeners.push(listener(Some(shared.clone())));
    config.listeners[1].address = free();
    let proxy = Proxy::start(config.clone()).await;
    let shown = async |label: &str| {
        let name = format!("sse_certificate_expiry_seconds{label}");
        metrics(&proxy).await.contains(&name)
    };
    assert!(shown(&shared_label).await);

    let mut next = config.clone();
    for tls in [shared, own] {
        next.listeners.push(listener(Some(tls)));
        next.listeners.last_mut().unwrap().address = free();
    }
    let mut impossible = next.clone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    impossible.listeners.push(listener(None));
    impossible.listeners[4].address = taken.local_addr().unwrap();
    proxy.control.reload(impossible).await.unwrap_err();
    assert!(!shown(&own_label).await, "refused");

    proxy.control.reload(next.clone()).await.unwrap();
    assert!(shown(&own_label).await);
    // One of two listeners with the same certificate, and the only one.
    next.listeners.truncate(3);
    next.listeners.remove(1);
    proxy.control.reload(next.clone()).await.unwrap();
    assert!(!shown(&own_label).await, "closed");
    assert!(shown(&shared_label).await);
    next.listeners.truncate(1);
    proxy.control.reload(next).await.unwrap();
    assert!(!shown(&shared_label).await);
}

#[tokio::test]
async fn certificates_are_read_again_and_open_connections_stay() {
    let authority = Authority::new("reload-ca");
    let (app, _keep) = named("app").await;
    let mut config = config(&[app.url()]);
    config.listeners = vec![listener(Some(tls(&authority, "one.example")))];
    let proxy = Proxy::start(config.clone()).await;
    let mut early = connect(&authority, proxy.addr, "one.example")
        .await
        .unwrap();

    // The same names, other content.
    tls(&authority, "two.example");
    proxy.control.reload(config).await.unwrap();
    let one = connect(&authority, proxy.addr, "one.example").await;
    assert!(one.is_err());
    let two = connect(&authority, proxy.addr, "two.example").await;
    assert!(two.is_ok());
    let request = b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n";
    early.write_all(request).await.unwrap();
    let mut byte = [0];
    let read = timeout(LONG, early.read_exact(&mut byte)).await.unwrap();
    assert_eq!(read.unwrap(), 1);
}
