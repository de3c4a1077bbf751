//! TLS towards clients: PEM files in, a [`ServerConfig`] out, and a new one
//! when the files change.

mod certificate;
mod clients;
mod error;
mod files;
mod metrics;
mod resolver;
mod settings;
mod subject;
mod termination;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

pub(crate) use self::certificate::Certificate;
pub(crate) use self::clients::Identity;
pub use self::error::TlsError;
use self::files::Files;
pub(crate) use self::metrics::{HandshakeFailure, TlsMetrics};
pub(crate) use self::termination::Termination;
use super::config::model::Tls;

/// Reads the files of one listener. Offers HTTP/2 and HTTP/1.1.
///
/// What ACME would add is left out.
pub fn server_config(tls: &Tls) -> Result<ServerConfig, TlsError> {
    settings::load(tls, &Files::read(tls), None).map(|loaded| loaded.config)
}

/// The certificates of files, in their order; `None` where one cannot be used.
pub(crate) fn certificates(tls: &Tls) -> Vec<Option<Certificate>> {
    let (files, provider) = (Files::read(tls), provider());
    let named = tls.certificates.iter();
    let load = |named| Certificate::of_files(&files, named, &provider).ok();
    named.map(load).collect()
}

/// What TLS is done by, on this side.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::proxy::config::model::ClientCertificates;

    struct Folder(PathBuf);

    impl Folder {
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

    impl Drop for Folder {
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
            clients: client_ca.map(|file| ClientCertificates {
                ca: file.to_owned(),
                required: true,
                subject_header: None,
                certificate_header: None,
            }),
            ..Tls::of(certificate.to_owned(), private_key.to_owned())
        };
        server_config(&tls).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_file_and_the_remedy() {
        let files = Folder::new("errors");
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
        let files = Folder::new("alpn");
        let (certificate, key) = pair();
        let tls = Tls::of(
            files.write("a.pem", &certificate),
            files.write("a.key", &key),
        );
        let config = server_config(&tls).unwrap();
        assert_eq!(
            config.alpn_protocols,
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
    }
}
