//! An upstream behind TLS, of a private authority that `SSL_CERT_FILE` names.
//!
//! The variable is the process's, so the scenario runs in one of its own.

use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::harness::Proxy;

const CERTIFICATE: &str = "TOWER_SSE_TEST_CERTIFICATE";
const KEY: &str = "TOWER_SSE_TEST_KEY";

#[test]
fn a_private_authority_is_trusted_by_environment() {
    let (authority, stranger) = (Authority::new("upstream"), Authority::new("other"));
    let (certificate, key) = authority.issue("localhost");
    let run = |roots: &Authority| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "https_upstream::scenario",
                "--ignored",
                "--nocapture",
            ])
            .env("SSL_CERT_FILE", roots.file())
            .env_remove("SSL_CERT_DIR")
            .env(CERTIFICATE, &certificate)
            .env(KEY, &key)
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text.into_owned())
    };
    let (trusted, text) = run(&authority);
    assert!(trusted && text.contains("1 passed"), "{text}");
    let (trusted, text) = run(&stranger);
    assert!(!trusted && text.contains("502"), "{text}");
}

#[tokio::test]
#[ignore = "run by the test above, with an environment of its own"]
async fn scenario() {
    let (certificate, key) = (
        std::env::var(CERTIFICATE).unwrap(),
        std::env::var(KEY).unwrap(),
    );
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let sni = stream
                .get_ref()
                .1
                .server_name()
                .unwrap_or_default()
                .to_owned();
            let alpn = stream
                .get_ref()
                .1
                .alpn_protocol()
                .unwrap_or_default()
                .to_vec();
            let head = String::from_utf8(head).unwrap();
            let host = crate::upstream::header(&head, "host").unwrap_or_default();
            let text = format!("{sni} {host} {}", String::from_utf8_lossy(&alpn));
            let response = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            );
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    let proxy = Proxy::to(&[format!("https://localhost:{port}")]).await;
    let answer = proxy.get("/").await;
    assert_eq!(answer.status, 200);
    // The name verified, the host the client used, and no ALPN: HTTP/1.1.
    assert_eq!(answer.text(), "localhost app.example ");
}
