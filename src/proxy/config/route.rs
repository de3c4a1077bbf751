//! `routes`, and the `defaults` that merge under them.

use std::collections::BTreeMap;
use std::path::Path;

use http::Method;

use super::access;
use super::error::ConfigError;
use super::model::{Access, Route, Upstream};
use super::rate;
use super::section::Section;
use super::sse;
use super::tree::Node;
use super::upstream;
use crate::resume::settings::{Mode, Settings};

type Result<T> = std::result::Result<T, ConfigError>;

const KEYS: [&str; 8] = [
    "host",
    "path",
    "methods",
    "upstream",
    "rate_limit",
    "upgrade",
    "sse",
    "compress",
];

/// The methods a route can be limited to. CONNECT and TRACE are not forwarded.
const METHODS: [(&str, Method); 7] = [
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
    ("OPTIONS", Method::OPTIONS),
];

/// What to do about a file without routes.
const EXAMPLE: &str = "list at least one, such as `- { path: /, upstream: app }`";

/// The `routes` list. Upstreams given in place are added to `upstreams`.
pub(super) fn read_all(
    root: &Node,
    top: &Section<'_>,
    upstreams: &mut BTreeMap<String, Upstream>,
    folder: &Path,
) -> Result<Vec<Route>> {
    let defaults = top.get("defaults");
    if let Some(node) = defaults {
        // Checked even if no route is there to use them.
        sse::read(&[node])?;
    }
    let Some(node) = top.get("routes") else {
        return Err(root.error(format!("`routes` is missing; {EXAMPLE}")));
    };
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.error(format!("is empty; {EXAMPLE}")));
    }
    items
        .iter()
        .map(|item| read(item, defaults, upstreams, folder))
        .collect()
}

/// The route of a configuration without a file.
pub(super) fn everything(upstream: String) -> Route {
    Route {
        host: None,
        path: "/".into(),
        methods: None,
        upstream,
        rate_limit: Vec::new(),
        upgrade: rate::default_upgrades(),
        access: Access::default(),
        sse: Settings::default(),
        compress: None,
    }
}

fn read(
    node: &Node,
    defaults: Option<&Node>,
    upstreams: &mut BTreeMap<String, Upstream>,
    folder: &Path,
) -> Result<Route> {
    let known: Vec<&str> = KEYS.iter().chain(&access::KEYS).copied().collect();
    let section = Section::open(node, &known)?;
    let Some(path) = section.read("path", path)? else {
        return Err(node.error("has no `path`; write one, such as / for everything"));
    };
    let host = section.read_or_off("host", host)?;
    let methods = section.read_or_off("methods", methods)?;
    let Some(target) = section.get("upstream") else {
        return Err(node.error(
            "has no `upstream`; write a name from `upstreams`, or a URL such as \
             http://127.0.0.1:3000",
        ));
    };
    let upstream = target_of(target, upstreams)?;
    let layers: Vec<&Node> = defaults.into_iter().chain(section.get("sse")).collect();
    let mut sse = sse::read(&layers)?;
    let access = access::read(&section, folder)?;
    access::fit(&access, &section, sse::written_principal(&layers), &mut sse)?;
    if let (Mode::Shared, Some(listed), Some(at)) = (sse.mode, &methods, section.get("methods"))
        && !listed.contains(&Method::GET)
    {
        return Err(at.error(
            "does not list GET, but the route is `mode: shared` and only GET streams are \
             shared; add GET or change the mode",
        ));
    }
    let route = Route {
        host,
        path,
        methods,
        upstream,
        rate_limit: section
            .read_or_off("rate_limit", rate::read)?
            .unwrap_or_default(),
        upgrade: rate::upgrades(&section)?,
        access,
        sse,
        compress: section.read_or_off("compress", |n| n.word(&sse::CODINGS))?,
    };
    reaches_its_streams(&route, section.get("sse").unwrap_or(node))?;
    Ok(route)
}

