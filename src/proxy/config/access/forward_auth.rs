//! `forward_auth`: a service that is asked about each request.

use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, Uri};

use super::{Result, cookie_name, headers, identity_header, parameter, url};
use crate::proxy::config::print::{Page, list, or_off, quote};
use crate::proxy::config::section::Section;
use crate::proxy::config::tree::Node;
use crate::proxy::config::units::format_duration;

const KEYS: [&str; 6] = [
    "url",
    "timeout",
    "request_headers",
    "query",
    "copy_headers",
    "cookies",
];

const EXAMPLE: &str = "http://127.0.0.1:4180/oauth2/auth";

/// A service that decides about each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// What it is asked at, by GET.
    pub url: Uri,
    /// How long it has to answer. Default 5 s.
    pub timeout: Duration,
    /// What it is shown of the client's headers. Default: `Authorization` and
    /// `Cookie`.
    pub request_headers: Vec<HeaderName>,
    /// The query parameter that is taken out, and shown to it as a bearer's token.
    pub query: Option<String>,
    /// What of its answer's headers the upstream is told.
    pub copy_headers: Vec<HeaderName>,
    /// Which cookies it may set when it lets in.
    pub cookies: Vec<String>,
}

impl ForwardAuth {
    /// This service, and the default of everything else.
    pub fn new(url: Uri) -> Self {
        Self {
            url,
            timeout: Duration::from_secs(5),
            request_headers: vec![AUTHORIZATION, COOKIE],
            query: None,
            copy_headers: Vec::new(),
            cookies: Vec::new(),
        }
    }
}

pub(super) fn read(node: &Node) -> Result<ForwardAuth> {
    let section = Section::open(node, &KEYS)?;
    let Some(url) = section.read("url", |node| url(node, EXAMPLE))? else {
        return Err(node.error(format!(
            "has no `url`; write where the service is asked, such as {EXAMPLE}"
        )));
    };
    let default = ForwardAuth::new(url);
    Ok(ForwardAuth {
        timeout: section
            .read("timeout", |node| {
                node.duration_from(Duration::from_millis(1), "no service could answer in it")
            })?
            .unwrap_or(default.timeout),
        request_headers: section
            .read("request_headers", headers)?
            .unwrap_or(default.request_headers),
        query: section.read_or_off("query", parameter)?,
        copy_headers: section
            .read("copy_headers", |node| {
                node.items()?.iter().map(identity_header).collect()
            })?
            .unwrap_or_default(),
        cookies: section
            .read("cookies", |node| {
                node.items()?.iter().map(cookie_name).collect()
            })?
            .unwrap_or_default(),
        url: default.url,
    })
}

pub(super) fn print(page: &mut Page, auth: &ForwardAuth) {
    let names = |names: &[HeaderName]| list(names.iter().map(|name| quote(name.as_str())));
    page.line(2, "forward_auth:");
    page.pair(3, "url", &quote(&auth.url.to_string()));
    page.pair(3, "timeout", &format_duration(auth.timeout));
    page.pair(3, "request_headers", &names(&auth.request_headers));
    page.pair(3, "query", &or_off(auth.query.as_deref(), quote));
    page.pair(3, "copy_headers", &names(&auth.copy_headers));
    page.pair(
        3,
        "cookies",
        &list(auth.cookies.iter().map(|name| quote(name))),
    );
}
