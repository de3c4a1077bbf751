//! What a request calls the stream that its answer becomes.

use http::HeaderMap;

use super::settings::NameSource;

/// A longer one is none: it is kept with its stream, and part of a path.
const LONGEST: usize = 256;

/// Whether the body has to be read to find it, and how much of it.
pub(super) fn within(source: &NameSource) -> Option<usize> {
    match source {
        NameSource::Header(_) => None,
        NameSource::Json { max, .. } => Some(*max),
    }
}

/// The name in a request, of whose body this much was read.
pub(super) fn find(source: &NameSource, headers: &HeaderMap, read: &[u8]) -> Option<Box<str>> {
    let name = match source {
        NameSource::Header(header) => {
            let mut values = headers.get_all(header).iter();
            let (Some(value), None) = (values.next(), values.next()) else {
                return None;
            };
            std::str::from_utf8(value.as_bytes()).ok()?.to_owned()
        }
        NameSource::Json { pointer, max } => {
            // The same whatever pieces it came in.
            json::find(read.get(..*max).unwrap_or(read), pointer)?
        }
    };
    let fits = !name.is_empty() && name.len() <= LONGEST && !name.contains(char::is_control);
    fits.then(|| name.into())
}

/// Finding one value in JSON of which the end may be missing: chats grow, and
/// what names them comes first.
mod json {
    use std::fmt;

    use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

    /// The string or number at this pointer (RFC 6901).
    pub(super) fn find(text: &[u8], pointer: &str) -> Option<String> {
        let path: Vec<String> = match pointer.strip_prefix('/') {
            Some(path) => path.split('/').map(unescape).collect(),
            None if pointer.is_empty() => Vec::new(),
            None => return None,
        };
        let mut found = None;
        let seed = Search {
            path: &path,
            found: &mut found,
        };
        let mut json = serde_json::Deserializer::from_slice(text);
        // An error after it was found says only that more follows.
        let _ = seed.deserialize(&mut json);
        found
    }

    fn unescape(part: &str) -> String {
        part.replace("~1", "/").replace("~0", "~")
    }

    struct Search<'a> {
        path: &'a [String],
        found: &'a mut Option<String>,
    }

    impl<'de> DeserializeSeed<'de> for Search<'_> {
        type Value = ();

        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
            from.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Search<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
            while let Some(key) = map.next_key::<String>()? {
                match self.path.split_first() {
                    // Of several with one key, the last counts.
                    Some((first, path)) if *first == key => map.next_value_seed(Search {
                        path,
                        found: &mut *self.found,
                    })?,
                    _ => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(())
        }

        fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
            let wanted = self.path.split_first();
            let mut at = 0usize;
            loop {
                let here = match wanted {
                    Some((first, path)) if *first == at.to_string() => Some(path),
                    _ => None,
                };
                let more = match here {
                    Some(path) => {
                        let found = &mut *self.found;
                        list.next_element_seed(Search { path, found })?.is_some()
                    }
                    None => list.next_element::<IgnoredAny>()?.is_some(),
                };
                if !more {
                    return Ok(());
                }
                at += 1;
            }
        }

        fn visit_str<E>(self, text: &str) -> Result<(), E> {
            self.take(text.to_owned());
            Ok(())
        }

        fn visit_u64<E>(self, number: u64) -> Result<(), E> {
            self.take(number.to_string());
            Ok(())
        }

        fn visit_i64<E>(self, number: i64) -> Result<(), E> {
            self.take(number.to_string());
            Ok(())
        }

        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }

        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    }

    impl Search<'_> {
        fn take(self, text: String) {
            if self.path.is_empty() {
                *self.found = Some(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn of(pointer: &str, text: &str) -> Option<Box<str>> {
        let source = NameSource::Json {
            pointer: pointer.into(),
            max: 1 << 10,
        };
        find(&source, &HeaderMap::new(), text.as_bytes())
    }

    #[test]
    fn it_is_where_the_pointer_points() {
        let text = r#"{"a":{"id":"no"},"id":"chat-7","l":[{"x":1},{"x":-2}],"a/b":{"~":"t"}}"#;
        assert_eq!(of("/id", text).as_deref(), Some("chat-7"));
        assert_eq!(of("/a/id", text).as_deref(), Some("no"));
        assert_eq!(of("/l/1/x", text).as_deref(), Some("-2"));
        assert_eq!(of("/a~1b/~0", text).as_deref(), Some("t"));
        assert_eq!(of("", r#""whole""#).as_deref(), Some("whole"));
        for nothing in ["/l", "/a", "/x", "/id/x", "/l/2/x", "id"] {
            assert_eq!(of(nothing, text), None, "{nothing}");
        }
    }

    #[test]
    fn it_is_found_in_what_was_read_of_a_long_body() {
        let text = r#"{"id":"7","messages":[{"text":"long"#;
        assert_eq!(of("/id", text).as_deref(), Some("7"));
        for cut in 0..=8 {
            assert_eq!(of("/id", &text[..cut]), None, "{cut}");
        }
        assert_eq!(of("/id", "not json").as_deref(), None);
    }

    #[test]
    fn what_would_not_fit_is_no_name() {
        let long = "x".repeat(LONGEST + 1);
        for bad in ["", "a\\nb", long.as_str()] {
            assert_eq!(of("/id", &format!("{{\"id\":\"{bad}\"}}")), None);
        }
        let source = NameSource::Header(HeaderName::from_static("x-chat-id"));
        let mut headers = HeaderMap::new();
        headers.append("x-chat-id", HeaderValue::from_static("7"));
        assert_eq!(find(&source, &headers, b"").as_deref(), Some("7"));
        headers.append("x-chat-id", HeaderValue::from_static("8"));
        assert_eq!(find(&source, &headers, b""), None);
    }
}
