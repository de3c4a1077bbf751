//! The binary under test, configured as an operator would.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::process::Command;

use super::Process;
use super::scratch::Scratch;

/// `sse-proxy` in front of one backend, until dropped.
pub(crate) struct Proxy {
    url: String,
    _process: Process,
    _scratch: Scratch,
}

/// A certificate for 127.0.0.1, and the authority that vouches for it.
pub(crate) struct Tls {
    authority: String,
    certificate: String,
    key: String,
    scratch: Scratch,
}

impl Proxy {
    /// All paths lead to `upstream`; `sse` is the inside of the route's block,
    /// as in `heartbeat: 100ms, linger: 5s`.
    pub(crate) async fn start(upstream: &str, sse: &str) -> Self {
        Self::with_route(upstream, "", sse).await
    }

    /// The same with more of the route: whole lines, four spaces in.
    pub(crate) async fn with_route(upstream: &str, route: &str, sse: &str) -> Self {
        let listener = "{ address: 127.0.0.1:0 }";
        Self::listening(listener, upstream, route, sse, Scratch::new()).await
    }

    pub(crate) async fn start_tls(tls: &Tls, upstream: &str, sse: &str) -> Self {
        let scratch = Scratch::new();
        let certificate = scratch.file("certificate.pem", &tls.certificate);
        let key = scratch.file("key.pem", &tls.key);
        let listener = format!(
            "{{ address: 127.0.0.1:0, tls: {{ certificate: {}, private_key: {} }} }}",
            certificate.display(),
            key.display(),
        );
        Self::listening(&listener, upstream, "", sse, scratch).await
    }

    async fn listening(
        listener: &str,
        upstream: &str,
        route: &str,
        sse: &str,
        scratch: Scratch,
    ) -> Self {
        // A lost backend is sought again at once, so that tests do not wait.
        let yaml = format!(
            "listeners:
  - {listener}
routes:
  - path: /
    upstream: {upstream}
{route}    sse: {{ reconnect: {{ initial: 20ms, max: 100ms }}, {sse} }}
"
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
        command
            .arg("--config")
            .arg(scratch.file("proxy.yaml", &yaml));
        let mut process = Process::spawn("sse-proxy", command);
        let line = process
            .line("the listening address", |line| {
                line.starts_with("listening http")
            })
            .await;
        let url = line["listening ".len()..]
            .trim()
            .trim_end_matches('/')
            .to_owned();
        Self {
            url,
            _process: process,
            _scratch: scratch,
        }
    }

    /// Scheme and authority, without a final slash.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Tls {
    pub(crate) fn generate() -> Self {
        let mut params = CertificateParams::default();
        // Issued by a name equal to its own, the leaf would count as self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "tower-sse test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let scratch = Scratch::new();
        let authority = scratch.file("authority.pem", &authority.pem());
        Self {
            authority: authority.to_str().unwrap().to_owned(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            scratch,
        }
    }

    /// Path of the authority's certificate, for `--cacert`.
    pub(crate) fn authority(&self) -> &str {
        debug_assert!(self.scratch.path().exists());
        &self.authority
    }
}
