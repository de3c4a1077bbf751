//! PEM files that the configuration names.

use std::path::{Path, PathBuf};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{ConfigError, io_reason};
use super::model::CertificateFiles;
use super::tree::Node;

type Result<T> = std::result::Result<T, ConfigError>;

/// A file that holds at least one certificate and no broken one.
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

/// A file that holds a private key.
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

/// Refuses a key that belongs to another certificate. Whatever else is wrong
/// with a pair is found, and explained, when it is loaded.
pub(super) fn matching(key: &Node, files: &CertificateFiles) -> Result<()> {
    let Some((chain, private_key)) = load(files) else {
        return Ok(());
    };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, private_key, &provider) {
        Err(rustls::Error::InconsistentKeys(_)) => Err(key.error(format!(
            "{} does not belong to the certificate; name the key the certificate was \
             requested with, and put the leaf first in the chain",
            key.shown()
        ))),
        _ => Ok(()),
    }
}

fn load(
    files: &CertificateFiles,
) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = std::fs::read(&files.certificate).ok()?;
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<std::result::Result<_, _>>();
    let key = std::fs::read(&files.private_key).ok()?;
    Some((chain.ok()?, PrivateKeyDer::from_pem_slice(&key).ok()?))
}

/// A path, kept absolute: the server uses it again later, and the printed
/// configuration may be stored elsewhere.
pub(super) fn path(node: &Node, folder: &Path) -> Result<PathBuf> {
    std::path::absolute(folder.join(node.text()?)).map_err(|why| unreadable(node, &why))
}

fn file(node: &Node, folder: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let path = path(node, folder)?;
    match std::fs::read(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(why) => Err(unreadable(node, &why)),
    }
}

fn unreadable(node: &Node, why: &std::io::Error) -> ConfigError {
    node.error(format!(
        "cannot read {}: {}; relative names start at the folder of the configuration file",
        node.shown(),
        io_reason(why)
    ))
}
