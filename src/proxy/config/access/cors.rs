//! `cors`: which pages of other origins may use a route.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};

use super::{Result, headers, methods};
use crate::proxy::config::print::{Page, list, or_off, quote};
use crate::proxy::config::section::Section;
use crate::proxy::config::tree::{Node, Value};
use crate::proxy::config::units::format_duration;

const KEYS: [&str; 6] = [
    "origins",
    "credentials",
    "max_age",
    "methods",
    "headers",
    "expose",
];

/// Browsers keep a preflight's answer no longer than this (Firefox; Chromium 2 h).
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Which pages of other origins may use a route (Fetch §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages.
    pub origins: Origins,
    /// Whether with the cookies a browser has for this host. Default: no.
    pub credentials: bool,
    /// How long a browser need not ask again. Default 10 min.
    pub max_age: Duration,
    /// With which methods. Default: the route's, or all.
    pub methods: Option<Vec<Method>>,
    /// With which headers, beside those that clients of event streams send.
    pub headers: AllowedHeaders,
    /// Which headers of answers scripts may read, beside those of the proxy.
    pub expose: Vec<HeaderName>,
}

/// Whose pages may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Everybody's.
    Any,
    /// These.
    List(Vec<Origin>),
}

/// An origin, or with a `*` in place of its first label all that end as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// Which headers pages may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHeaders {
    /// All.
    Any,
    /// The usual ones, and these.
    Also(Vec<HeaderName>),
}

impl Cors {
    /// These origins, and the default of everything else.
    pub fn new(origins: Origins) -> Self {
        Self {
            origins,
            credentials: false,
            max_age: Duration::from_secs(600),
            methods: None,
            headers: AllowedHeaders::Also(Vec::new()),
            expose: Vec::new(),
        }
    }
}

impl Origins {
    pub(super) fn listed(&self) -> &[Origin] {
        match self {
            Self::Any => &[],
            Self::List(origins) => origins,
        }
    }
}

impl Origin {
    /// Reads `https://app.example`, or `https://*.app.example`; `None` if the
    /// text is neither. Case and a scheme's usual port make no difference.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let whole = text.replacen("://*.", "://x.", 1);
        let uri: Uri = whole.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let bare = format!("{scheme}://{authority}");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
        let port = authority.as_str() != authority.host();
        if bare != whole
            || !matches!(scheme, "http" | "https")
            || !authority.as_str().bytes().all(plain)
            || (port && authority.port_u16().is_none())
        {
            return None;
        }
        let usual = if scheme == "https" { ":443" } else { ":80" };
        let text = text.strip_suffix(usual).unwrap_or(&text);
        Some(Self(text.to_owned()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is where a page is from, which its browser says in lower
    /// case and without a usual port.
    pub fn matches(&self, origin: &HeaderValue) -> bool {
        let origin = origin.as_bytes();
        let Some((scheme, suffix)) = self.0.split_once('*') else {
            return origin == self.0.as_bytes();
        };
        let between = origin
            .strip_prefix(scheme.as_bytes())
            .and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
        let labels = |b: &u8| b.is_ascii_alphanumeric() || b"-._".contains(b);
        between.is_some_and(|labeled| !labeled.is_empty() && labeled.iter().all(labels))
    }
}

pub(super) fn read(node: &Node) -> Result<Cors> {
    let section = Section::open(node, &KEYS)?;
    let Some(origins) = section.read("origins", origins)? else {
        return Err(node.error(
            "has no `origins`; list those whose pages may use the route, such as \
             [\"https://app.example\"], or write any",
        ));
    };
    let default = Cors::new(origins);
    let cors = Cors {
        credentials: section
            .read("credentials", |node| {
                node.word(&[("true", true), ("false", false)])
            })?
            .unwrap_or(default.credentials),
        max_age: section.read("max_age", max_age)?.unwrap_or(default.max_age),
        methods: section.read_or_off("methods", methods)?,
        headers: section
            .read("headers", allowed)?
            .unwrap_or(AllowedHeaders::Also(Vec::new())),
        expose: section.read("expose", headers)?.unwrap_or_default(),
        ..default
    };
    if let (true, Origins::Any, Some(node)) =
        (cors.credentials, &cors.origins, section.get("credentials"))
    {
        return Err(node.error(
            "cannot be true with `origins: any`: every page there is could act as whoever \
             looks at it; list the origins",
        ));
    }
    Ok(cors)
}

fn origins(node: &Node) -> Result<Origins> {
    if matches!(node.value, Value::Scalar { .. }) && node.text()? == "any" {
        return Ok(Origins::Any);
    }
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.error("is empty and would let no page in; list origins, or remove `cors`"));
    }
    let read = |item: &Node| {
        Origin::parse(item.text()?).ok_or_else(|| {
            let what_to_do = match item.text() {
                Ok("*" | "any") => "write `origins: any`, without the list",
                _ => {
                    "write scheme and host, and port if it is not the usual one, such as \
                     https://app.example or https://*.app.example"
                }
            };
            item.error(format!("{} is not an origin; {what_to_do}", item.shown()))
        })
    };
    items
        .iter()
        .map(read)
        .collect::<Result<_>>()
        .map(Origins::List)
}

