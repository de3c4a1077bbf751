//! TLS towards clients: PEM files in, a [`ServerConfig`] out.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::config::model::Tls;

/// Why a listener's TLS could not be set up.
#[derive(Debug)]
pub struct TlsError {
    file: PathBuf,
    cause: TlsCause,
}

#[derive(Debug)]
enum TlsCause {
    Read(io::Error),
    Pem(PemError),
    NoCertificate,
    NoKey,
    Mismatch,
    Rejected(rustls::Error),
    Authorities(VerifierBuilderError),
}

/// Reads the files of one listener. Offers HTTP/2 and HTTP/1.1.
pub fn server_config(tls: &Tls) -> Result<ServerConfig, TlsError> {
    let certificates = certificates(&tls.certificate)?;
    let key = private_key(&tls.private_key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&tls.certificate, TlsCause::Rejected(error)))?;
    let builder = match &tls.client_ca {
        Some(file) => builder.with_client_cert_verifier(client_verifier(file, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| rejected(tls, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn client_verifier(
    file: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(file)? {
        roots
            .add(authority)
            .map_err(|error| TlsError::new(file, TlsCause::Rejected(error)))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| TlsError::new(file, TlsCause::Authorities(error)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::new(file, TlsCause::Pem(error)))?;
    if found.is_empty() {
        return Err(TlsError::new(file, TlsCause::NoCertificate));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| match error {
        PemError::NoItemsFound => TlsError::new(file, TlsCause::NoKey),
        error => TlsError::new(file, TlsCause::Pem(error)),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|error| TlsError::new(file, TlsCause::Read(error)))
}

fn rejected(tls: &Tls, error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::new(&tls.private_key, TlsCause::Mismatch)
        }
        // The key is loaded after the chain was read, and fails in general
        // terms; the chain fails as a certificate.
        rustls::Error::InvalidCertificate(_) => {
            TlsError::new(&tls.certificate, TlsCause::Rejected(error))
        }
        error => TlsError::new(&tls.private_key, TlsCause::Rejected(error)),
    }
}

impl TlsError {
    fn new(file: &Path, cause: TlsCause) -> Self {
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
            TlsCause::NoCertificate | TlsCause::NoKey | TlsCause::Mismatch => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("tower-sse-tls-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn error(certificate: &Path, private_key: &Path, client_ca: Option<&Path>) -> String {
        let tls = Tls {
            certificate: certificate.to_owned(),
            private_key: private_key.to_owned(),
            client_ca: client_ca.map(Path::to_owned),
        };
        server_config(&tls).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_file_and_the_remedy() {
        let files = Files::new("errors");
        let (certificate, key) = pair();
        let good = files.write("good.pem", &certificate);
        let good_key = files.write("good.key", &key);
        let other_key = files.write("other.key", &pair().1);
        let empty = files.write("empty.pem", "nothing here\n");
        let broken = files.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        let missing = files.0.join("missing.pem");

        let cases = [
            (
                error(&missing, &good_key, None),
                "missing.pem",
                "check the path",
            ),
            (
                error(&empty, &good_key, None),
                "no certificate in",
                "BEGIN CERTIFICATE",
            ),
            (
                error(&broken, &good_key, None),
                "broken.pem is not valid PEM",
                "export",
            ),
            (
                error(&good, &empty, None),
                "no private key in",
                "BEGIN PRIVATE KEY",
            ),
            (
                error(&good, &other_key, None),
                "other.key",
                "does not belong",
            ),
            (
                error(&good, &good_key, Some(&empty)),
                "no certificate in",
                "empty.pem",
            ),
        ];
        for (text, what, remedy) in cases {
            assert!(text.contains(what) && text.contains(remedy), "{text}");
        }
    }

    #[test]
    fn http2_is_offered_first() {
        let files = Files::new("alpn");
        let (certificate, key) = pair();
        let tls = Tls {
            certificate: files.write("a.pem", &certificate),
            private_key: files.write("a.key", &key),
            client_ca: None,
        };
        let config = server_config(&tls).unwrap();
        assert_eq!(
            config.alpn_protocols,
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
    }
}
