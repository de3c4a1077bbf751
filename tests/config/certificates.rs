//! The `tls` block in full, redirects, and what is said about their mistakes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tower_sse::proxy::Config;
use tower_sse::proxy::config::model::{Acme, Challenge, Tls, TlsVersion};
use tower_sse::resume::settings::Mode;

/// A folder of its own for one test, with `a.pem`, `a.key` and so on in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("config-certificates")
            .join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let this = Self(folder);
        this.write("a", &["a.example", "both.example"]);
        this.write("b", &["b.example", "both.example"]);
        this.write("nameless", &[]);
        this
    }

    fn write(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(hosts).expect("a pair");
        let write = |end: &str, text: String| {
            fs::write(self.0.join(format!("{name}.{end}")), text).expect("written");
        };
        write("pem", made.cert.pem());
        write("key", made.signing_key.serialize_pem());
    }

    /// Reads a file with these listeners, each a line from column 5 on.
    fn load(&self, listeners: &[&str]) -> Result<Config, String> {
        let path = self.0.join("proxy.yaml");
        let listeners = listeners.join("\n  - ");
        let routes = "routes: [{ path: /, upstream: \"http://app\" }]\n";
        fs::write(&path, format!("listeners:\n  - {listeners}\n{routes}")).expect("written");
        Config::load(&path).map_err(|error| {
            let prefix = format!("{}:", path.display());
            let said = error.to_string();
            said.strip_prefix(&prefix).unwrap_or(&said).to_owned()
        })
    }

    fn tls(&self, tls: &str) -> Result<Tls, String> {
        let config = self.load(&[&format!("{{ address: 127.0.0.1:0, tls: {tls} }}")])?;
        let printed = Config::parse("elsewhere.yaml", &config.to_yaml(), &|_| None);
        assert_eq!(printed.unwrap(), config, "it reads back");
        Ok(config.listeners[0].tls.clone().expect("TLS"))
    }
}

#[test]
fn every_key() {
    let folder = Folder::new("every_key");
    let tls = folder
        .tls(
            "{ certificates: [{ certificate: a.pem, private_key: a.key }, \
             { certificate: b.pem, private_key: b.key }], \
             client_ca: a.pem, client_auth: optional, client_subject_header: X-Subject, \
             client_certificate_header: Client-Cert, min_version: 1.3, hsts: 365d, \
             acme: { domains: [C.example, d.example], email: ops@d.example, \
             directory: \"https://ca.example:14000/dir\", cache: acme, \
             challenge: tls-alpn-01, ca: b.pem } }",
        )
        .unwrap();
    let names = tls.certificates.iter().map(|files| &files.private_key);
    let expected = [folder.0.join("a.key"), folder.0.join("b.key")];
    assert!(names.eq(&expected));
    let clients = tls.clients.unwrap();
    assert!(!clients.required);
    assert_eq!(clients.subject_header.unwrap(), "x-subject");
    assert_eq!(clients.certificate_header.unwrap(), "client-cert");
    assert_eq!(tls.min_version, TlsVersion::V1_3);
    assert_eq!(tls.hsts, Some(Duration::from_secs(365 * 24 * 60 * 60)));
    let acme = Acme {
        domains: vec!["c.example".to_owned(), "d.example".to_owned()],
        email: Some("ops@d.example".to_owned()),
        directory: "https://ca.example:14000/dir".to_owned(),
        cache: folder.0.join("acme"),
        challenge: Challenge::TlsAlpn01,
        ca: Some(folder.0.join("b.pem")),
    };
    assert_eq!(tls.acme, Some(acme));
}

#[test]
fn defaults() {
    let folder = Folder::new("defaults");
    let tls = folder
        .tls("{ certificate: a.pem, private_key: a.key }")
        .unwrap();
    let expected = Tls::of(folder.0.join("a.pem"), folder.0.join("a.key"));
    assert_eq!(tls, expected);
    let tls = folder.tls("{ acme: { domains: [a.example], cache: /var/acme } }");
    let acme = tls.unwrap().acme.unwrap();
    assert_eq!(acme.directory, Acme::DEFAULT_DIRECTORY);
    assert_eq!(acme.challenge, Challenge::TlsAlpn01);
    assert_eq!(acme.cache, Path::new("/var/acme"));
    assert!(!acme.cache.exists(), "made when it is used");
}

