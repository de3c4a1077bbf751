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
use sha2::{Digest as _, Sha256};
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
        let subject = told
            .subject_header
            .as_ref()
            .and_then(|name| Some((name.clone(), HeaderValue::try_from(principal(leaf)).ok()?)));
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

/// Who a certificate is for. All whose subject is empty would be one, so they
/// go by another name of theirs; and who has none, by the certificate.
fn principal(leaf: &CertificateDer<'_>) -> String {
    let parsed = X509Certificate::from_der(leaf).ok();
    let name = parsed.and_then(|(_, certificate)| {
        let subject = subject::text(certificate.subject());
        let named = Some(subject).filter(|subject| !subject.is_empty());
        named.or_else(|| subject::alternative(&certificate))
    });
    name.unwrap_or_else(|| {
        let digest = Sha256::digest(leaf);
        format!("fingerprint=sha256:{}", subject::hex(&digest))
    })
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn told(common_name: Option<&str>, others: &[SanType]) -> String {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = others.to_vec();
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        principal(made.der())
    }

    #[test]
    fn those_without_a_subject_are_not_one() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let uri = |name: &str| SanType::URI(name.try_into().unwrap());
        let names = [dns("a.example"), uri("spiffe://example/a"), uri("b:c")];
        assert_eq!(told(Some("a"), &names), "CN=a");
        assert_eq!(told(None, &names), "URI=spiffe://example/a");
        assert_eq!(told(None, &names[..1]), "DNS=a.example");
        assert_eq!(told(None, &[uri("a:b,CN=admin")]), "URI=a:b\\,CN=admin");
        let (one, other) = (told(None, &[]), told(None, &[]));
        assert!(one.starts_with("fingerprint=sha256:"), "{one}");
        assert_eq!(one.len(), "fingerprint=sha256:".len() + 64);
        assert_ne!(one, other);
    }
}
