//! What a path means to those who read it otherwise.
//!
//! Routes are chosen by paths as they came, and paths are forwarded as they
//! came. The server behind may read them more leniently: `/%6awt`, `//jwt`,
//! `/x/../jwt`, `/x\..\jwt` and `/jwt;x` are `/jwt` to some. Where that makes a
//! difference to who is let in, the proxy has to know.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// One way to read paths. Servers differ in each of these, so there are all of
/// them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading(u8);

/// `%6a` is `j`, `%2e` a dot and `%2f` a slash.
const DECODES: u8 = 1;
/// `\` is `/`.
const TURNS: u8 = 1 << 1;
/// What follows a `;` is no part of a segment.
const CUTS: u8 = 1 << 2;
/// `//` is `/`.
const MERGES: u8 = 1 << 3;

impl Reading {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=DECODES | TURNS | CUTS | MERGES).map(Self)
    }

    fn does(self, what: u8) -> bool {
        self.0 & what != 0
    }

    /// The path without dot segments (RFC 3986 §5.2.4).
    pub(crate) fn of(self, path: &str) -> Cow<'_, [u8]> {
        if is_plain(path) {
            return Cow::Borrowed(path.as_bytes());
        }
        let decoded: Cow<'_, [u8]> = if self.does(DECODES) {
            percent_decode_str(path).into()
        } else {
            Cow::Borrowed(path.as_bytes())
        };
        let mut segments: Vec<&[u8]> = Vec::new();
        let mut last: &[u8] = b"";
        let slash = |byte: &u8| *byte == b'/' || (self.does(TURNS) && *byte == b'\\');
        let path = decoded.strip_prefix(b"/").unwrap_or(&decoded);
        for segment in path.split(slash) {
            let segment = match segment.iter().position(|byte| *byte == b';') {
                Some(at) if self.does(CUTS) => &segment[..at],
                _ => segment,
            };
            last = segment;
            match segment {
                b"." => {}
                b".." => {
                    segments.pop();
                }
                b"" if self.does(MERGES) => {}
                segment => segments.push(segment),
            }
        }
        // An empty last segment is the slash at the end.
        if last.is_empty() && !self.does(MERGES) {
            segments.pop();
        }
        let mut read = Vec::with_capacity(decoded.len() + 1);
        for segment in segments {
            read.push(b'/');
            read.extend_from_slice(segment);
        }
        if matches!(last, b"" | b"." | b"..") {
            read.push(b'/');
        }
        Cow::Owned(read)
    }
}

/// Whether everybody reads a path alike.
pub(crate) fn is_plain(path: &str) -> bool {
    !path.contains(['%', '\\', ';']) && !path.contains("//") && !path.contains("/.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENIENT: Reading = Reading(DECODES | TURNS | CUTS | MERGES);

    #[test]
    fn a_lenient_reader_finds_the_same_in_many_spellings() {
        for path in [
            "/a/jwt",
            "/a/%6awt",
            "/a/%6Awt",
            "//a///jwt",
            "/./a/x/../jwt",
            "/a/%2e/x/%2E%2e/jwt",
            "/a%2fjwt",
            "/a%2Fx%2f..%2fjwt",
            "/a\\jwt",
            "/a%5cx\\..\\jwt",
            "/a/jwt;v=1",
            "/a/x/..;y/jwt",
            "/../../a/jwt",
        ] {
            assert_eq!(&*LENIENT.of(path), b"/a/jwt", "{path}");
        }
        for (path, read) in [
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("/a/", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a//", "/a/"),
            ("/a.b/.well-known", "/a.b/.well-known"),
            ("/%256a", "/%6a"),
        ] {
            assert_eq!(&*LENIENT.of(path), read.as_bytes(), "{path}");
        }
    }

    #[test]
    fn a_strict_reader_resolves_dots_alone() {
        let strict = Reading::all().next().unwrap();
        for (path, read) in [
            ("/a//../jwt", "/a/jwt"),
            ("/x/%2e%2e/../jwt", "/x/jwt"),
            ("//jwt", "//jwt"),
            ("/a//", "/a//"),
            ("/a//.", "/a//"),
            ("/a//..", "/a/"),
            ("/x\\..;/%6awt", "/x\\..;/%6awt"),
        ] {
            assert_eq!(&*strict.of(path), read.as_bytes(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn plain_paths_mean_the_same_to_all(path in "(/[a-z.%;\\\\2ef]{0,3}){1,5}") {
            let mut read: Vec<_> = Reading::all().map(|way| way.of(&path).into_owned()).collect();
            read.dedup();
            if is_plain(&path) {
                prop_assert_eq!(read, [path.into_bytes()]);
            } else {
                for path in read {
                    prop_assert!(path.starts_with(b"/"));
                    prop_assert!(!path.split(|b| *b == b'/').any(|s| s == b".."));
                }
            }
        }
    }
}
