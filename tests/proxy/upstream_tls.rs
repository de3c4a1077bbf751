//! Servers behind TLS: whom they must prove to be, and who the proxy is to them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_sse::proxy::config::model::{Config, Identity, Protocol, UpstreamTls};

use crate::authority::Authority;
use crate::harness::{LONG, Proxy, config, get, open, request};

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A server for `host`, of these protocols; with an authority for its clients,
/// they must show a certificate of it. Answers what it was told by TLS and HTTP.
async fn server(
    authority: &Authority,
    host: &str,
    alpn: &[&str],
    clients: Option<&Authority>,
) -> String {
    let (certificate, key) = authority.issue(host);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            let ca = CertificateDer::from_pem_file(clients.file()).unwrap();
            roots.add(ca).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let session = stream.get_ref().1;
                let sni = session.server_name().unwrap_or("-").to_owned();
                let service = service_fn(move |request| {
                    std::future::ready(Ok::<_, Infallible>(answer(request, &sni)))
                });
                let io = TokioIo::new(stream);
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            });
        }
    });
    format!("https://localhost:{port}")
}

fn answer(request: Request<Incoming>, sni: &str) -> Response<Body> {
    let host = request.uri().authority().map(ToString::to_string);
    let host = host.or_else(|| {
        let header = request.headers().get("host")?;
        Some(header.to_str().ok()?.to_owned())
    });
    let text = format!("{sni} {:?} {}", request.version(), host.unwrap());
    if request.uri().path() == "/" {
        return Response::new(text.boxed_unsync());
    }
    let counted = request.uri().path() == "/count";
    // The head goes out before the body has come.
    let first = futures_util::stream::once(async move {
        let body = request.into_body().collect();
        let said = if counted {
            let body = body.await;
            body.map_or(0, |body| body.to_bytes().len()).to_string()
        } else {
            text
        };
        Ok::<_, Infallible>(Frame::data(Bytes::from(format!("data: {said}\n\n"))))
    });
    let stream = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let response = Response::builder()
        .header("content-type", "text/event-stream")
        .body(BodyExt::boxed_unsync(StreamBody::new(stream)));
    response.unwrap()
}

fn with(server: &str, tls: UpstreamTls, protocol: Protocol) -> Config {
    let mut config = config(&[server]);
    let upstream = config.upstreams.get_mut("app").unwrap();
    upstream.tls = Some(tls);
    upstream.protocol = protocol;
    config
}

fn trusting(authority: &Authority) -> UpstreamTls {
    UpstreamTls {
        ca: Some(authority.file()),
        ..UpstreamTls::default()
    }
}

async fn told(config: Config) -> (u16, String) {
    let answer = Proxy::start(config).await.get("/").await;
    (answer.status.as_u16(), answer.text().to_owned())
}

const REFUSED: &str = "cannot connect to the upstream\n";

#[tokio::test]
async fn a_private_authority_is_believed_and_no_other() {
    let (authority, stranger) = (Authority::new("own-ca"), Authority::new("stranger-ca"));
    let server = server(&authority, "localhost", &[], None).await;
    let good = told(with(&server, trusting(&authority), Protocol::Http1)).await;
    assert_eq!(good, (200, "localhost HTTP/1.1 app.example".into()));
    let bad = told(with(&server, trusting(&stranger), Protocol::Http1)).await;
    assert_eq!(bad, (502, REFUSED.into()));
    let insecure = UpstreamTls {
        insecure: true,
        ..UpstreamTls::default()
    };
    assert_eq!(told(with(&server, insecure, Protocol::Http1)).await.0, 200);
}

/// Nor is it, if the answer begins before the request has ended.
#[tokio::test]
async fn a_body_goes_whole_to_a_server_that_chooses_http_1() {
    let authority = Authority::new("choosing-ca");
    let server = server(&authority, "localhost", &["http/1.1"], None).await;
    let proxy = Proxy::start(with(&server, trusting(&authority), Protocol::Auto)).await;
    // The first one asks what is spoken, the second one knows.
    for _ in 0..2 {
        let body = "x".repeat(8_000_000);
        let mut answer = open(proxy.addr, request("POST", "/count", body)).await;
        let counted = async {
            let mut seen = String::new();
            while !seen.contains("data: 8000000\n") {
                let data = answer.frame().await.unwrap().unwrap().into_data();
                seen.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
            }
        };
        // Of the whole: there are heartbeats, whatever becomes of the body.
        timeout(LONG, counted).await.expect("all of it is counted");
    }
}

