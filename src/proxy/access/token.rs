//! Where a request has its token.

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::resume::set_query;

/// The places, in the order in which they are looked at.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) header: Option<HeaderName>,
    pub(super) cookie: Option<String>,
    pub(super) query: Option<String>,
    /// Whether the upstream gets what was in a header or a cookie.
    pub(super) forward: bool,
}

/// A token that was found.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) from_query: bool,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    None,
    /// There are several in one place: others might read another of them.
    Ambiguous,
}

impl Places {
    /// The token. What is in the query is taken out in any case: it is for
    /// nobody's eyes, and the same stream has another one tomorrow.
    pub(super) fn take(&self, parts: &mut Parts) -> Result<Token, Lack> {
        let in_query = match &self.query {
            Some(name) => take_from_query(parts, name),
            None => Ok(None),
        };
        let headers = &mut parts.headers;
        let in_header = self.header.as_ref().map(|name| in_header(headers, name));
        let in_header = in_header.transpose()?.flatten();
        let in_cookie = self
            .cookie
            .as_ref()
            .and_then(|name| in_cookies(headers, name));
        if let (Some(name), Some(_), false) = (&self.header, &in_header, self.forward) {
            headers.remove(name);
        }
        if let (Some(name), Some(_), false) = (&self.cookie, &in_cookie, self.forward) {
            remove_cookie(headers, name);
        }
        let token = |from_query| move |text| Token { text, from_query };
        match in_header.or(in_cookie) {
            Some(text) => Ok(token(false)(text)),
            None => in_query?.map(token(true)).ok_or(Lack::None),
        }
    }
}

fn in_header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Lack> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), more) = (values.next(), values.next()) else {
        return Ok(None);
    };
    if more.is_some() {
        return Err(Lack::Ambiguous);
    }
    let Ok(value) = value.to_str() else {
        return Ok(None);
    };
    let value = value.trim();
    let bearer = value
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(match bearer {
        Some((_, token)) => Some(token.trim().to_owned()),
        // Somebody else's scheme, such as Basic.
        None if *name == AUTHORIZATION => None,
        None => Some(value.to_owned()),
    })
}

fn in_cookies(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = headers.get_all(COOKIE).iter();
    let mut pairs = pairs.flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    let value = pairs.find_map(|pair| value_of(pair, name))?;
    String::from_utf8(value.to_vec()).ok()
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let pair = pair.trim_ascii();
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let pairs = line.as_bytes().split(|b| *b == b';');
        let others = pairs.filter(|pair| value_of(pair, name).is_none());
        let others: Vec<_> = others.map(<[u8]>::trim_ascii).collect();
        let line = HeaderValue::from_bytes(&others.join(&b"; "[..]));
        if let Some(line) = line.ok().filter(|line| !line.is_empty()) {
            headers.append(COOKIE, line);
        }
    }
}

/// Takes a parameter out of the query, and says what it was.
pub(super) fn take_from_query(parts: &mut Parts, name: &str) -> Result<Option<String>, Lack> {
    let Some(query) = parts.uri.query() else {
        return Ok(None);
    };
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for piece in query.split('&') {
        match form_urlencoded::parse(piece.as_bytes()).next() {
            Some((key, value)) if key == name => taken.push(value.into_owned()),
            _ => kept.push(piece),
        }
    }
    if taken.is_empty() {
        return Ok(None);
    }
    let rest = kept.join("&");
    set_query(&mut parts.uri, &rest);
    match (taken.pop(), taken.is_empty()) {
        (only, true) => Ok(only.filter(|token| !token.is_empty())),
        (_, false) => Err(Lack::Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn places() -> Places {
        Places {
            header: Some(AUTHORIZATION),
            cookie: Some("session".into()),
            query: Some("access_token".into()),
            forward: true,
        }
    }

    /// What is found, and what is left of the request.
    fn take(
        places: &Places,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> (Result<(String, bool), Lack>, String) {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let token = places.take(&mut parts);
        let left = parts.headers.iter();
        let left: Vec<_> = left
            .map(|(n, v)| format!(" {n}={}", v.to_str().unwrap()))
            .collect();
        (
            token.map(|token| (token.text, token.from_query)),
            format!("{}{}", parts.uri, left.concat()),
        )
    }

    #[test]
    fn the_first_place_that_has_one_wins_and_the_query_is_always_cleared() {
        let find = |uri: &str, headers: &[(&str, &str)]| take(&places(), uri, headers);
        let all = [("authorization", "bEARER  a"), ("cookie", "x=1; session=b")];
        let uri = "/e?x=%20&access_token=c&y";
        let (found, left) = find(uri, &all);
        assert_eq!(found, Ok(("a".into(), false)));
        assert_eq!(
            left,
            "/e?x=%20&y authorization=bEARER  a cookie=x=1; session=b"
        );
        assert_eq!(find(uri, &all[1..]).0, Ok(("b".into(), false)));
        assert_eq!(
            find(uri, &[("authorization", "Basic eA==")]).0,
            Ok(("c".into(), true))
        );
        assert_eq!(
            find("/e?access%5Ftoken=%61", &[]),
            (Ok(("a".into(), true)), "/e".into())
        );
        for uri in ["/e", "/e?access_token=", "/e?access_tokens=x"] {
            assert_eq!(find(uri, &[]).0, Err(Lack::None), "{uri}");
        }
    }

    #[test]
    fn two_in_one_place_are_none() {
        let (found, left) = take(&places(), "/e?access_token=a&access_token=b", &[]);
        assert_eq!((found, left.as_str()), (Err(Lack::Ambiguous), "/e"));
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(take(&places(), "/e", &twice).0, Err(Lack::Ambiguous));
    }

    #[test]
    fn what_is_not_forwarded_is_taken_out() {
        let kept_back = Places {
            forward: false,
            ..places()
        };
        let headers = [("authorization", "Bearer a"), ("x", "y")];
        assert_eq!(take(&kept_back, "/e", &headers).1, "/e x=y");
        let headers = [("cookie", "a=1; session=t; b=2"), ("cookie", "session=u")];
        assert_eq!(take(&kept_back, "/e", &headers).1, "/e cookie=a=1; b=2");
    }

    #[test]
    fn a_header_of_its_own_may_hold_the_bare_token() {
        let own = Places {
            header: Some(HeaderName::from_static("x-token")),
            ..places()
        };
        for value in ["t", "Bearer t"] {
            let found = take(&own, "/e", &[("x-token", value)]).0;
            assert_eq!(found, Ok(("t".into(), false)));
        }
    }
}