#[test]
fn redirects() {
    let folder = Folder::new("redirects");
    for (written, port) in [
        ("true", Some(443)),
        ("8443", Some(8443)),
        ("false", None),
        ("~", None),
    ] {
        let listener = format!("{{ address: 127.0.0.1:0, redirect_to_https: {written} }}");
        let config = folder.load(&[&listener]).unwrap();
        assert_eq!(config.listeners[0].redirect_to_https, port, "{written}");
        let printed = Config::parse("elsewhere.yaml", &config.to_yaml(), &|_| None);
        assert_eq!(printed.unwrap(), config);
    }
}

#[test]
fn mistakes() {
    let folder = Folder::new("mistakes");
    let pair = "certificate: a.pem, private_key: a.key";
    for (tls, expected) in [
        (
            "{ certificate: a.pem, private_key: b.key }",
            "69: listeners[0].tls.private_key: \"b.key\" does not belong to the certificate; name the key the certificate was requested with, and put the leaf first in the chain",
        ),
        (
            "{ certificates: [] }",
            "50: listeners[0].tls.certificates: is empty; list at least one `- { certificate: chain.pem, private_key: key.pem }`",
        ),
        (
            "{ certificates: [{ certificate: a.pem }] }",
            "51: listeners[0].tls.certificates[0]: has no `private_key`; name the PEM file of its key",
        ),
        (
            &format!("{{ {pair}, certificates: [] }}"),
            "49: listeners[0].tls.certificate: stands beside `certificates`; put the pair into that list, first if it is the default",
        ),
        (
            &format!("{{ {pair}, client_auth: optional }}"),
            "89: listeners[0].tls.client_auth: needs `client_ca`: the PEM file of the authorities that vouch for clients",
        ),
        (
            &format!("{{ {pair}, client_subject_header: X-A }}"),
            "99: listeners[0].tls.client_subject_header: needs `client_ca`: the PEM file of the authorities that vouch for clients",
        ),
        (
            &format!("{{ {pair}, client_ca: a.pem, client_auth: maybe }}"),
            "107: listeners[0].tls.client_auth: \"maybe\" is not valid; write one of: required, optional",
        ),
        (
            &format!("{{ {pair}, client_ca: a.pem, client_subject_header: a b }}"),
            "117: listeners[0].tls.client_subject_header: \"a b\" is not a header name; write one such as X-Client-Subject",
        ),
        (
            &format!("{{ {pair}, client_ca: a.pem, client_subject_header: Host }}"),
            "117: listeners[0].tls.client_subject_header: \"Host\" has a meaning of its own; write another, such as X-Client-Subject",
        ),
        (
            &format!(
                "{{ {pair}, client_ca: a.pem, client_subject_header: X-A, client_certificate_header: x-a }}"
            ),
            "149: listeners[0].tls.client_certificate_header: is the header of the subject already; write another",
        ),
        (
            &format!("{{ {pair}, min_version: 1.1 }}"),
            "89: listeners[0].tls.min_version: \"1.1\" is not valid (did you mean `1.2`?); write one of: 1.2, 1.3",
        ),
        (
            &format!("{{ {pair}, hsts: 365 }}"),
            "82: listeners[0].tls.hsts: \"365\" is not a duration; write a number with a unit, such as 15s or 500ms",
        ),
    ] {
        assert_eq!(
            folder.tls(tls).unwrap_err(),
            format!("2:{expected}"),
            "{tls}"
        );
    }
}

