use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::server::VerifierBuilderError;
use rustls_pki_types::pem::Error as PemError;

/// Why a listener's TLS could not be set up.
#[derive(Debug)]
pub struct TlsError {
    file: PathBuf,
    cause: TlsCause,
}

#[derive(Debug)]
pub(super) enum TlsCause {
    Read(io::Error),
    Pem(PemError),
    NoCertificate,
    NoKey,
    Mismatch,
    Unreadable,
    Rejected(rustls::Error),
    Authorities(VerifierBuilderError),
}

impl TlsError {
    pub(super) fn new(file: &Path, cause: TlsCause) -> Self {
        Self {
            file: file.to_owned(),
            cause,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.cause {
            TlsCause::Read(error) => {
                write!(f, "cannot read {file}: {error}; ")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::NotFound => {
                        "check the path, which is relative to the working directory"
                    }
                    io::ErrorKind::PermissionDenied => "let the proxy's user read it",
                    _ => "check the file",
                })
            }
            TlsCause::Pem(error) => write!(f, "{file} is not valid PEM: {error}; export it again"),
            TlsCause::NoCertificate => write!(
                f,
                "no certificate in {file}; it needs a PEM block `BEGIN CERTIFICATE`, the leaf first"
            ),
            TlsCause::NoKey => write!(
                f,
                "no private key in {file}; it needs a PEM block `BEGIN PRIVATE KEY`, unencrypted"
            ),
            TlsCause::Mismatch => write!(
                f,
                "the private key in {file} does not belong to the certificate; \
                 use the key the certificate was requested with, and put the leaf first in the chain"
            ),
            TlsCause::Unreadable => write!(
                f,
                "the first certificate in {file} cannot be understood; export it again"
            ),
            TlsCause::Rejected(error) => write!(f, "{file} cannot be used: {error}"),
            TlsCause::Authorities(error) => {
                write!(f, "{file} cannot be used to verify clients: {error}")
            }
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            TlsCause::Read(error) => Some(error),
            TlsCause::Pem(error) => Some(error),
            TlsCause::Rejected(error) => Some(error),
            TlsCause::Authorities(error) => Some(error),
            TlsCause::NoCertificate
            | TlsCause::NoKey
            | TlsCause::Mismatch
            | TlsCause::Unreadable => None,
        }
    }
}