/// Requests to attach to a stream must be the route's, or nobody answers them.
fn reaches_its_streams(route: &Route, at: &Node) -> Result<()> {
    let attach = route.sse.attach.as_ref().map(ToString::to_string);
    let wanted = attach.iter().chain(&route.sse.list);
    let outside = |path: &&String| {
        let rest = path.strip_prefix(route.path.as_str());
        !rest.is_some_and(|rest| rest.starts_with('/') || route.path.ends_with('/'))
    };
    if let Some(path) = wanted.clone().find(outside) {
        return Err(at.error(format!(
            "has {path} for its streams, but the route matches only what is below {}; \
             write a path below that",
            route.path
        )));
    }
    let listed = route.methods.as_ref();
    let missing = [Method::GET, Method::DELETE]
        .into_iter()
        .find(|method| listed.is_some_and(|listed| !listed.contains(method)));
    match missing {
        Some(method) if attach.is_some() => Err(at.error(format!(
            "has `attach`, which is asked for with GET and DELETE, but the route's methods \
             do not list {method}; add it"
        ))),
        _ => Ok(()),
    }
}

/// The upstream's name; a URL in place becomes one.
fn target_of(node: &Node, upstreams: &mut BTreeMap<String, Upstream>) -> Result<String> {
    let text = node.text()?;
    if text.contains("://") {
        let server = upstream::server(node)?;
        let name = upstream::name_of(text);
        upstreams
            .entry(name.clone())
            .or_insert_with(|| upstream::of_server(server));
        return Ok(name);
    }
    if upstreams.contains_key(text) {
        return Ok(text.to_owned());
    }
    let names: Vec<&str> = upstreams
        .keys()
        .map(String::as_str)
        .filter(|name| !name.contains("://"))
        .collect();
    Err(node.error(unknown_upstream(&node.shown(), text, &names)))
}

fn unknown_upstream(shown: &str, text: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return format!(
            "there is no upstream {shown}: `upstreams` has none; add it, or write a URL \
             such as http://127.0.0.1:3000"
        );
    }
    let what_to_do = match super::section::nearest(text, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`upstreams` has: {}", names.join(", ")),
    };
    format!("there is no upstream {shown}; {what_to_do}")
}

fn path(node: &Node) -> Result<String> {
    let path = node.text()?;
    let wrong = if !path.starts_with('/') {
        "does not begin with a slash; write a path such as /events"
    } else if path.contains(['?', '#']) {
        "has a query or fragment, which routes do not match; write the path alone"
    } else if path.contains('*') {
        "has a `*`; leave it out: a path matches itself and everything below it"
    } else if path.len() > 1 && path.ends_with('/') {
        "ends with a slash; leave it out: a path matches itself and everything below it"
    } else if path.parse::<http::uri::PathAndQuery>().is_err() || !path.is_ascii() {
        "has characters that no request path has; percent-encode them"
    } else {
        return Ok(path.to_owned());
    };
    Err(node.error(format!("{} {wrong}", node.shown())))
}

/// An exact host name or `*.suffix`, in lower case.
fn host(node: &Node) -> Result<String> {
    let host = node.text()?.to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    };
    let is_ipv6 = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    if is_name(name) || is_ipv6 {
        return Ok(host);
    }
    Err(node.error(format!(
        "{} is not a host name; write one without scheme and port, such as example.com \
         or *.example.com",
        node.shown()
    )))
}

pub(super) fn methods(node: &Node) -> Result<Vec<Method>> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.error("is empty and would match nothing; list methods, or remove the key"));
    }
    items.iter().map(method).collect()
}

fn method(node: &Node) -> Result<Method> {
    let text = node.text()?;
    match METHODS.iter().find(|(name, _)| *name == text) {
        Some((_, method)) => Ok(method.clone()),
        None => Err(node.error(node.not_one_of(&METHODS.map(|(name, _)| name)))),
    }
}
