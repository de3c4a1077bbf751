//! What a proxy must take out of a message, and what it adds.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Meant for the next hop alone (RFC 9110 §7.6.1), beside whatever
/// `Connection` names. `Trailer` is not among them: without it a trailer
/// would not be sent on.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What proxies say of those they were asked by.
pub(crate) const FORWARDING: [HeaderName; 4] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
];

/// Who is at the other end of the client's connection. The server puts it into
/// the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address and port of whoever connected.
    pub addr: SocketAddr,
    /// Whose request it is: past those proxies whose word is believed. What is
    /// limited, logged or chosen by address goes by this one.
    pub client: IpAddr,
    /// Whether whoever connected is such a proxy.
    pub trusted: bool,
    /// Whether the connection came over TLS.
    pub tls: bool,
}

impl Peer {
    /// A client that connects itself.
    pub fn new(addr: SocketAddr, tls: bool) -> Self {
        Self {
            addr,
            client: addr.ip().to_canonical(),
            trusted: false,
            tls,
        }
    }
}

/// Turns a client's request headers into those for the upstream.
///
/// The client's host is kept as `Host`, also for `https` upstreams: what the
/// backend calls itself in redirects and cookies must be what the client
/// calls it. What a trusted proxy said in `Forwarded` and `X-Forwarded-…` is
/// kept, and added to; from anybody else it could be anything, and is replaced.
pub(super) fn outbound(headers: &mut HeaderMap, uri: &Uri, peer: Option<Peer>, server: &Authority) {
    let trailers = accepts_trailers(headers);
    strip_hop_by_hop(headers);
    // Answered on this side, when the body is first asked for.
    headers.remove(EXPECT);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    let host = host(uri, headers);
    tell_of_client(headers, peer, host.as_ref());
    if let Some(host) = host.or_else(|| HeaderValue::from_str(server.as_str()).ok()) {
        headers.insert(HOST, host);
    }
}

/// The host that a request is for.
pub(crate) fn host(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    match uri.authority() {
        // HTTP/2 and absolute-form targets: the target outranks the header.
        // Userinfo has no place in `Host`.
        Some(authority) => HeaderValue::from_str(without_userinfo(authority)).ok(),
        None => headers.get(HOST).cloned(),
    }
}

/// Says whose request it is: beside what a trusted proxy said, in the place of
/// what anybody else did.
pub(crate) fn tell_of_client(
    headers: &mut HeaderMap,
    peer: Option<Peer>,
    host: Option<&HeaderValue>,
) {
    if !peer.is_some_and(|peer| peer.trusted) {
        for name in FORWARDING {
            headers.remove(name);
        }
    }
    if let Some(host) = host
        && !headers.contains_key(X_FORWARDED_HOST)
    {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if let Some(peer) = peer {
        forwarded(headers, peer, host);
    }
}

/// Takes out of an outbound request what HTTP/2 has no place for (RFC 9113
/// §8.2.2), and gives back the host, which has another one there.
pub(super) fn for_http2(headers: &mut HeaderMap) -> Option<Authority> {
    headers.remove(CONNECTION);
    let host = headers.remove(HOST)?;
    Authority::try_from(host.as_bytes()).ok()
}

/// Takes out of a request what its `Connection` header keeps from the upstream.
///
/// For whoever decides by a header what the upstream will answer: one that is
/// read here and taken out later would let a client have the answer without it
/// kept as the answer with it.
pub(crate) fn strip_named(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        // Taken out with the message's other ones, after they were heeded.
        if !HOP_BY_HOP.contains(&name) {
            headers.remove(name);
        }
    }
}

/// Takes out of `Connection` the names of headers, for whoever is to set some. A
/// client could name one that is yet to be set, and so be nobody to the upstream.
/// What it named of its own must be gone already: see [`strip_named`].
pub(crate) fn keep_known_options(headers: &mut HeaderMap) {
    const KNOWN: [&str; 4] = ["close", "keep-alive", "te", "upgrade"];
    let named: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    let options = named
        .iter()
        .flat_map(|v| v.as_bytes().split(|b| *b == b','));
    for option in options.map(<[u8]>::trim_ascii) {
        if KNOWN
            .iter()
            .any(|known| option.eq_ignore_ascii_case(known.as_bytes()))
            && let Ok(option) = HeaderValue::from_bytes(option)
        {
            headers.append(CONNECTION, option);
        }
    }
}

