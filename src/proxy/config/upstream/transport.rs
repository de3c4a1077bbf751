//! `tls`, `pool` and `sticky`: how the servers are connected to, and which one
//! a request belongs to.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, Uri};
use rustls_pki_types::ServerName;

use super::super::model::{Identity, Pool, Sticky, UpstreamTls};
use super::super::pem;
use super::super::section::Section;
use super::super::tree::Node;
use super::Result;

const TLS_KEYS: [&str; 5] = [
    "ca",
    "certificate",
    "private_key",
    "server_name",
    "insecure",
];
const POOL_KEYS: [&str; 5] = ["idle", "max_idle", "max_open", "streams", "ping"];
const SWITCH: [(&str, bool); 2] = [("true", true), ("false", false)];

/// How a server's certificate is verified, and which one it is shown.
pub(super) fn tls(node: &Node, servers: &[Uri], folder: &Path) -> Result<UpstreamTls> {
    let section = Section::open(node, &TLS_KEYS)?;
    if !servers.iter().any(|uri| uri.scheme_str() == Some("https")) {
        return Err(node.error(
            "has no effect, as no server's URL begins with https://; write https:// there, \
             or remove `tls`",
        ));
    }
    let insecure = section.read("insecure", |node| node.word(&SWITCH))?;
    let insecure = insecure.unwrap_or(false);
    let ca = section.read_or_off("ca", |node| pem::certificates(node, folder))?;
    if insecure && ca.is_some() {
        return Err(node.error(
            "has both `ca` and `insecure: true`, which believes anybody; remove `insecure`",
        ));
    }
    Ok(UpstreamTls {
        ca,
        identity: identity(node, section, folder)?,
        server_name: section.read_or_off("server_name", server_name)?,
        insecure,
    })
}

fn identity(node: &Node, section: Section<'_>, folder: &Path) -> Result<Option<Identity>> {
    let certificate = |node| pem::certificates(node, folder);
    let certificate = section.read_or_off("certificate", certificate)?;
    let private_key = section.read_or_off("private_key", |node| pem::key(node, folder))?;
    match (certificate, private_key) {
        (Some(certificate), Some(private_key)) => Ok(Some(Identity {
            certificate,
            private_key,
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(node
            .error("has a `certificate` without its `private_key`; name the PEM file of the key")),
        (None, Some(_)) => Err(node.error(
            "has a `private_key` without its `certificate`; name the PEM file of the chain",
        )),
    }
}

fn server_name(node: &Node) -> Result<String> {
    let name = node.text()?;
    match ServerName::try_from(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(node.error(format!(
            "{} is not a host name or address; write one without scheme and port, such as \
             app.internal",
            node.shown()
        ))),
    }
}

pub(super) fn pool(node: &Node) -> Result<Pool> {
    let section = Section::open(node, &POOL_KEYS)?;
    let default = Pool::default();
    let ping = section.read("ping", |node| {
        node.duration_from(
            Duration::from_secs(1),
            "servers take many pings for an attack",
        )
    })?;
    Ok(Pool {
        idle: section
            .read("idle", Node::duration)?
            .unwrap_or(default.idle),
        max_idle: section.read_or_off("max_idle", Node::count)?,
        max_open: section.read_or_off("max_open", Node::count)?,
        streams: section
            .read("streams", Node::count)?
            .unwrap_or(default.streams),
        ping: ping.unwrap_or(default.ping),
    })
}

const STICKY: &str = "write { header: NAME }, { cookie: NAME } or client_address";

pub(super) fn sticky(node: &Node) -> Result<Sticky> {
    if let Ok(word) = node.text() {
        return match word {
            "client_address" => Ok(Sticky::ClientAddress),
            _ => Err(node.error(format!("{} is not known; {STICKY}", node.shown()))),
        };
    }
    let section = Section::open(node, &["header", "cookie"])?;
    let header = section.read("header", header)?;
    let cookie = section.read("cookie", cookie)?;
    match (header, cookie) {
        (Some(header), None) => Ok(Sticky::Header(header)),
        (None, Some(cookie)) => Ok(Sticky::Cookie(cookie)),
        _ => Err(node.error(format!("needs one of `header` and `cookie`; {STICKY}"))),
    }
}

fn header(node: &Node) -> Result<HeaderName> {
    node.text()?.parse().map_err(|_| {
        node.error(format!(
            "{} is not a header name; write one, such as X-User",
            node.shown()
        ))
    })
}

fn cookie(node: &Node) -> Result<String> {
    let name = node.text()?;
    // A cookie's name is a token, as a header's is (RFC 6265 §4.1.1).
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(node.error(format!(
            "{} is not a cookie name; write one, such as session",
            node.shown()
        ))),
    }
}
