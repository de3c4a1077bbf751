//! Certificates by ACME, from an authority of its own.

use std::net::SocketAddr;

use tokio::sync::oneshot;
use tower_sse::proxy::config::model::{Acme, Challenge, Config, Tls};
use tower_sse::proxy::{Control, Server};

use crate::authority::{client, connect_as};
use crate::harness::{config, fetch, get, listener};
use crate::patience::eventually;
use crate::pebble::Place;
use crate::upstream::Upstream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Longer than any test runs, and two thirds of it, too.
const LONG_LIVED: u64 = 100_000;

/// Renewed while a test waits.
const SHORT_LIVED: u64 = 12;

fn acme(place: &Place, domains: &[&str], challenge: Challenge) -> Acme {
    Acme {
        domains: domains.iter().map(ToString::to_string).collect(),
        email: Some("ops@example.com".to_owned()),
        directory: place.directory(),
        cache: place.cache(),
        challenge,
        ca: Some(place.ca()),
    }
}

/// TLS by ACME, and a listener in clear that sends everybody else there.
fn listening(upstream: &Upstream, acme: Acme) -> Config {
    let mut config = config(&[upstream.url()]);
    let mut clear = listener(None);
    clear.redirect_to_https = Some(443);
    config.listeners = vec![listener(Some(Tls::by_acme(acme))), clear];
    config
}

struct Running {
    tls: SocketAddr,
    clear: SocketAddr,
    admin: SocketAddr,
    control: Control,
    _stop: oneshot::Sender<()>,
}

impl Running {
    fn start(server: Server) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tls, clear) = (server.listeners()[0], server.listeners()[1]);
        let admin = server.admin().unwrap();
        let control = server.control();
        tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self {
            tls,
            clear,
            admin,
            control,
            _stop: stop,
        }
    }

    async fn admin(&self, path: &str) -> (u16, String) {
        let answer = fetch(self.admin, get(path)).await;
        (answer.status.as_u16(), answer.text().to_owned())
    }

    async fn until_ready(&self) {
        eventually("a certificate", async || {
            self.admin("/readyz").await.0 == 200
        })
        .await;
    }

    /// The certificate that is shown, if this root vouches for it.
    async fn shown(&self, root: &str, host: &str) -> Option<Vec<u8>> {
        let client = client(root, rustls::DEFAULT_VERSIONS, "http/1.1", None);
        let stream = connect_as(self.tls, client, host).await.ok()?;
        Some(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    }
}

async fn issued_and_kept(challenge: Challenge, name: &str) {
    let upstream = Upstream::answering(OK).await;
    let place = Place::new(name);
    let domains = ["a.edge.test", "b.edge.test"];
    let config = listening(&upstream, acme(&place, &domains, challenge));
    let server = Server::bind(config.clone()).await.unwrap();
    let addresses = server.listeners().to_vec();
    let pebble = place.start(addresses[1], addresses[0], LONG_LIVED).await;
    let proxy = Running::start(server);
    proxy.until_ready().await;

    let root = pebble.root().await;
    let first = proxy.shown(&root, "a.edge.test").await.unwrap();
    assert_eq!(proxy.shown(&root, "b.edge.test").await.unwrap(), first);
    let metrics = proxy.admin("/metrics").await.1;
    let ordered = r#"sse_acme_orders_total{outcome="issued"} 1"#;
    assert!(metrics.contains(ordered), "{metrics}");
    let expiry = r#"sse_certificate_expiry_seconds{certificate="acme:a.edge.test"}"#;
    assert!(metrics.contains(expiry), "{metrics}");
    // The authority asked in clear, where all others are sent elsewhere.
    assert_eq!(fetch(proxy.clear, get("/")).await.status, 308);
    assert!(upstream.heads().is_empty());
    drop(proxy);

    // What was kept is used, and the authority is not asked.
    let again = Running::start(Server::bind(config).await.unwrap());
    assert_eq!(again.admin("/readyz").await.0, 200, "at once");
    assert_eq!(again.shown(&root, "a.edge.test").await.unwrap(), first);
    let metrics = again.admin("/metrics").await.1;
    assert!(!metrics.contains("sse_acme_orders_total{"), "{metrics}");
}

#[tokio::test]
async fn names_are_proved_in_clear() {
    issued_and_kept(Challenge::Http01, "http-01").await;
}

#[tokio::test]
async fn names_are_proved_by_tls() {
    issued_and_kept(Challenge::TlsAlpn01, "tls-alpn-01").await;
}

