//! The files of a listener as they are at one moment.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use super::error::{TlsCause, TlsError};
use crate::proxy::config::model::Tls;

/// What the files held when they were read: a certificate is built from the
/// same bytes by which it is seen that they changed.
pub(super) struct Files(BTreeMap<PathBuf, io::Result<Vec<u8>>>);

/// Stands for the contents of all files.
pub(super) type Fingerprint = [u8; 32];

impl Files {
    pub(super) fn read(tls: &Tls) -> Self {
        let certificates = tls.certificates.iter();
        let pairs = certificates.flat_map(|files| [&files.certificate, &files.private_key]);
        let authorities = tls.clients.iter().map(|clients| &clients.ca);
        let read = |path: &PathBuf| (path.clone(), std::fs::read(path));
        Self(pairs.chain(authorities).map(read).collect())
    }

    /// Also of what cannot be read: that may pass, too.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for content in self.0.values() {
            match content {
                Ok(bytes) => {
                    hash.update((bytes.len() as u64).to_be_bytes());
                    hash.update(bytes);
                }
                Err(error) => hash.update(format!("{:?}", error.kind())),
            }
        }
        hash.finalize().into()
    }

    /// The certificates of a file, at least one.
    pub(super) fn certificates(
        &self,
        file: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found = CertificateDer::pem_slice_iter(self.content(file)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::new(file, TlsCause::Pem(error)))?;
        if found.is_empty() {
            return Err(TlsError::new(file, TlsCause::NoCertificate));
        }
        Ok(found)
    }

    /// The first private key of a file.
    pub(super) fn private_key(&self, file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(self.content(file)?).map_err(|error| match error {
            PemError::NoItemsFound => TlsError::new(file, TlsCause::NoKey),
            error => TlsError::new(file, TlsCause::Pem(error)),
        })
    }

    fn content(&self, file: &Path) -> Result<&[u8], TlsError> {
        let failed = |error| TlsError::new(file, TlsCause::Read(error));
        match self.0.get(file) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(failed(io::Error::new(error.kind(), error.to_string()))),
            None => Err(failed(io::ErrorKind::NotFound.into())),
        }
    }
}
