//! Who may use a route: `cors`, `jwt` and `forward_auth`.

mod cors;
mod forward_auth;
mod jwt;

use std::path::Path;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, Method};

pub use self::cors::{AllowedHeaders, Cors, Origin, Origins};
pub use self::forward_auth::ForwardAuth;
pub use self::jwt::{Jwt, JwtKey, KeySource};
use super::error::ConfigError;
use super::print::Page;
use super::section::Section;
use super::tree::Node;
use crate::resume::settings::{Credential, Mode, Settings};

type Result<T> = std::result::Result<T, ConfigError>;

pub(super) const KEYS: [&str; 3] = ["cors", "jwt", "forward_auth"];

/// Who may use a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Which pages of other origins may. `None` leaves that to the upstream.
    pub cors: Option<Cors>,
    /// Whose token lets in. `None` asks for none.
    pub jwt: Option<Jwt>,
    /// The service that is asked about each request.
    pub forward_auth: Option<ForwardAuth>,
}

/// Reads what a route says of it.
pub(super) fn read(route: &Section<'_>, folder: &Path) -> Result<Access> {
    Ok(Access {
        cors: route.read_or_off("cors", cors::read)?,
        jwt: route.read_or_off("jwt", |node| jwt::read(node, folder))?,
        forward_auth: route.read_or_off("forward_auth", forward_auth::read)?,
    })
}

/// Makes the route's streams the token's bearer's, and refuses what would make
/// them anybody else's. `principal` is where the file says whose they are.
pub(super) fn fit(
    access: &Access,
    route: &Section<'_>,
    principal: Option<&Node>,
    sse: &mut Settings,
) -> Result<()> {
    let claims = |c: &Credential| matches!(c, Credential::Claim(_));
    match (&access.jwt, principal) {
        (Some(_), None) => {
            sse.principal = ["iss", "sub"].map(|c| Credential::Claim(c.into())).into();
        }
        (None, Some(node)) if sse.principal.iter().any(claims) => {
            return Err(node.error(
                "has a claim, but the route has no `jwt` whose claims it could mean; add it, \
                 or name a header or cookie",
            ));
        }
        _ => {}
    }
    if sse.mode == Mode::Shared {
        nobody_in_particular(access, route, sse)?;
    }
    Ok(())
}

/// What a shared stream's upstream is told of its first client, all others would
/// get the answer to.
fn nobody_in_particular(access: &Access, route: &Section<'_>, sse: &Settings) -> Result<()> {
    let claims = access.jwt.iter().flat_map(|jwt| &jwt.claims_to_headers);
    let claims = claims.map(|(_, header)| ("jwt", header));
    let copied = access
        .forward_auth
        .iter()
        .flat_map(|auth| &auth.copy_headers);
    let copied = copied.map(|header| ("forward_auth", header));
    let mut told = claims.chain(copied);
    let Some((key, header)) = told.find(|(_, header)| !sse.key.headers.contains(header)) else {
        return Ok(());
    };
    match route.get(key) {
        Some(node) => Err(node.error(format!(
            "tells the upstream of each client in {header}, but the route is `mode: shared`, \
             and what is sent for the first client is read by all; add {header} to \
             sse.key.headers, or leave it out here"
        ))),
        None => Ok(()),
    }
}

/// Writes it as it is read.
pub(super) fn print(page: &mut Page, access: &Access) {
    match &access.cors {
        Some(cors) => cors::print(page, cors),
        None => page.pair(2, "cors", "~"),
    }
    match &access.jwt {
        Some(jwt) => jwt::print(page, jwt),
        None => page.pair(2, "jwt", "~"),
    }
    match &access.forward_auth {
        Some(auth) => forward_auth::print(page, auth),
        None => page.pair(2, "forward_auth", "~"),
    }
}

/// What is valid but may let in more than is meant, below the route's `key`.
pub(super) fn warnings(access: &Access, key: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(jwt) = &access.jwt {
        warnings.extend(jwt::warnings(jwt, key));
    }
    if let Some(cors) = &access.cors
        && cors.credentials
        && access.jwt.is_none()
        && access.forward_auth.is_none()
    {
        let insecure = cors
            .origins
            .listed()
            .iter()
            .find(|o| o.as_str().starts_with("http:"));
        warnings.extend(insecure.map(|origin| {
            format!(
                "{key}.cors: lets {} use cookies, and whoever is between it and its readers can \
                 change its pages; serve it over https",
                origin.as_str()
            )
        }));
    }
    warnings
}

// === what the three have in common ===

fn header(node: &Node) -> Result<HeaderName> {
    node.text()?.parse().map_err(|_| {
        node.error(format!(
            "{} is not a header name; write one such as x-user",
            node.shown()
        ))
    })
}

fn headers(node: &Node) -> Result<Vec<HeaderName>> {
    node.items()?.iter().map(header).collect()
}

/// A header that tells the upstream who somebody is: every other mention of it
/// is taken out, so it cannot be one that a request needs.
fn identity_header(node: &Node) -> Result<HeaderName> {
    let name = header(node)?;
    let needed = [
        HOST,
        CONNECTION,
        CONTENT_LENGTH,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    if needed.contains(&name) || name == "last-event-id" {
        return Err(node.error(format!(
            "{} is needed for the request itself; write a header of its own, such as x-user",
            node.shown()
        )));
    }
    Ok(name)
}

fn cookie_name(node: &Node) -> Result<String> {
    // Cookie names are tokens, as header names are.
    match node.text()?.parse::<HeaderName>() {
        Ok(_) => Ok(node.text()?.to_owned()),
        Err(_) => Err(node.error(format!(
            "{} is not a cookie's name; write one such as session",
            node.shown()
        ))),
    }
}

fn parameter(node: &Node) -> Result<String> {
    let text = node.text()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(node.error(format!(
        "{} is not a parameter's name; write one of letters, digits, `-._`, such as \
         access_token",
        node.shown()
    )))
}

fn methods(node: &Node) -> Result<Vec<Method>> {
    super::route::methods(node)
}

/// Where something is asked for: over TLS, or on a network that is trusted.
fn url(node: &Node, example: &str) -> Result<http::Uri> {
    let text = node.text()?;
    let wrong = |why: &str| Err(node.error(format!("{why}; write one such as {example}")));
    if text.contains('@') {
        // Not shown: it may hold a password.
        return wrong("holds a user name or password, which is not sent");
    }
    let shown = node.shown();
    let Ok(uri) = text.parse::<http::Uri>() else {
        return wrong(&format!("{shown} is not a URL"));
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    if !matches!(scheme, "http" | "https") || uri.host().is_none_or(str::is_empty) {
        return wrong(&format!("{shown} is not an http:// or https:// URL"));
    }
    if text.contains('#') {
        return wrong(&format!("{shown} has a fragment"));
    }
    Ok(uri)
}