#[test]
fn mistakes_of_acme_and_redirects() {
    let folder = Folder::new("mistakes_of_acme");
    for (tls, expected) in [
        (
            "{ acme: { cache: x } }",
            "42: listeners[0].tls.acme: has no `domains`; list the host names the certificate is for",
        ),
        (
            "{ acme: { domains: [a.example] } }",
            "42: listeners[0].tls.acme: has no `cache`; name a folder that outlives the process, such as /var/lib/sse-proxy/acme",
        ),
        (
            "{ acme: { domains: [], cache: x } }",
            "53: listeners[0].tls.acme.domains: is empty; list the host names the certificate is for",
        ),
        (
            "{ acme: { domains: [\"*.a.example\"], cache: x } }",
            "54: listeners[0].tls.acme.domains[0]: \"*.a.example\" is a wildcard, which is proved by DNS alone; list the names one by one, or have the certificate made elsewhere and name its files",
        ),
        (
            "{ acme: { domains: [127.0.0.1], cache: x } }",
            "54: listeners[0].tls.acme.domains[0]: \"127.0.0.1\" is not a host name; write one such as events.example.com",
        ),
        (
            "{ acme: { domains: [a.example, A.example], cache: x } }",
            "65: listeners[0].tls.acme.domains[1]: is listed twice; keep one of the two",
        ),
        (
            "{ acme: { domains: [a.example], cache: x, email: ops } }",
            "83: listeners[0].tls.acme.email: \"ops\" is not an e-mail address; write one such as ops@example.com",
        ),
        (
            "{ acme: { domains: [a.example], cache: x, directory: \"http://ca\" } }",
            "87: listeners[0].tls.acme.directory: \"http://ca\" is not the URL of an ACME directory; write https:// and what the authority says, such as https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "{ acme: { domains: [a.example], cache: x, challenge: dns-01 } }",
            "87: listeners[0].tls.acme.challenge: \"dns-01\" is not valid; write one of: tls-alpn-01, http-01",
        ),
    ] {
        assert_eq!(
            folder.tls(tls).unwrap_err(),
            format!("2:{expected}"),
            "{tls}"
        );
    }
    for (listener, expected) in [
        (
            "{ address: 127.0.0.1:0, redirect_to_https: yes }",
            "2:48: listeners[0].redirect_to_https: \"yes\" is neither true, false nor a port; write true, or the port clients reach TLS at, such as 8443",
        ),
        (
            "{ address: 127.0.0.1:0, redirect_to_https: true, tls: { certificate: a.pem, private_key: a.key } }",
            "2:48: listeners[0].redirect_to_https: is for listeners in clear, and this one has `tls`; remove one",
        ),
        (
            "{ address: 127.0.0.1:0, tls: { acme: { domains: [a.example], cache: x, challenge: http-01 } } }",
            "2:5: listeners[0]: proves its names by http-01, which is asked for in clear; add a listener without `tls` that port 80 leads to, or write challenge: tls-alpn-01",
        ),
    ] {
        assert_eq!(
            folder.load(&[listener]).unwrap_err(),
            expected,
            "{listener}"
        );
    }
}

#[test]
fn warnings() {
    let folder = Folder::new("warnings");
    let listener = "{ address: 127.0.0.1:0, tls: { certificates: [\
        { certificate: a.pem, private_key: a.key }, { certificate: b.pem, private_key: b.key }, \
        { certificate: nameless.pem, private_key: nameless.key }] } }";
    let warnings = folder.load(&[listener]).unwrap().warnings();
    let expected = [
        "listeners[0].tls.certificates[1]: never shown for both.example, which listeners[0].tls.certificates[0] is for, too, and comes first",
        "listeners[0].tls.certificates[2]: names no host (subject alternative name), so no client is shown it",
    ];
    assert_eq!(warnings, expected);

    let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.0.join("old.pem"), certificate.pem()).unwrap();
    fs::write(folder.0.join("old.key"), key.serialize_pem()).unwrap();
    let listener = "{ address: 127.0.0.1:0, tls: { certificate: old.pem, private_key: old.key } }";
    let warnings = folder.load(&[listener]).unwrap().warnings();
    let expired = "listeners[0].tls.certificate: has expired; clients will refuse it";
    assert_eq!(warnings, [expired]);

    let told = "{ address: 127.0.0.1:0, tls: { certificate: a.pem, private_key: a.key, \
        client_ca: a.pem, client_subject_header: X-Subject } }";
    let mut config = folder.load(&[told]).unwrap();
    assert_eq!(config.warnings(), [""; 0]);
    let sse = &mut config.routes[0].sse;
    (sse.mode, sse.principal) = (Mode::Shared, Vec::new());
    let lost = "routes[0].sse.key.headers: x-subject is not sent upstream, as the route is `mode: shared` and its key does not list it";
    assert_eq!(config.warnings(), [lost]);
    let header = "x-subject".parse().unwrap();
    config.routes[0].sse.key.headers.push(header);
    assert_eq!(config.warnings(), [""; 0]);

    let listener = "{ address: 127.0.0.1:0, redirect_to_https: true }";
    let warnings = folder.load(&[listener]).unwrap().warnings();
    let circles = "listeners[0].redirect_to_https: no listener has `tls`; if TLS is ended before this proxy, and arrives here, clients are sent in circles";
    assert_eq!(warnings, [circles]);
}
