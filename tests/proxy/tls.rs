//! TLS towards clients: both protocols, and client certificates.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_sse::proxy::config::model::Tls;

use crate::harness::{Proxy, config, listener};
use crate::upstream::{Upstream, header};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A certificate authority, and PEM files that are gone with it.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
    folder: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let folder = std::env::temp_dir().join(format!("tower-sse-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), &pem).unwrap();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            pem,
            folder,
        }
    }

    /// Certificate and key for a host, as PEM.
    pub(crate) fn issue(&self, host: &str) -> (String, String) {
        let params = rcgen::CertificateParams::new([host.to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub(crate) fn listener(&self, client_ca: Option<PathBuf>) -> Tls {
        let (certificate, key) = self.issue("localhost");
        let tls = Tls {
            certificate: self.folder.join("server.pem"),
            private_key: self.folder.join("server.key"),
            client_ca,
        };
        std::fs::write(&tls.certificate, certificate).unwrap();
        std::fs::write(&tls.private_key, key).unwrap();
        tls
    }

    fn client(&self, alpn: &str, identity: Option<(String, String)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn proxy(upstream: &Upstream, tls: Tls) -> Proxy {
    let mut config = config(&[upstream.url()]);
    config.listeners = vec![listener(Some(tls))];
    Proxy::start(config).await
}

async fn connect(proxy: &Proxy, client: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(proxy.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
}

async fn http1(stream: TlsStream<TcpStream>) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "localhost");
    sender
        .send_request(request.body(Empty::<Bytes>::new()).unwrap())
        .await
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
