//! Which requests ask for another protocol on their connection.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use http_body::Body;

use super::forward::Upgrading;

/// The first protocol of those asked for that the route has, from a client that
/// can be given it: over HTTP/1.1, and with nothing more to say before.
pub(crate) fn wish<B: Body>(request: &Request<B>, allowed: &[String]) -> Option<Upgrading> {
    let can = request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream()
        && tokens(request.headers(), &CONNECTION)
            .any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    if !can || allowed.is_empty() {
        return None;
    }
    let is_allowed = |name: &&[u8]| {
        let same = |known: &String| known.as_bytes().eq_ignore_ascii_case(name);
        allowed.iter().any(same)
    };
    let name = tokens(request.headers(), &UPGRADE).find(is_allowed)?;
    HeaderValue::from_bytes(name).ok().map(Upgrading)
}

/// Whether a WebSocket is asked for, in whatever way.
pub(crate) fn names_websocket(headers: &HeaderMap) -> bool {
    tokens(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn asked(lines: &[(&str, &str)], allowed: &[&str]) -> Option<String> {
        let mut request = Request::get("/")
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let allowed: Vec<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let wish = wish(&request, &allowed)?;
        Some(wish.0.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_what_the_route_has_and_the_connection_says() {
        let websocket = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
        ];
        assert_eq!(asked(&websocket, &["websocket"]), Some("WebSocket".into()));
        assert_eq!(asked(&websocket, &["other"]), None);
        assert_eq!(asked(&websocket, &[]), None);
        assert_eq!(asked(&websocket[1..], &["websocket"]), None);
        assert_eq!(asked(&websocket[..1], &["websocket"]), None);
        // Never what might hide requests beside what is allowed.
        let mixed = [("connection", "upgrade"), ("upgrade", "h2c, websocket")];
        assert_eq!(asked(&mixed, &["websocket"]), Some("websocket".into()));
    }
}
