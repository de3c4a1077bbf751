use std::path::Path;

use http::Uri;

use super::{Acme, CHALLENGE};
use crate::proxy::config::error::ConfigError;
use crate::proxy::config::pem;
use crate::proxy::config::section::Section;
use crate::proxy::config::tree::Node;

type Result<T> = std::result::Result<T, ConfigError>;

const KEYS: [&str; 6] = ["domains", "email", "directory", "cache", "challenge", "ca"];

/// RFC 1035 §2.3.4.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// The `acme` block.
pub(super) fn read(node: &Node, folder: &Path) -> Result<Acme> {
    let section = Section::open(node, &KEYS)?;
    let missing = |key: &str, what: &str| node.error(format!("has no `{key}`; {what}"));
    let Some(domains) = section.read("domains", domains)? else {
        return Err(missing(
            "domains",
            "list the host names the certificate is for",
        ));
    };
    let Some(cache) = section.read("cache", |node| pem::path(node, folder))? else {
        return Err(missing(
            "cache",
            "name a folder that outlives the process, such as /var/lib/sse-proxy/acme",
        ));
    };
    Ok(Acme {
        domains,
        email: section.read_or_off("email", email)?,
        directory: section
            .read("directory", directory)?
            .unwrap_or_else(|| Acme::DEFAULT_DIRECTORY.to_owned()),
        cache,
        challenge: section
            .read("challenge", |node| node.word(&CHALLENGE))?
            .unwrap_or_default(),
        ca: section.read_or_off("ca", |node| pem::certificates(node, folder))?,
    })
}

fn domains(node: &Node) -> Result<Vec<String>> {
    let mut domains = Vec::new();
    for item in node.items()? {
        let domain = domain(item)?;
        if domains.contains(&domain) {
            return Err(item.error("is listed twice; keep one of the two"));
        }
        domains.push(domain);
    }
    if domains.is_empty() {
        return Err(node.error("is empty; list the host names the certificate is for"));
    }
    Ok(domains)
}

fn domain(node: &Node) -> Result<String> {
    let name = node.text()?.to_ascii_lowercase();
    if name.starts_with("*.") {
        return Err(node.error(format!(
            "{} is a wildcard, which is proved by DNS alone; list the names one by one, or \
             have the certificate made elsewhere and name its files",
            node.shown()
        )));
    }
    if is_host_name(&name) {
        return Ok(name);
    }
    Err(node.error(format!(
        "{} is not a host name; write one such as events.example.com",
        node.shown()
    )))
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Addresses look like names.
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    name.len() <= LONGEST_NAME && name.split('.').all(label) && !is_address
}

fn email(node: &Node) -> Result<String> {
    let text = node.text()?;
    let whole = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    match text.split_once('@') {
        Some((name, host)) if whole(name) && whole(host) && text.is_ascii() => Ok(text.to_owned()),
        _ => Err(node.error(format!(
            "{} is not an e-mail address; write one such as ops@example.com",
            node.shown()
        ))),
    }
}

fn directory(node: &Node) -> Result<String> {
    let text = node.text()?;
    let is_url = text.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_url {
        return Ok(text.to_owned());
    }
    Err(node.error(format!(
        "{} is not the URL of an ACME directory; write https:// and what the authority says, \
         such as {}",
        node.shown(),
        Acme::DEFAULT_DIRECTORY
    )))
}
