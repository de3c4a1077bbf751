//! What makes two requests the same stream.

use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::principal::Principal;
use super::settings::{Credential, KeySettings, Settings};

/// The key of a shared stream: route, method, host, path, sorted query, listed
/// headers. Every part is preceded by its length, so no two keys run together.
pub(crate) fn shared(route: u64, settings: &KeySettings, parts: &Parts) -> Box<[u8]> {
    let mut key = Vec::with_capacity(128);
    key.extend_from_slice(&route.to_le_bytes());
    push(&mut key, parts.method.as_str().as_bytes());
    push(&mut key, &host(parts));
    push(&mut key, parts.uri.path().as_bytes());
    push_query(&mut key, settings, parts.uri.query().unwrap_or(""));
    push_headers(&mut key, &settings.headers, &parts.headers);
    key.into()
}

/// The resource a private stream belongs to. The query is left out: pages add
/// tokens and time stamps to it when they come back.
///
/// Where a route has another path to attach to its streams, they belong to all
/// of the route.
pub(crate) fn scope(route: u64, settings: &Settings, parts: &Parts) -> Box<[u8]> {
    let mut scope = Vec::with_capacity(64);
    scope.extend_from_slice(&route.to_le_bytes());
    push(&mut scope, &host(parts));
    if settings.attach.is_none() {
        push(&mut scope, parts.uri.path().as_bytes());
    }
    scope.into()
}

/// The key of a stream that its application names. Others may call theirs the
/// same.
pub(crate) fn named(route: u64, parts: &Parts, whose: &Principal, name: &str) -> Box<[u8]> {
    let mut key = Vec::with_capacity(128);
    key.extend_from_slice(&route.to_le_bytes());
    // Where others have a method: no request's key is this one.
    push(&mut key, b"");
    push(&mut key, &host(parts));
    push(&mut key, whose.as_ref().map_or(&[], |hash| &hash[..]));
    push(&mut key, name.as_bytes());
    key.into()
}

/// Takes credentials off a request whose answer everybody with the same key
/// will read: those that are part of the key stay.
pub(crate) fn strip_credentials(settings: &Settings, headers: &mut HeaderMap) {
    let configured = settings
        .principal
        .iter()
        .filter_map(|credential| match credential {
            Credential::Header(name) => Some(name.clone()),
            Credential::Cookie(_) => Some(COOKIE),
            Credential::Claim(_) => None,
        });
    let always = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];
    for name in configured.chain(always) {
        if !settings.key.headers.contains(&name) {
            headers.remove(name);
        }
    }
}

fn host(parts: &Parts) -> Vec<u8> {
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => parts.headers.get(HOST).map_or(&b""[..], |h| h.as_bytes()),
    };
    host.to_ascii_lowercase()
}

fn push_query(key: &mut Vec<u8>, settings: &KeySettings, query: &str) {
    let ignored = |piece: &str| {
        form_urlencoded::parse(piece.as_bytes())
            .next()
            .is_some_and(|(name, _)| settings.ignore_query.iter().any(|i| *i == name))
    };
    let mut pieces: Vec<&str> = query
        .split('&')
        .filter(|piece| !piece.is_empty() && !ignored(piece))
        .collect();
    pieces.sort_unstable();
    key.extend_from_slice(&(pieces.len() as u64).to_le_bytes());
    for piece in pieces {
        push(key, piece.as_bytes());
    }
}

fn push_headers(key: &mut Vec<u8>, names: &[HeaderName], headers: &HeaderMap) {
    for name in names {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        key.extend_from_slice(&(values.len() as u64).to_le_bytes());
        for value in values {
            push(key, value.as_bytes());
        }
    }
}

fn push(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(&(part.len() as u64).to_le_bytes());
    key.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_order_of_the_query_and_what_is_ignored_make_no_difference() {
        let settings = KeySettings {
            headers: vec![HeaderName::from_static("x-tenant")],
            ignore_query: vec!["_".into()],
            ..KeySettings::default()
        };
        let key = |uri, headers: &[(&str, &str)]| shared(1, &settings, &parts(uri, headers));
        let one = key("/e?b=2&a=1", &[("host", "H")]);
        assert_eq!(
            one,
            key("/e?a=1&_=99&b=2", &[("host", "h"), ("x-other", "1")])
        );
        assert_ne!(one, key("/e?a=1&b=3", &[("host", "h")]));
        assert_ne!(one, key("/e?a=1&b=2", &[("host", "i")]));
        assert_ne!(one, key("/e?a=1&b=2", &[("host", "h"), ("x-tenant", "t")]));
        assert_ne!(
            one,
            shared(2, &settings, &parts("/e?b=2&a=1", &[("host", "H")]))
        );
    }

    #[test]
    fn credentials_stay_only_where_they_are_part_of_the_key() {
        let mut settings = Settings::default();
        settings
            .principal
            .push(Credential::Header(HeaderName::from_static("x-api-key")));
        let all = [
            ("authorization", "a"),
            ("cookie", "c"),
            ("x-api-key", "k"),
            ("x", "y"),
        ];
        let mut stripped = parts("/", &all).headers;
        strip_credentials(&settings, &mut stripped);
        assert_eq!(stripped.len(), 1);
        settings.key.headers = vec![AUTHORIZATION];
        let mut listed = parts("/", &all).headers;
        strip_credentials(&settings, &mut listed);
        assert!(listed.contains_key(AUTHORIZATION) && !listed.contains_key("cookie"));
    }
}