/// Takes out of a message what was meant for this hop alone.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // RFC 9112 §6.3: with both, the length is a lie, and a tool of smugglers.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // Naming these would only break the message, or hide who sent it.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect()
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Adds the client to those that the headers say a request came by.
fn forwarded(headers: &mut HeaderMap, peer: Peer, host: Option<&HeaderValue>) {
    // A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d.
    let ip = peer.addr.ip().to_canonical();
    let proto = if peer.tls { "https" } else { "http" };
    append(headers, X_FORWARDED_FOR, &ip.to_string());
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    }

    let mut element = match ip {
        IpAddr::V4(ip) => format!("for={ip}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
    };
    let host = host.and_then(|host| host.to_str().ok());
    if let Some(host) = host.filter(|host| !host.contains(['"', '\\'])) {
        let _ = write!(element, ";host=\"{host}\"");
    }
    let _ = write!(element, ";proto={proto}");
    append(headers, FORWARDED, &element);
}

/// Adds to the end of a list, as one line: many backends read only the first.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

fn without_userinfo(authority: &Authority) -> &str {
    let whole = authority.as_str();
    whole.rsplit_once('@').map_or(whole, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn sent(list: &[(&str, &str)], uri: &str, peer: Option<&str>) -> HeaderMap {
        let peer = peer.map(|addr| Peer::new(addr.parse().unwrap(), true));
        sent_by(list, uri, peer)
    }

    fn sent_by(list: &[(&str, &str)], uri: &str, peer: Option<Peer>) -> HeaderMap {
        let mut headers = headers(list);
        let server = Authority::from_static("10.0.0.1:80");
        outbound(&mut headers, &uri.parse().unwrap(), peer, &server);
        headers
    }

    #[test]
    fn what_is_for_this_hop_goes_no_further() {
        let sent = sent(
            &[
                ("connection", "close, X-Secret ,te"),
                ("connection", "host, content-length,,bad name"),
                ("x-secret", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-authorization", "Basic eA=="),
                ("proxy-connection", "keep-alive"),
                ("te", "gzip, Trailers"),
                ("upgrade", "h2c"),
                ("content-length", "3"),
                ("trailer", "x-sum"),
                ("host", "a.example"),
                ("x-kept", "1"),
            ],
            "/",
            None,
        );
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let kept = [
            "connection",
            "content-length",
            "host",
            "te",
            "trailer",
            "x-forwarded-host",
            "x-kept",
        ];
        assert_eq!(names, kept);
        assert_eq!(
            (&sent["te"], &sent["connection"]),
            (&"trailers".parse().unwrap(), &"te".parse().unwrap())
        );
    }

    #[test]
    fn a_length_beside_chunks_is_dropped() {
        let mut both = headers(&[("transfer-encoding", "chunked"), ("content-length", "5")]);
        strip_hop_by_hop(&mut both);
        assert!(both.is_empty());
    }

    const SAID: [(&str, &str); 6] = [
        ("host", "a.example:8443"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.10"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "public.example"),
        ("forwarded", "for=203.0.113.9"),
    ];

    #[test]
    fn the_client_is_appended_to_what_a_trusted_proxy_said() {
        let addr = "[::ffff:192.0.2.1]:1234".parse().unwrap();
        let peer = Peer {
            trusted: true,
            ..Peer::new(addr, true)
        };
        let sent = sent_by(&SAID, "/", Some(peer));
        assert_eq!(
            sent["x-forwarded-for"],
            "203.0.113.9, 203.0.113.10, 192.0.2.1"
        );
        assert_eq!(sent["x-forwarded-proto"], "http");
        assert_eq!(sent["x-forwarded-host"], "public.example");
        assert_eq!(
            sent["forwarded"],
            "for=203.0.113.9, for=192.0.2.1;host=\"a.example:8443\";proto=https"
        );
        assert_eq!(sent["host"], "a.example:8443");
    }

    #[test]
    fn what_anybody_else_said_is_replaced() {
        let sent = sent(&SAID, "/", Some("[::ffff:192.0.2.1]:1234"));
        assert_eq!(sent["x-forwarded-for"], "192.0.2.1");
        assert_eq!(sent["x-forwarded-proto"], "https");
        assert_eq!(sent["x-forwarded-host"], "a.example:8443");
        assert_eq!(
            sent["forwarded"],
            "for=192.0.2.1;host=\"a.example:8443\";proto=https"
        );
    }

    #[test]
    fn ipv6_is_quoted() {
        let sent = sent(&[("host", "a")], "/", Some("[2001:db8::1]:1234"));
        assert_eq!(sent["x-forwarded-for"], "2001:db8::1");
        assert_eq!(
            sent["forwarded"],
            "for=\"[2001:db8::1]\";host=\"a\";proto=https"
        );
    }

    #[test]
    fn the_target_outranks_the_host_header() {
        let sent = sent(&[("host", "b.example")], "http://u:p@a.example/x", None);
        assert_eq!(sent["host"], "a.example");
    }

    #[test]
    fn without_any_host_the_server_is_named() {
        let sent = sent(&[("x-forwarded-host", "liar")], "/", None);
        assert_eq!(sent["host"], "10.0.0.1:80");
        assert!(!sent.contains_key("x-forwarded-host"));
    }
}