#[tokio::test]
async fn an_authority_that_forgot_the_account_is_given_another() {
    let upstream = Upstream::answering(OK).await;
    let place = Place::new("forgotten");
    let cache = place.cache();
    let acme = acme(&place, &["a.edge.test"], Challenge::Http01);
    let config = listening(&upstream, acme);
    let server = Server::bind(config.clone()).await.unwrap();
    let addresses = server.listeners().to_vec();
    let pebble = place.start(addresses[1], addresses[0], LONG_LIVED).await;
    let proxy = Running::start(server);
    proxy.until_ready().await;
    drop(proxy);
    let files = || {
        std::fs::read_dir(&cache)
            .unwrap()
            .map(|file| file.unwrap().path())
    };
    let certificate = files().find(|file| file.extension().unwrap() == "pem");
    std::fs::remove_file(certificate.unwrap()).unwrap();

    let server = Server::bind(config).await.unwrap();
    let addresses = server.listeners().to_vec();
    let pebble = pebble.replaced(addresses[1], addresses[0]).await;
    let again = Running::start(server);
    again.until_ready().await;
    let root = pebble.root().await;
    assert!(again.shown(&root, "a.edge.test").await.is_some());
    let metrics = again.admin("/metrics").await.1;
    let failed = r#"sse_acme_orders_total{outcome="failed"}"#;
    assert!(!metrics.contains(failed), "{metrics}");
    assert_eq!(files().count(), 2, "account and certificate");
}

#[tokio::test]
async fn with_another_name_what_was_issued_is_shown_until_there_is_more() {
    let upstream = Upstream::answering(OK).await;
    let (place, away) = (Place::new("names"), Place::new("names-away"));
    let acme = acme(&place, &["a.edge.test"], Challenge::Http01);
    let mut config = listening(&upstream, acme.clone());
    let server = Server::bind(config.clone()).await.unwrap();
    let addresses = server.listeners().to_vec();
    let pebble = place.start(addresses[1], addresses[0], LONG_LIVED).await;
    let proxy = Running::start(server);
    proxy.until_ready().await;
    let root = pebble.root().await;
    let first = proxy.shown(&root, "a.edge.test").await;

    // Nobody is there who could issue the next one.
    let domains = ["a.edge.test", "b.edge.test"].map(str::to_owned).to_vec();
    let next = Acme {
        domains,
        directory: away.directory(),
        ..acme
    };
    config.listeners[0].tls = Some(Tls::by_acme(next));
    proxy.control.reload(config).await.unwrap();
    eventually("the order fails", async || {
        let metrics = proxy.admin("/metrics").await.1;
        metrics.contains(r#"sse_acme_orders_total{outcome="failed"} 1"#)
    })
    .await;
    assert!(first.is_some());
    assert_eq!(proxy.shown(&root, "a.edge.test").await, first);
    let (status, detail) = proxy.admin("/readyz").await;
    assert_eq!(status, 503, "{detail}");
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends() {
    let upstream = Upstream::answering(OK).await;
    let place = Place::new("renewal");
    let acme = acme(&place, &["a.edge.test"], Challenge::TlsAlpn01);
    let server = Server::bind(listening(&upstream, acme)).await.unwrap();
    let addresses = server.listeners().to_vec();
    let pebble = place.start(addresses[1], addresses[0], SHORT_LIVED).await;
    let proxy = Running::start(server);
    proxy.until_ready().await;
    let root = pebble.root().await;
    eventually("three certificates", async || {
        let metrics = proxy.admin("/metrics").await.1;
        let name = r#"sse_acme_orders_total{outcome="issued"} "#;
        let issued = metrics.lines().find_map(|line| line.strip_prefix(name));
        issued.is_some_and(|issued| issued.parse::<u32>().unwrap() >= 3)
    })
    .await;
    eventually("the new one is shown", async || {
        proxy.shown(&root, "a.edge.test").await.is_some()
    })
    .await;
}

#[tokio::test]
async fn what_nothing_can_be_kept_in_stops_the_start() {
    let upstream = Upstream::answering(OK).await;
    let place = Place::new("unkept");
    let mut acme = acme(&place, &["a.edge.test"], Challenge::TlsAlpn01);
    // A file, not a folder.
    acme.cache = place.ca();
    let error = Server::bind(listening(&upstream, acme)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("cannot keep certificates in"), "{text}");
    assert!(text.contains("name another folder by acme.cache"), "{text}");
}

#[tokio::test]
async fn without_a_certificate_it_is_not_ready_and_says_why() {
    let upstream = Upstream::answering(OK).await;
    // Nobody listens there.
    let place = Place::new("away");
    let acme = acme(&place, &["a.edge.test"], Challenge::Http01);
    let proxy = Running::start(Server::bind(listening(&upstream, acme)).await.unwrap());
    eventually("the order fails", async || {
        let metrics = proxy.admin("/metrics").await.1;
        metrics.contains(r#"sse_acme_orders_total{outcome="failed"} 1"#)
    })
    .await;
    let (status, detail) = proxy.admin("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        detail.contains("certificate for a.edge.test: not issued yet"),
        "{detail}"
    );
    // Other clients are served already, if they do not care.
    let root = std::fs::read_to_string(place.ca()).unwrap();
    assert!(
        proxy.shown(&root, "a.edge.test").await.is_none(),
        "self-signed"
    );
}
