use std::path::Path;

use super::{Acme, CHALLENGE, CLIENT_AUTH, MIN_VERSION, Tls};
use crate::proxy::config::print::{Page, list, or_off, quote, word};
use crate::proxy::config::units::format_duration;

/// The block, its keys at this depth.
pub(in crate::proxy::config) fn print(page: &mut Page, depth: usize, tls: &Tls) {
    match tls.certificates.as_slice() {
        [only] => {
            page.pair(depth, "certificate", &path(&only.certificate));
            page.pair(depth, "private_key", &path(&only.private_key));
        }
        [] => {}
        several => {
            page.line(depth, "certificates:");
            for files in several {
                let line = format!("- certificate: {}", path(&files.certificate));
                page.line(depth + 1, &line);
                page.pair(depth + 2, "private_key", &path(&files.private_key));
            }
        }
    }
    match &tls.acme {
        Some(acme) => print_acme(page, depth, acme),
        None => page.pair(depth, "acme", "~"),
    }
    print_clients(page, depth, tls);
    // Else it would be read as a number by whoever is not this proxy.
    let version = quote(word(&MIN_VERSION, &tls.min_version));
    page.pair(depth, "min_version", &version);
    page.pair(depth, "hsts", &or_off(tls.hsts, format_duration));
}

fn print_clients(page: &mut Page, depth: usize, tls: &Tls) {
    let Some(clients) = &tls.clients else {
        page.pair(depth, "client_ca", "~");
        return;
    };
    page.pair(depth, "client_ca", &path(&clients.ca));
    let auth = word(&CLIENT_AUTH, &clients.required);
    page.pair(depth, "client_auth", auth);
    for (key, header) in [
        ("client_subject_header", &clients.subject_header),
        ("client_certificate_header", &clients.certificate_header),
    ] {
        let header = header.as_ref().map(|name| quote(name.as_str()));
        page.pair(depth, key, &or_off(header, |name| name));
    }
}

fn print_acme(page: &mut Page, depth: usize, acme: &Acme) {
    page.line(depth, "acme:");
    let domains = acme.domains.iter().map(|name| quote(name));
    page.pair(depth + 1, "domains", &list(domains));
    let email = or_off(acme.email.as_deref(), quote);
    page.pair(depth + 1, "email", &email);
    page.pair(depth + 1, "directory", &quote(&acme.directory));
    page.pair(depth + 1, "cache", &path(&acme.cache));
    let challenge = word(&CHALLENGE, &acme.challenge);
    page.pair(depth + 1, "challenge", challenge);
    page.pair(depth + 1, "ca", &or_off(acme.ca.as_deref(), path));
}

fn path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}
