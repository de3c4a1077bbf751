//! Which certificate is shown, and that it can be exchanged under open
//! connections.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::version::{TLS12, TLS13};
use tower_sse::proxy::Server;
use tower_sse::proxy::config::model::{Tls, TlsVersion};

use crate::authority::{Authority, client, connect_as};
use crate::harness::{Proxy, config, listener};
use crate::patience::eventually;
use crate::upstream::Upstream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn proxy(upstream: &Upstream, tls: Tls) -> Proxy {
    let mut config = config(&[upstream.url()]);
    config.listeners = vec![listener(Some(tls))];
    Proxy::start(config).await
}

/// The certificate that is shown to who asks for this host.
async fn shown(proxy: &Proxy, authority: &Authority, host: &str) -> Option<Vec<u8>> {
    let client = authority.client("http/1.1", None);
    let stream = connect_as(proxy.addr, client, host).await.ok()?;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    Some(chain[0].to_vec())
}

fn rename_over(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}

#[tokio::test]
async fn each_name_has_its_certificate() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("sni");
    let certificates = [
        ("first", &["localhost", "127.0.0.1"][..]),
        ("second", &["a.example", "Upper.Example"]),
        ("third", &["*.b.example", "b.example"]),
    ];
    let files = certificates.map(|(name, hosts)| authority.write(name, hosts));
    let tls = Tls {
        certificates: files.to_vec(),
        ..Tls::of("".into(), "".into())
    };
    let proxy = proxy(&upstream, tls).await;

    // The client accepts only what is for the name.
    for host in [
        "localhost",
        "a.example",
        "upper.example",
        "b.example",
        "x.b.example",
        // Which is not said in the handshake: the first is for such clients.
        "127.0.0.1",
    ] {
        assert!(shown(&proxy, &authority, host).await.is_some(), "{host}");
    }
    for host in ["x.a.example", "x.y.b.example", "c.example"] {
        assert!(shown(&proxy, &authority, host).await.is_none(), "{host}");
    }
}

#[tokio::test]
async fn files_that_change_are_read_again_and_open_connections_stay() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("reload");
    // As orchestrators mount secrets: the files lie behind a link, which is
    // exchanged as a whole.
    let version = |name: &str| {
        let files = authority.write(name, &["localhost"]);
        let folder = authority.path(&format!("folder-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        rename_over(&files.certificate, &folder.join("tls.crt"));
        rename_over(&files.private_key, &folder.join("tls.key"));
        std::os::unix::fs::symlink(&folder, authority.path(name)).unwrap();
    };
    let data = authority.path("data");
    version("one");
    rename_over(&authority.path("one"), &data);
    let tls = Tls::of(data.join("tls.crt"), data.join("tls.key"));
    let mut config = config(&[upstream.url()]);
    config.listeners = vec![listener(Some(tls))];
    // The connection rests while the files are looked at.
    config.limits.header_timeout = Duration::from_secs(1000);
    let proxy = Proxy::start(config).await;

    let before = connect_as(proxy.addr, authority.client("http/1.1", None), "localhost");
    let io = TokioIo::new(before.await.unwrap());
    let (mut open, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async || {
        let request = Request::get("/").header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        open.ready().await.unwrap();
        let answer = open.send_request(request).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(ask().await, "ok");
    let first = shown(&proxy, &authority, "localhost").await.unwrap();

    version("two");
    rename_over(&authority.path("two"), &data);
    eventually("the second certificate", async || {
        shown(&proxy, &authority, "localhost").await.unwrap() != first
    })
    .await;
    assert_eq!(ask().await, "ok", "on the connection from before");
    let second = shown(&proxy, &authority, "localhost").await.unwrap();

    // Another's key, and then no key at all.
    let stranger = authority.write("stranger", &["localhost"]);
    let metric = async |name: &str| {
        let metrics = proxy.ask_admin("/metrics").await;
        let line = metrics.text().lines().find_map(|l| l.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    };
    let refused = r#"sse_certificate_reloads_total{outcome="refused"}"#;
    rename_over(&stranger.private_key, &data.join("tls.key"));
    eventually("the key is refused", async || metric(refused).await == 1).await;
    std::fs::write(data.join("tls.key"), "nothing").unwrap();
    eventually("no key is refused", async || metric(refused).await == 2).await;
    let after = shown(&proxy, &authority, "localhost").await.unwrap();
    assert_eq!(after, second, "the old one stays");
    assert_eq!(ask().await, "ok");
    let accepted = r#"sse_certificate_reloads_total{outcome="accepted"}"#;
    assert_eq!(metric(accepted).await, 1);
    let expiry = format!(
        r#"sse_certificate_expiry_seconds{{certificate="{}"}}"#,
        data.join("tls.crt").display()
    );
    // rcgen's certificates end in the year 4096.
    assert!(metric(&expiry).await > 60_000_000_000i64);
}

#[tokio::test]
async fn whoever_changed_the_files_need_not_wait() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("handle");
    let mut config = config(&[upstream.url()]);
    config.listeners = vec![listener(Some(authority.listener(None)))];
    let server = Server::bind(config.clone()).await.unwrap();
    let (addr, control) = (server.listeners()[0], server.control());
    tokio::spawn(server.run(std::future::pending()));
    let shown = async || {
        let client = authority.client("http/1.1", None);
        let stream = connect_as(addr, client, "localhost").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };

    let first = shown().await;
    authority.listener(None);
    control.reload(config.clone()).await.unwrap();
    let second = shown().await;
    assert_ne!(second, first);

    std::fs::write(authority.path("server.pem"), "nothing").unwrap();
    let refused = control.reload(config.clone()).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("no certificate in"), "{error}");
    assert_eq!(shown().await, second);

    let files = authority.write("other", &["localhost"]);
    config.listeners[0].tls = Some(Tls::of(files.certificate, files.private_key));
    control.reload(config).await.unwrap();
    assert_ne!(shown().await, second);
}

#[tokio::test]
async fn old_versions_can_be_refused() {
    let upstream = Upstream::answering(OK).await;
    let authority = Authority::new("versions");
    let pem = std::fs::read_to_string(authority.file()).unwrap();
    for (min_version, old) in [(TlsVersion::V1_2, true), (TlsVersion::V1_3, false)] {
        let tls = Tls {
            min_version,
            ..authority.listener(None)
        };
        let proxy = proxy(&upstream, tls).await;
        for (version, accepted) in [(&TLS12, old), (&TLS13, true)] {
            let client = client(&pem, &[version], "http/1.1", None);
            let connected = connect_as(proxy.addr, client, "localhost").await;
            assert_eq!(connected.is_ok(), accepted, "{min_version:?} {version:?}");
        }
        eventually("the refusal is counted", async || {
            let metrics = proxy.ask_admin("/metrics").await;
            let counted = r#"sse_tls_handshake_failures_total{reason="protocol"} 1"#;
            metrics.text().contains(counted) != old
        })
        .await;
    }
}
