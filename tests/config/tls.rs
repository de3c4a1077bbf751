//! Certificate files are read when the configuration is, not when the first
//! client comes.

use std::fs;
use std::path::{Path, PathBuf};

use tower_sse::proxy::Config;

/// A folder of its own for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("config")
        .join(name);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn write_pair(folder: &Path) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    fs::write(folder.join("cert.pem"), pair.cert.pem()).expect("written");
    fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).expect("written");
}

/// Reads a file in `folder` with this `tls` block, and says what is wrong
/// without the path of the folder.
fn load(folder: &Path, tls: &str) -> Result<Config, String> {
    let path = folder.join("proxy.yaml");
    let text = format!(
        "listeners:\n  - address: 127.0.0.1:0\n    tls: {tls}\n\
         routes: [{{ path: /, upstream: \"http://app\" }}]\n"
    );
    fs::write(&path, text).expect("written");
    Config::load(&path).map_err(|error| {
        let prefix = format!("{}:3:", path.display());
        let said = error.to_string();
        said.strip_prefix(&prefix).unwrap_or(&said).to_owned()
    })
}

#[test]
fn names_start_at_the_folder_of_the_file() {
    let folder = folder("good");
    write_pair(&folder);
    let tls = "{ certificate: cert.pem, private_key: ./key.pem, client_ca: cert.pem }";
    let config = load(&folder, tls).unwrap();
    let files = config.listeners[0].tls.as_ref().expect("TLS");
    assert!(files.certificates[0].certificate.is_absolute());
    assert_eq!(files.certificates[0].certificate, folder.join("cert.pem"));
    let clients = files.clients.as_ref().expect("client certificates");
    assert_eq!(clients.ca, folder.join("cert.pem"));
    assert!(clients.required, "the default");
    let printed = Config::parse("elsewhere.yaml", &config.to_yaml(), &|_| None);
    assert_eq!(printed.unwrap(), config);
}

#[test]
fn mistakes() {
    let folder = folder("bad");
    write_pair(&folder);
    fs::write(folder.join("empty.pem"), "").expect("written");
    fs::write(
        folder.join("broken.pem"),
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    )
    .expect("written");
    let relative = "relative names start at the folder of the configuration file";
    for (tls, expected) in [
        ("{ private_key: key.pem }", "10: listeners[0].tls: has no `certificate`; name the PEM file of the chain, leaf first".into()),
        ("{ certificate: cert.pem }", "10: listeners[0].tls: has no `private_key`; name the PEM file of its key".into()),
        ("{ certificate: none.pem, private_key: key.pem }", format!("25: listeners[0].tls.certificate: cannot read \"none.pem\": no such file; {relative}")),
        ("{ certificate: ., private_key: key.pem }", format!("25: listeners[0].tls.certificate: cannot read \".\": it is a folder; {relative}")),
        ("{ certificate: cert.pem, private_key: none.pem }", format!("48: listeners[0].tls.private_key: cannot read \"none.pem\": no such file; {relative}")),
        ("{ certificate: empty.pem, private_key: key.pem }", "25: listeners[0].tls.certificate: \"empty.pem\" holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is needed".into()),
        ("{ certificate: key.pem, private_key: key.pem }", "25: listeners[0].tls.certificate: \"key.pem\" holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is needed".into()),
        ("{ certificate: cert.pem, private_key: cert.pem }", "48: listeners[0].tls.private_key: \"cert.pem\" holds no private key; a PEM file with `-----BEGIN PRIVATE KEY-----` (not encrypted) is needed".into()),
        ("{ certificate: cert.pem, private_key: key.pem, client_ca: empty.pem }", "68: listeners[0].tls.client_ca: \"empty.pem\" holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is needed".into()),
    ] {
        assert_eq!(load(&folder, tls).unwrap_err(), expected);
    }
    let said = load(&folder, "{ certificate: broken.pem, private_key: key.pem }").unwrap_err();
    assert!(
        said.contains("\"broken.pem\" is not a readable PEM file: "),
        "{said}"
    );
}
