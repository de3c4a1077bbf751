//! Whom upstream servers must prove to be, and who the proxy is to them.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::proxy::config::model::{Identity, UpstreamTls};

/// Why an upstream's TLS could not be set up.
#[derive(Debug)]
pub enum TrustError {
    /// No authority to verify `https` servers by.
    Roots(io::Error),
    /// A file that was named cannot be used.
    File(PathBuf, Box<dyn Error + Send + Sync>),
}

/// TLS towards these servers. Without `https` no authority is needed.
///
/// The system's authorities are those of `SSL_CERT_FILE` and `SSL_CERT_DIR`,
/// where these are set.
pub(crate) fn client_tls(
    servers: &[Uri],
    settings: Option<&UpstreamTls>,
) -> Result<ClientConfig, TrustError> {
    let usual = UpstreamTls::default();
    let tls = settings.unwrap_or(&usual);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::Roots(io::Error::other(error)))?;
    let builder = if tls.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let https = servers.iter().any(|uri| uri.scheme_str() == Some("https"));
        let roots = match &tls.ca {
            Some(file) => authorities(file)?,
            None if https => system().map_err(TrustError::Roots)?,
            None => RootCertStore::empty(),
        };
        builder.with_root_certificates(roots)
    };
    match &tls.identity {
        Some(Identity {
            certificate,
            private_key,
        }) => builder
            .with_client_auth_cert(chain(certificate)?, key(private_key)?)
            .map_err(|error| TrustError::File(private_key.clone(), error.into())),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Stands for what these settings' files hold, also for that they cannot be read.
pub(crate) fn fingerprint(settings: Option<&UpstreamTls>) -> [u8; 32] {
    let authorities = settings.and_then(|tls| tls.ca.as_ref());
    let identity = settings.and_then(|tls| tls.identity.as_ref());
    let pair = identity.map(|identity| [&identity.certificate, &identity.private_key]);
    let mut hash = Sha256::new();
    for file in authorities.into_iter().chain(pair.into_iter().flatten()) {
        match std::fs::read(file) {
            Ok(bytes) => hash.update(Sha256::digest(bytes)),
            Err(error) => hash.update(format!("{:?}", error.kind())),
        }
    }
    hash.finalize().into()
}

fn system() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found.errors.first().map(ToString::to_string);
        return Err(io::Error::other(
            cause.unwrap_or_else(|| "none found".into()),
        ));
    }
    Ok(roots)
}

fn authorities(file: &Path) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for authority in chain(file)? {
        let added = roots.add(authority);
        added.map_err(|error| TrustError::File(file.to_owned(), error.into()))?;
    }
    if roots.is_empty() {
        return Err(TrustError::File(
            file.to_owned(),
            "it holds no certificate".into(),
        ));
    }
    Ok(roots)
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let chain = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    chain.map_err(|error| TrustError::File(file.to_owned(), error.into()))
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TrustError> {
    let key = PrivateKeyDer::from_pem_file(file);
    key.map_err(|error| TrustError::File(file.to_owned(), error.into()))
}

/// Believes that a server is whoever it says, if only it has a key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roots(error) => write!(f, "no certificate authorities: {error}"),
            Self::File(file, error) => write!(
                f,
                "{} cannot be used for TLS to its servers: {error}; \
                 check that it is the right PEM file",
                file.display()
            ),
        }
    }
}

impl Error for TrustError {}