fn allowed(node: &Node) -> Result<AllowedHeaders> {
    match &node.value {
        Value::Scalar { text, .. } if text == "any" => Ok(AllowedHeaders::Any),
        _ => headers(node).map(AllowedHeaders::Also),
    }
}

fn max_age(node: &Node) -> Result<Duration> {
    let age = node.duration()?;
    if age <= LONGEST {
        return Ok(age);
    }
    Err(node.error(format!(
        "{} is longer than any browser keeps it; write {} or less",
        node.shown(),
        format_duration(LONGEST)
    )))
}

pub(super) fn print(page: &mut Page, cors: &Cors) {
    page.line(2, "cors:");
    let origins = match &cors.origins {
        Origins::Any => "any".into(),
        Origins::List(origins) => list(origins.iter().map(|origin| quote(&origin.0))),
    };
    page.pair(3, "origins", &origins);
    page.pair(
        3,
        "credentials",
        if cors.credentials { "true" } else { "false" },
    );
    page.pair(3, "max_age", &format_duration(cors.max_age));
    let methods = cors.methods.as_ref();
    page.pair(
        3,
        "methods",
        &or_off(methods, |m| list(m.iter().map(ToString::to_string))),
    );
    let names = |names: &[HeaderName]| list(names.iter().map(|name| quote(name.as_str())));
    let headers = match &cors.headers {
        AllowedHeaders::Any => "any".into(),
        AllowedHeaders::Also(headers) => names(headers),
    };
    page.pair(3, "headers", &headers);
    page.pair(3, "expose", &names(&cors.expose));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port() {
        for (text, kept) in [
            ("https://App.example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://*.app.example", "https://*.app.example"),
        ] {
            assert_eq!(Origin::parse(text).as_ref().map(Origin::as_str), Some(kept));
        }
        for text in [
            "",
            "*",
            "null",
            "app.example",
            "ftp://app.example",
            "https://app.example/",
            "https://app.example/x",
            "https://u@app.example",
            "https://app.example:99999",
            "https://app.example:",
            "https://a.*.example",
            "https://*",
            "https://*.*.example",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_for_labels_of_the_host_alone() {
        let matches = |pattern: &str, origin: &'static str| {
            let origin = HeaderValue::from_static(origin);
            Origin::parse(pattern).unwrap().matches(&origin)
        };
        assert!(matches("https://a.example", "https://a.example"));
        assert!(!matches("https://a.example", "https://a.example:8443"));
        assert!(!matches("https://a.example", "http://a.example"));
        let any = "https://*.a.example";
        assert!(matches(any, "https://b.a.example"));
        assert!(matches(any, "https://c.b.a.example"));
        for other in [
            "https://a.example",
            "https://.a.example",
            "https://xa.example",
            "http://b.a.example",
            "https://b.a.example.evil.test",
            "https://evil.test/b.a.example",
            "https://evil.test:1.a.example",
            "https://u@b.a.example",
        ] {
            assert!(!matches(any, other), "{other}");
        }
    }
}
