//! Why a request could not be forwarded.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;

type BoxError = Box<dyn Error + Send + Sync>;

/// A request that got no response, or a response whose body broke.
#[derive(Debug)]
pub struct ForwardError {
    upstream: Arc<str>,
    server: Option<Authority>,
    cause: Cause,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Every server is known to be down, or drained; nothing was sent.
    NoHealthyServer,
    /// Every server that is up has as much to do as it may; nothing was sent.
    Full,
    /// The last server tried says that it did nothing with the request.
    Unprocessed(BoxError),
    /// The response body broke off, for the stream to go on at another server.
    Moved,
    /// No server could be connected to; nothing was sent. This is what the
    /// last one tried said.
    Connect(BoxError),
    /// The last server tried did not accept in time; nothing was sent.
    ConnectTimeout(Duration),
    /// The request was sent, and no response head came in time.
    HeadTimeout(Duration),
    /// The request was sent, at least in part, and the connection broke before
    /// a response head came.
    Broken(BoxError),
    /// The answer was not HTTP.
    Malformed(BoxError),
    /// The client's request body broke off.
    RequestBody(BoxError),
    /// The request target has no form an upstream would understand.
    Target(BoxError),
    /// The response body broke off.
    ResponseBody(BoxError),
}

impl ForwardError {
    pub(super) fn new(upstream: &Arc<str>, server: Option<&Authority>, cause: Cause) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            server: server.cloned(),
            cause,
        }
    }

    /// The upstream's name in the configuration.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The server concerned, if one was chosen.
    pub fn server(&self) -> Option<&Authority> {
        self.server.as_ref()
    }

    /// Whether no server has done anything with the request.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(
            self.cause,
            Cause::Connect(_) | Cause::ConnectTimeout(_) | Cause::Unprocessed(_)
        )
    }

    /// Whether it speaks against the server.
    pub(super) fn is_failure(&self) -> bool {
        matches!(
            self.cause,
            Cause::Connect(_)
                | Cause::ConnectTimeout(_)
                | Cause::HeadTimeout(_)
                | Cause::Broken(_)
                | Cause::Malformed(_)
        )
    }

    /// What went wrong.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {}", self.upstream)?;
        if let Some(server) = &self.server {
            write!(f, ", server {server}")?;
        }
        match &self.cause {
            Cause::NoHealthyServer => {
                write!(f, ": every server fails its health check, or is drained")
            }
            Cause::Full => write!(f, ": every server has its most open (pool.max_open)"),
            Cause::Unprocessed(_) => write!(f, ": the request was refused unprocessed"),
            Cause::Moved => write!(f, ": it went down, and its streams move"),
            Cause::Connect(_) => write!(f, ": cannot connect"),
            Cause::ConnectTimeout(limit) => write!(f, ": no connection within {limit:?}"),
            Cause::HeadTimeout(limit) => write!(f, ": no response within {limit:?}"),
            Cause::Broken(_) => write!(f, ": the connection broke before a response"),
            Cause::Malformed(_) => write!(f, ": the response is not valid HTTP"),
            Cause::RequestBody(_) => write!(f, ": the client's request body broke off"),
            Cause::Target(_) => write!(f, ": the request target cannot be forwarded"),
            Cause::ResponseBody(_) => write!(f, ": the response body broke off"),
        }
    }
}

impl Error for ForwardError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::NoHealthyServer
            | Cause::Full
            | Cause::Moved
            | Cause::ConnectTimeout(_)
            | Cause::HeadTimeout(_) => None,
            Cause::Connect(source)
            | Cause::Unprocessed(source)
            | Cause::Broken(source)
            | Cause::Malformed(source)
            | Cause::RequestBody(source)
            | Cause::Target(source)
            | Cause::ResponseBody(source) => Some(&**source),
        }
    }
}
