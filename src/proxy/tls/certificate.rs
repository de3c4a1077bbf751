//! One certificate: whose it is, and until when.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::error::{TlsCause, TlsError};
use super::files::Files;
use crate::proxy::config::model::CertificateFiles;

/// A certificate that can be presented, with its key.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// Host names in lower case, such as `a.example` or `*.a.example`.
    pub(crate) names: Vec<String>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
}

impl Certificate {
    pub(super) fn of_files(
        files: &Files,
        named: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let chain = files.certificates(&named.certificate)?;
        let key = files.private_key(&named.private_key)?;
        let unreadable = || TlsError::new(&named.certificate, TlsCause::Unreadable);
        match Self::new(chain, key, provider) {
            Ok(Some(certificate)) => Ok(certificate),
            Ok(None) => Err(unreadable()),
            Err(error) => Err(rejected(&named.certificate, &named.private_key, error)),
        }
    }

    /// `None` if the leaf is not understood.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Option<Self>, Error> {
        let Some(leaf) = chain.first().and_then(Leaf::of) else {
            return Ok(None);
        };
        Ok(Some(Self {
            names: leaf.names,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            key: Arc::new(CertifiedKey::from_der(chain, key, provider)?),
        }))
    }
}

/// What a certificate says of itself.
struct Leaf {
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

impl Leaf {
    fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let alternative = certificate.subject_alternative_name().ok()?;
        let names = alternative.map(|names| &names.value.general_names);
        let host = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        Some(Self {
            names: names.into_iter().flatten().filter_map(host).collect(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

fn rejected(certificate: &Path, private_key: &Path, error: Error) -> TlsError {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::new(private_key, TlsCause::Mismatch)
        }
        // The key is loaded after the chain was read, and fails in general
        // terms; the chain fails as a certificate.
        Error::InvalidCertificate(_) => TlsError::new(certificate, TlsCause::Rejected(error)),
        error => TlsError::new(private_key, TlsCause::Rejected(error)),
    }
}
