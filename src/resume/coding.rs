//! In which coding a client gets its stream (RFC 9110 §12.5.3).

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::settings::Coding;

/// A weight in thousandths. What is acceptable has more than none.
type Weight = u16;

const MOST: Weight = 1000;

impl Coding {
    /// What it is called in headers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => "gzip",
        }
    }
}

/// The coding a request gets where its route has `offered` it: that, if the
/// client says that it takes it at least as gladly as none.
pub(crate) fn choose(offered: Option<Coding>, headers: &HeaderMap) -> Option<Coding> {
    let offered = offered?;
    if has_word(headers, &CACHE_CONTROL, "no-transform") {
        return None;
    }
    let weight = |name: &str| weight(headers, name);
    let coded = weight(offered.name()).or_else(|| weight("*")).unwrap_or(0);
    let (plain, anything) = (weight("identity"), weight("*"));
    // Not named it is acceptable, and wanted least of all.
    let plain = plain.or(anything.filter(|weight| *weight == 0));
    (coded > 0 && coded >= plain.unwrap_or(0)).then_some(offered)
}

/// Whether a request wants its answer in a coding, whatever it is.
#[cfg(feature = "proxy")]
pub(crate) fn refuses_plain(headers: &HeaderMap) -> bool {
    let anything = || weight(headers, "*");
    weight(headers, "identity").or_else(anything) == Some(0)
}

/// Says in an answer's head what was chosen, and that it was a choice.
pub(super) fn declare(headers: &mut HeaderMap, offered: Option<Coding>, chosen: Option<Coding>) {
    if offered.is_none() {
        return;
    }
    let said = |word: &str| has_word(headers, &VARY, word);
    if !said("*") && !said("accept-encoding") {
        let value = HeaderValue::from_static("Accept-Encoding");
        headers.append(VARY, value);
    }
    if let Some(coding) = chosen {
        let value = HeaderValue::from_static(coding.name());
        headers.insert(CONTENT_ENCODING, value);
    }
}

/// The elements of a list that may be spread over several lines.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    let readable = lines.filter_map(|line| line.to_str().ok());
    readable.flat_map(|line| line.split(',')).map(str::trim)
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(word))
}

/// How gladly a client takes a coding; `None` if it does not say.
fn weight(headers: &HeaderMap, coding: &str) -> Option<Weight> {
    elements(headers, &ACCEPT_ENCODING).find_map(|element| {
        let (name, parameter) = element.split_once(';').unwrap_or((element, ""));
        named(name.trim(), coding).then(|| quality(parameter.trim()))
    })
}

fn named(name: &str, coding: &str) -> bool {
    // RFC 9110 §8.4.1.3.
    let name = if name.eq_ignore_ascii_case("x-gzip") {
        "gzip"
    } else {
        name
    };
    name.eq_ignore_ascii_case(coding)
}

/// `q=0.5`. What cannot be read is taken for a refusal: a stream that is not
/// compressed is still one.
fn quality(parameter: &str) -> Weight {
    if parameter.is_empty() {
        return MOST;
    }
    let value = parameter
        .strip_prefix(['q', 'Q'])
        .and_then(|rest| rest.trim_start().strip_prefix('='))
        .map_or("", str::trim);
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "0" if digits => thousandths,
        "1" if digits && thousandths == 0 => MOST,
        _ => 0,
    }
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use super::*;

    fn chosen(accepted: &[&'static str]) -> bool {
        let lines = accepted.iter().map(|line| HeaderValue::from_static(line));
        let headers = lines.map(|line| (ACCEPT_ENCODING, line)).collect();
        choose(Some(Coding::Gzip), &headers).is_some()
    }

    #[test]
    fn gzip_is_for_those_who_want_it() {
        for accepted in [
            "gzip",
            "x-gzip",
            "GZip",
            "gzip, deflate, br, zstd",
            "deflate , gzip;q=1.0, *;q=0.5",
            "br;q=1, gzip;q=0.1",
            "gzip ; Q=0.001",
            "*",
            "*;q=0.1",
            "identity;q=0.5, gzip",
            "identity;q=0, gzip;q=0.2",
            "identity;q=0, *",
            "gzip, *;q=0",
            "gzip, identity",
        ] {
            assert!(chosen(&[accepted]), "{accepted}");
        }
        assert!(chosen(&["br", "gzip"]));
    }

    #[test]
    fn and_for_nobody_else() {
        for accepted in [
            "",
            ",",
            "identity",
            "br",
            "gzip;q=0",
            "gzip; q=0.000",
            "gzip;q=0, *",
            "*;q=0",
            "gzip;q=0.5, identity",
            "gzip;q=0.5, identity;q=0.6",
            "gzip;q=",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=-1",
            "gzip;level=9",
            "gzipped",
        ] {
            assert!(!chosen(&[accepted]), "{accepted}");
        }
        assert!(!chosen(&[]));
        let gzip = HeaderValue::from_static("gzip");
        let asis = HeaderValue::from_static("no-cache, no-transform");
        let headers = [(ACCEPT_ENCODING, gzip), (CACHE_CONTROL, asis)];
        assert_eq!(
            choose(Some(Coding::Gzip), &headers.into_iter().collect()),
            None
        );
    }

    #[test]
    fn the_choice_is_said_once() {
        for (before, after) in [
            (None, vec!["Accept-Encoding"]),
            (Some("Origin"), vec!["Origin", "Accept-Encoding"]),
            (
                Some("origin, accept-encoding"),
                vec!["origin, accept-encoding"],
            ),
            (Some("*"), vec!["*"]),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(before) = before {
                headers.insert(VARY, HeaderValue::from_static(before));
            }
            declare(&mut headers, Some(Coding::Gzip), None);
            let vary: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(vary, after);
            assert!(!headers.contains_key(CONTENT_ENCODING));
        }
    }
}
