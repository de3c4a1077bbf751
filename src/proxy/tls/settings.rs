//! What the files of a listener make of rustls.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};

use super::certificate::Certificate;
use super::error::{TlsCause, TlsError};
use super::files::Files;
use super::resolver::Resolver;
use super::{clients, provider};
use crate::proxy::acme::{self, Acme};
use crate::proxy::config::model::{Challenge, Tls, TlsVersion};

/// A configuration, and the certificates of files in it.
pub(super) struct Loaded {
    pub(super) config: ServerConfig,
    pub(super) certificates: Vec<Certificate>,
}

/// Cipher suites and key exchanges are rustls' own choice: all of them with
/// forward secrecy and authenticated encryption, post-quantum first.
pub(super) fn load(tls: &Tls, files: &Files, acme: Option<&Arc<Acme>>) -> Result<Loaded, TlsError> {
    let provider = provider();
    let certificates = tls
        .certificates
        .iter()
        .map(|named| Certificate::of_files(files, named, &provider))
        .collect::<Result<Vec<_>, _>>()?;
    let versions: &[_] = match tls.min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let verifier = tls.clients.as_ref();
    let verifier = verifier.map(|told| clients::verifier(told, files, &provider));
    let verifier = verifier.transpose()?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| {
            let named = tls.certificates.first().map(|files| &files.certificate);
            TlsError::new(
                named.map_or("".as_ref(), |file| file.as_path()),
                TlsCause::Rejected(error),
            )
        })?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let resolver = Resolver::new(&certificates, acme.cloned());
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let by_alpn = |acme: &acme::Acme| acme.challenge_kind() == Challenge::TlsAlpn01;
    if acme.is_some_and(|acme| by_alpn(acme)) {
        config.alpn_protocols.push(acme::PROTOCOL.to_vec());
    }
    Ok(Loaded {
        config,
        certificates,
    })
}