#[tokio::test]
async fn another_name_is_asked_for_and_verified() {
    let authority = Authority::new("sni-ca");
    let server = server(&authority, "app.internal", &[], None).await;
    let refused = told(with(&server, trusting(&authority), Protocol::Http1)).await;
    assert_eq!(refused, (502, REFUSED.into()));
    let named = UpstreamTls {
        server_name: Some("app.internal".into()),
        ..trusting(&authority)
    };
    let good = told(with(&server, named, Protocol::Http1)).await;
    assert_eq!(good, (200, "app.internal HTTP/1.1 app.example".into()));
}

#[tokio::test]
async fn servers_may_demand_a_certificate() {
    let (authority, clients) = (Authority::new("mtls-ca"), Authority::new("client-ca"));
    let server = server(&authority, "localhost", &[], Some(&clients)).await;
    assert_ne!(
        told(with(&server, trusting(&authority), Protocol::Http1))
            .await
            .0,
        200
    );
    let (certificate, key) = clients.issue("proxy");
    let file = |name: &str, text: String| -> PathBuf {
        let path = clients.file().with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let known = UpstreamTls {
        identity: Some(Identity {
            certificate: file("proxy.pem", certificate),
            private_key: file("proxy.key", key),
        }),
        ..trusting(&authority)
    };
    assert_eq!(told(with(&server, known, Protocol::Http1)).await.0, 200);
}

#[tokio::test]
async fn auto_speaks_what_the_server_prefers() {
    let authority = Authority::new("alpn-ca");
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0"),
        (&["http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let server = server(&authority, "localhost", alpn, None).await;
        let proxy = Proxy::start(with(&server, trusting(&authority), Protocol::Auto)).await;
        // Before it is known what the server speaks, and after.
        for _ in 0..3 {
            let answer = proxy.get("/").await;
            assert_eq!(answer.text(), format!("localhost {version} app.example"));
            let mut stream = open(proxy.addr, get("/events")).await;
            let mut seen = String::new();
            while !seen.contains("\n\n") {
                let frame = timeout(LONG, stream.frame()).await.unwrap();
                let data = frame.unwrap().unwrap().into_data().unwrap();
                seen.push_str(std::str::from_utf8(&data).unwrap());
            }
            assert!(seen.contains(version), "{seen}");
        }
    }
}

#[tokio::test]
async fn http2_is_not_spoken_to_who_does_not_agree() {
    let authority = Authority::new("h2-ca");
    let old = server(&authority, "localhost", &["http/1.1"], None).await;
    assert_eq!(
        told(with(&old, trusting(&authority), Protocol::Http2))
            .await
            .0,
        502
    );
    let new = server(&authority, "localhost", &["h2"], None).await;
    assert_eq!(
        told(with(&new, trusting(&authority), Protocol::Http2)).await,
        (200, "localhost HTTP/2.0 app.example".into())
    );
}

#[tokio::test]
async fn files_that_changed_are_read_by_a_reload() {
    let (authority, stranger) = (Authority::new("renewed-ca"), Authority::new("other-ca"));
    let server = server(&authority, "localhost", &[], None).await;
    let file = authority.path("renewed.pem");
    let tls = UpstreamTls {
        ca: Some(file.clone()),
        ..UpstreamTls::default()
    };
    std::fs::copy(authority.file(), &file).unwrap();
    let config = with(&server, tls, Protocol::Http1);
    let proxy = Proxy::start(config.clone()).await;
    for (trusted, status) in [(&stranger, 502), (&authority, 200)] {
        std::fs::copy(trusted.file(), &file).unwrap();
        proxy.control.reload(config.clone()).await.unwrap();
        assert_eq!(proxy.get("/").await.status, status);
    }
    std::fs::write(&file, "no certificate").unwrap();
    let refused = proxy.control.reload(config).await.unwrap_err().to_string();
    assert!(refused.contains("renewed.pem"), "{refused}");
    assert_eq!(proxy.get("/").await.status, 200);
}
