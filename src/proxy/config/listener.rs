//! `listeners` and `admin`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{ConfigError, io_reason};
use super::model::{Listener, Tls};
use super::section::Section;
use super::tree::Node;

type Result<T> = std::result::Result<T, ConfigError>;

/// The `listeners` list.
pub(super) fn read_all(node: &Node, folder: &Path) -> Result<Vec<Listener>> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.error(
            "is empty; list at least one `- address: IP:PORT`, or remove the key for the default",
        ));
    }
    let mut listeners: Vec<Listener> = Vec::with_capacity(items.len());
    for item in items {
        let listener = read(item, folder)?;
        // Port 0 takes another free port each time.
        if let Some(other) = listeners
            .iter()
            .position(|l| l.address == listener.address && l.address.port() != 0)
        {
            return Err(item.error(format!(
                "has the address of listeners[{other}]; every listener needs its own"
            )));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The `admin` block.
pub(super) fn read_admin(node: &Node) -> Result<Option<SocketAddr>> {
    let section = Section::open(node, &["address"])?;
    section.read_or_off("address", address)
}

fn read(node: &Node, folder: &Path) -> Result<Listener> {
    let section = Section::open(node, &["address", "tls"])?;
    let Some(address) = section.read("address", address)? else {
        return Err(node.error("has no `address`; write one, such as 0.0.0.0:8080"));
    };
    let tls = section.read_or_off("tls", |node| read_tls(node, folder))?;
    Ok(Listener { address, tls })
}

fn address(node: &Node) -> Result<SocketAddr> {
    node.text()?.parse().map_err(|_| {
        node.error(format!(
            "{} is not an IP address and port; write 0.0.0.0:8080 for every IPv4 interface, \
             [::]:8080 for IPv6, 127.0.0.1:8080 for this machine only",
            node.shown()
        ))
    })
}

fn read_tls(node: &Node, folder: &Path) -> Result<Tls> {
    let section = Section::open(node, &["certificate", "private_key", "client_ca"])?;
    let required = |name: &str, what: &str| {
        section
            .get(name)
            .ok_or_else(|| node.error(format!("has no `{name}`; name the PEM file of {what}")))
    };
    let certificate = required("certificate", "the chain, leaf first")?;
    let private_key = required("private_key", "its key")?;
    Ok(Tls {
        certificate: certificates(certificate, folder)?,
        private_key: key(private_key, folder)?,
        client_ca: section.read_or_off("client_ca", |node| certificates(node, folder))?,
    })
}

/// A PEM file that holds at least one certificate and no broken one.
pub(super) fn certificates(node: &Node, folder: &Path) -> Result<PathBuf> {
    let (path, pem) = file(node, folder)?;
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(path),
        Ok(_) => Err(node.error(format!(
            "{} holds no certificate; a PEM file with `-----BEGIN CERTIFICATE-----` is needed",
            node.shown()
        ))),
        Err(why) => Err(node.error(format!(
            "{} is not a readable PEM file: {why}",
            node.shown()
        ))),
    }
}

/// A PEM file that holds a private key.
pub(super) fn key(node: &Node, folder: &Path) -> Result<PathBuf> {
    let (path, pem) = file(node, folder)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(path),
        // The reason is left out: it could quote from the key.
        Err(_) => Err(node.error(format!(
            "{} holds no private key; a PEM file with `-----BEGIN PRIVATE KEY-----` \
             (not encrypted) is needed",
            node.shown()
        ))),
    }
}

/// Reads a file named in the configuration. The path is kept absolute: the
/// server reads it again for each reload, and the printed configuration may be
/// stored elsewhere.
fn file(node: &Node, folder: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let path = folder.join(node.text()?);
    let absolute = std::path::absolute(&path);
    let read = absolute.and_then(|path| std::fs::read(&path).map(|bytes| (path, bytes)));
    read.map_err(|why| {
        node.error(format!(
            "cannot read {}: {}; relative names start at the folder of the configuration file",
            node.shown(),
            io_reason(&why)
        ))
    })
}
