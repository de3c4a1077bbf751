use std::path::Path;

use http::HeaderName;
use http::header;

use super::{CLIENT_AUTH, CertificateFiles, ClientCertificates, MIN_VERSION, Tls, acme};
use crate::proxy::config::error::ConfigError;
use crate::proxy::config::pem;
use crate::proxy::config::section::Section;
use crate::proxy::config::tree::Node;

type Result<T> = std::result::Result<T, ConfigError>;

const KEYS: [&str; 10] = [
    "certificate",
    "private_key",
    "certificates",
    "acme",
    "client_ca",
    "client_auth",
    "client_subject_header",
    "client_certificate_header",
    "min_version",
    "hsts",
];

/// What means something to the proxy, or to the connection, or to clients.
const TAKEN: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The `tls` block.
pub(in crate::proxy::config) fn read(node: &Node, folder: &Path) -> Result<Tls> {
    let section = Section::open(node, &KEYS)?;
    let acme = section.read_or_off("acme", |node| acme::read(node, folder))?;
    Ok(Tls {
        certificates: certificates(node, section, folder, acme.is_some())?,
        acme,
        clients: clients(section, folder)?,
        min_version: section
            .read("min_version", |node| node.word(&MIN_VERSION))?
            .unwrap_or_default(),
        hsts: section.read_or_off("hsts", Node::duration)?,
    })
}

/// The pair in the block itself, or the list of them.
fn certificates(
    node: &Node,
    section: Section<'_>,
    folder: &Path,
    acme: bool,
) -> Result<Vec<CertificateFiles>> {
    let single = ["certificate", "private_key"];
    let Some(list) = section.get("certificates") else {
        if acme && single.iter().all(|key| section.get(key).is_none()) {
            return Ok(Vec::new());
        }
        return Ok(vec![pair(node, section, folder)?]);
    };
    if let Some(other) = single.iter().find_map(|key| section.get(key)) {
        return Err(other.error(
            "stands beside `certificates`; put the pair into that list, first if it is the default",
        ));
    }
    let items = list.items()?;
    if items.is_empty() && !acme {
        return Err(list.error(
            "is empty; list at least one `- { certificate: chain.pem, private_key: key.pem }`",
        ));
    }
    let read = |item| pair(item, Section::open(item, &single)?, folder);
    items.iter().map(read).collect()
}

fn pair(node: &Node, section: Section<'_>, folder: &Path) -> Result<CertificateFiles> {
    let required = |name: &str, what: &str| {
        section
            .get(name)
            .ok_or_else(|| node.error(format!("has no `{name}`; name the PEM file of {what}")))
    };
    let certificate = required("certificate", "the chain, leaf first")?;
    let private_key = required("private_key", "its key")?;
    let files = CertificateFiles {
        certificate: pem::certificates(certificate, folder)?,
        private_key: pem::key(private_key, folder)?,
    };
    pem::matching(private_key, &files)?;
    Ok(files)
}

fn clients(section: Section<'_>, folder: &Path) -> Result<Option<ClientCertificates>> {
    let ca = section.read_or_off("client_ca", |node| pem::certificates(node, folder))?;
    let required = section.read_or_off("client_auth", |node| node.word(&CLIENT_AUTH))?;
    let subject_header = section.read_or_off("client_subject_header", header)?;
    let certificate_header = section.read_or_off("client_certificate_header", header)?;
    let Some(ca) = ca else {
        let needs = |key: &str, there: bool| section.get(key).filter(|_| there);
        let alone = needs("client_auth", required.is_some())
            .or(needs("client_subject_header", subject_header.is_some()))
            .or(needs(
                "client_certificate_header",
                certificate_header.is_some(),
            ));
        return match alone {
            Some(node) => Err(node.error(
                "needs `client_ca`: the PEM file of the authorities that vouch for clients",
            )),
            None => Ok(None),
        };
    };
    if let (Some(node), true) = (
        section.get("client_certificate_header"),
        certificate_header.is_some() && certificate_header == subject_header,
    ) {
        return Err(node.error("is the header of the subject already; write another"));
    }
    Ok(Some(ClientCertificates {
        ca,
        required: required.unwrap_or(true),
        subject_header,
        certificate_header,
    }))
}

fn header(node: &Node) -> Result<HeaderName> {
    let name: HeaderName = node.text()?.parse().map_err(|_| {
        node.error(format!(
            "{} is not a header name; write one such as X-Client-Subject",
            node.shown()
        ))
    })?;
    if TAKEN.contains(&name) {
        return Err(node.error(format!(
            "{} has a meaning of its own; write another, such as X-Client-Subject",
            node.shown()
        )));
    }
    Ok(name)
}
