//! The `tls` block of a listener: what it may say, and how it is read and
//! printed.

mod acme;
mod print;
mod read;
mod warning;

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

pub(super) use self::print::print;
pub(super) use self::read::read;
pub(super) use self::warning::all as warnings;

/// How a listener ends TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Those of files. The first is for clients that name no host, or one that
    /// nobody has; there is none only where `acme` is set.
    pub certificates: Vec<CertificateFiles>,
    /// One that is asked for and renewed by the proxy itself.
    pub acme: Option<Acme>,
    /// Whether clients present certificates. `None`: nobody asks them to.
    pub clients: Option<ClientCertificates>,
    /// The oldest version spoken. Default 1.2.
    pub min_version: TlsVersion,
    /// How long browsers are told to come over TLS only; `None` tells nothing.
    pub hsts: Option<Duration>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM file of the chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub private_key: PathBuf,
}

/// What is asked of clients, and what is told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file of the authorities whose certificates are accepted.
    pub ca: PathBuf,
    /// Whether a client without one is refused. Default: it is.
    pub required: bool,
    /// The header that tells the upstream the certificate's subject.
    pub subject_header: Option<HeaderName>,
    /// The header that gives the upstream the certificate itself.
    pub certificate_header: Option<HeaderName>,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2, with forward secrecy and authenticated encryption only.
    #[default]
    V1_2,
    /// 1.3.
    V1_3,
}

/// A certificate by ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// What the certificate is for: host names in lower case, at least one.
    pub domains: Vec<String>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// The authority's directory, an `https` URL.
    pub directory: String,
    /// Folder of account and certificate, absolute. It need not exist.
    pub cache: PathBuf,
    /// How the names are proved to be the proxy's.
    pub challenge: Challenge,
    /// PEM file of the authorities that vouch for the directory's server, in
    /// place of the system's.
    pub ca: Option<PathBuf>,
}

/// How names are proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// A file asked for in clear, on port 80.
    Http01,
    /// A certificate asked for by TLS, on port 443.
    #[default]
    TlsAlpn01,
}

impl Acme {
    /// Where certificates come from if nothing is said: Let's Encrypt.
    pub const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
}

impl Tls {
    /// This certificate, and the default of everything else.
    pub fn of(certificate: PathBuf, private_key: PathBuf) -> Self {
        Self {
            certificates: vec![CertificateFiles {
                certificate,
                private_key,
            }],
            ..Self::none()
        }
    }

    /// A certificate by ACME, and the default of everything else.
    pub fn by_acme(acme: Acme) -> Self {
        Self {
            acme: Some(acme),
            ..Self::none()
        }
    }

    fn none() -> Self {
        Self {
            certificates: Vec::new(),
            acme: None,
            clients: None,
            min_version: TlsVersion::default(),
            hsts: None,
        }
    }
}

/// Words of the file.
const MIN_VERSION: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
const CLIENT_AUTH: [(&str, bool); 2] = [("required", true), ("optional", false)];
const CHALLENGE: [(&str, Challenge); 2] = [
    ("tls-alpn-01", Challenge::TlsAlpn01),
    ("http-01", Challenge::Http01),
];
