//! The authority's API, over HTTPS.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Limited;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::proxy::tls::provider;

/// For one request and the head of its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Certificates and problems are a few KiB.
const LARGEST_ANSWER: usize = 1 << 20;

/// A client for one order.
pub(super) struct Client(Pool<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Client {
    /// Trusts the authorities of this file, or those of the system.
    pub(super) fn new(ca: Option<&Path>) -> io::Result<Self> {
        let tls = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .build();
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self(pool))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = tokio::time::timeout(PATIENCE, self.0.request(request));
        Box::pin(async move {
            let answer = answer.await.map_err(|late| Error::Other(late.into()))?;
            let answer = answer.map_err(|error| Error::Other(error.into()))?;
            let bounded = answer.map(|body| Limited::new(body, LARGEST_ANSWER));
            Ok(BytesResponse::from(bounded))
        })
    }
}

fn roots(ca: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = match ca {
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(io::Error::other(
            "no certificate authorities to verify the directory by; install ca-certificates, \
             or name a PEM file by acme.ca",
        ));
    }
    Ok(roots)
}
