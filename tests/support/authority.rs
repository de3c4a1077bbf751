//! A certificate authority, and clients that trust one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_sse::proxy::config::model::{CertificateFiles, ClientCertificates, Tls};

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
        self.sign(&rcgen::CertificateParams::new([host.to_owned()]).unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A place beside the other files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a new pair for these names to `name.pem` and `name.key`.
    pub(crate) fn write(&self, name: &str, hosts: &[&str]) -> CertificateFiles {
        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        let params = rcgen::CertificateParams::new(hosts).unwrap();
        let (certificate, key) = self.sign(&params);
        let files = CertificateFiles {
            certificate: self.path(&format!("{name}.pem")),
            private_key: self.path(&format!("{name}.key")),
        };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.private_key, key).unwrap();
        files
    }

    /// Certificate and key of what is asked for, as PEM.
    pub(crate) fn sign(&self, params: &rcgen::CertificateParams) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn listener(&self, client_ca: Option<PathBuf>) -> Tls {
        let (certificate, key) = self.issue("localhost");
        let files = [
            self.folder.join("server.pem"),
            self.folder.join("server.key"),
        ];
        std::fs::write(&files[0], certificate).unwrap();
        std::fs::write(&files[1], key).unwrap();
        let [certificate, private_key] = files;
        Tls {
            clients: client_ca.map(|ca| ClientCertificates {
                ca,
                required: true,
                subject_header: None,
                certificate_header: None,
            }),
            ..Tls::of(certificate, private_key)
        }
    }

    pub(crate) fn client(&self, alpn: &str, identity: Option<(String, String)>) -> ClientConfig {
        client(&self.pem, rustls::DEFAULT_VERSIONS, alpn, identity)
    }
}

/// A client that trusts this authority.
pub(crate) fn client(
    authority: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &str,
    identity: Option<(String, String)>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
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

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Fails if what is shown is not for `host`.
pub(crate) async fn connect_as(
    addr: SocketAddr,
    client: ClientConfig,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
}

pub(crate) async fn send(
    stream: TlsStream<TcpStream>,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}
