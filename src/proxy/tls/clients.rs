//! What clients' certificates are verified by, and what they say.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::{TlsCause, TlsError};
use super::files::Files;
use super::subject;
use crate::proxy::config::model::ClientCertificates;

/// Who a client has proved to be, in the headers that tell the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity(Vec<(HeaderName, HeaderValue)>);

impl Identity {
    /// What is to be told of a verified certificate; `None` if nothing is.
    pub(super) fn of(leaf: &CertificateDer<'_>, told: &ClientCertificates) -> Option<Self> {
        let subject = told.subject_header.as_ref().and_then(|name| {
            let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
            let text = subject::text(certificate.subject());
            Some((name.clone(), HeaderValue::from_str(&text).ok()?))
        });
        // RFC 9440: a byte sequence of RFC 8941.
        let whole = told.certificate_header.as_ref().and_then(|name| {
            let value = format!(":{}:", STANDARD.encode(leaf));
            Some((name.clone(), HeaderValue::try_from(value).ok()?))
        });
        let headers: Vec<_> = subject.into_iter().chain(whole).collect();
        (!headers.is_empty()).then_some(Self(headers))
    }

    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0
    }
}

/// Verifies clients' certificates.
pub(super) fn verifier(
    clients: &ClientCertificates,
    files: &Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let failed = |cause| TlsError::new(&clients.ca, cause);
    let mut roots = RootCertStore::empty();
    for authority in files.certificates(&clients.ca)? {
        let added = roots.add(authority);
        added.map_err(|error| failed(TlsCause::Rejected(error)))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if clients.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let built = builder.build();
    built.map_err(|error| failed(TlsCause::Authorities(error)))
}
