//! `redis://user:password@host:6379/0`.
//!
//! No message and nothing printed ever shows a password, not even one that is
//! written in the file.

use super::error::ConfigError;
use super::secret::{HIDDEN, Secret};
use super::tree::{Node, is_reference};

const DEFAULT_PORT: u16 = 6379;

/// A server's URL, understood.
#[derive(Debug)]
pub(super) struct RedisUrl {
    /// As it was given, for whoever connects.
    pub(super) whole: Secret<String>,
    /// Host and port.
    pub(super) server: (String, u16),
    pub(super) access: Access,
}

/// What all servers of one journal have in common.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) tls: bool,
    pub(super) database: u32,
    user: Option<Secret<String>>,
}

/// Reads a server's URL.
pub(super) fn read(node: &Node) -> Result<RedisUrl, ConfigError> {
    let text = node.text()?;
    let (server, access) = parse(text).map_err(|why| node.error(why))?;
    Ok(RedisUrl {
        whole: Secret::shown_as(text.to_owned(), Some(shown(node.written(), text))),
        server,
        access,
    })
}

const NOT_A_URL: &str = "is not a Redis URL (not shown, as it may hold a password); write \
    redis://HOST:PORT, rediss:// for TLS, and user, password and database as in \
    rediss://USER:PASSWORD@HOST:6379/0, with characters such as / @ # % in a password \
    percent-encoded";

fn parse(text: &str) -> Result<((String, u16), Access), &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or(NOT_A_URL)?;
    let tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return Err("has a scheme that is not served; write redis://, or rediss:// for TLS"),
    };
    let allowed = |c: char| c.is_ascii_graphic() && !"<>\"{}|\\^`?#".contains(c);
    if !rest.chars().all(allowed) {
        return Err(NOT_A_URL);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = match authority.rsplit_once('@') {
        Some((user, server)) => (Some(user), server),
        None => (None, authority),
    };
    if user.is_some_and(|user| !is_user(user)) {
        return Err(NOT_A_URL);
    }
    let database = if path.is_empty() { "0" } else { path };
    let access = Access {
        tls,
        database: number(database).ok_or(NOT_A_URL)?,
        user: user.map(|user| Secret::new(user.to_owned())),
    };
    Ok((host_and_port(server).ok_or(NOT_A_URL)?, access))
}

/// Every `%` must begin an escape, or a password would come out as another.
fn is_user(text: &str) -> bool {
    let mut pieces = text.split('%').skip(1);
    let escaped = pieces.all(|piece| {
        let two = piece.as_bytes().get(..2);
        two.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    });
    escaped && !text.contains('@')
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let authority: http::uri::Authority = text.parse().ok()?;
    let names_port = authority.as_str().len() > authority.host().len();
    let port = match authority.port() {
        Some(port) => number(port.as_str())?,
        None if names_port => return None,
        None => DEFAULT_PORT,
    };
    let host = authority.host().to_ascii_lowercase();
    (!host.is_empty() && port != 0).then_some((host, port))
}

/// Digits alone: the standard parser takes a sign as well.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A URL as it may be printed: as it is written, but for its password, unless
/// that is left to the environment altogether.
fn shown(written: &str, expanded: &str) -> String {
    if is_reference(written) {
        return written.to_owned();
    }
    let Some((before, server)) = written.rsplit_once('@') else {
        // The `@` that is not in the file came out of a variable.
        let whole = if expanded.contains('@') {
            HIDDEN
        } else {
            written
        };
        return whole.to_owned();
    };
    let user = before.find("://").map_or(0, |at| at + "://".len());
    let (scheme, user) = before.split_at(user);
    match user.split_once(':') {
        Some((_, password)) if is_reference(password) => written.to_owned(),
        Some((name, _)) => format!("{scheme}{name}:{HIDDEN}@{server}"),
        None => written.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn servers_and_databases() {
        for (text, host, port, tls, database) in [
            ("redis://h", "h", 6379, false, 0),
            ("redis://H/", "h", 6379, false, 0),
            ("rediss://h:1/2", "h", 1, true, 2),
            ("redis://[::1]:7", "[::1]", 7, false, 0),
            ("redis://:p%40w@h", "h", 6379, false, 0),
            ("redis://u:p:w@10.0.0.1:7/15", "10.0.0.1", 7, false, 15),
        ] {
            let (server, access) = parse(text).unwrap();
            assert_eq!(server, (host.to_owned(), port), "{text}");
            assert_eq!((access.tls, access.database), (tls, database), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "h:6379",
            "http://h",
            "redis://",
            "redis://:6379",
            "redis://u:p@",
            "redis://h:0",
            "redis://h:99999",
            "redis://h:x",
            "redis://h:",
            "redis://h/x",
            "redis://h/+1",
            "redis://h/1/2",
            "redis://h?db=1",
            "redis://h#1",
            "redis://a b",
            "redis://u:p/w@h",
            "redis://u:p@w@h",
            "redis://u:p%w@h",
            "redis://u:p%4é@h",
            "redis://u:<hidden>@h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_may_be_printed() {
        for (written, expanded, printed) in [
            ("redis://h", "redis://h", "redis://h"),
            ("redis://u@h", "redis://u@h", "redis://u@h"),
            (
                "redis://u:pw@h/1",
                "redis://u:pw@h/1",
                "redis://u:<hidden>@h/1",
            ),
            ("redis://:${P}@${H}", "redis://:pw@h", "redis://:${P}@${H}"),
            (
                "redis://:${P:-pw}@h",
                "redis://:pw@h",
                "redis://:<hidden>@h",
            ),
            ("redis://:x${P}@h", "redis://:xpw@h", "redis://:<hidden>@h"),
            ("redis://:$$pw@h", "redis://:$pw@h", "redis://:<hidden>@h"),
            ("${URL}", "redis://:pw@h", "${URL}"),
            ("redis://u:pw${AT}h", "redis://u:pw@h", "<hidden>"),
            (
                "${URL:-redis://u:pw@h}",
                "redis://u:pw@h",
                "${URL:-redis://u:<hidden>@h}",
            ),
        ] {
            assert_eq!(shown(written, expanded), printed);
        }
    }

    proptest! {
        #[test]
        fn no_password_is_ever_printed(
            name in "[a-z${}:]{0,5}", password in "P[A-Z0-9:%@$/]{2,9}", rest in "h[:/@0-9]{0,3}",
        ) {
            let text = format!("redis://{name}:{password}@{rest}");
            let printed = shown(&text, &text);
            prop_assert!(!printed.contains(&password), "{}", printed);
            let _ = parse(&text);
        }
    }
}
