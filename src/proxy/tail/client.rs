//! Asks for the stream, on a connection of its own each time.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::options::Options;
use super::{TailError, tls};
use crate::proxy::health::causes;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that vanished is noticed after half a minute of silence.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// This much of a refusal is read, for its first line.
const REFUSAL: usize = 8 << 10;
const REFUSAL_TIME: Duration = Duration::from_secs(5);
const SHOWN: usize = 200;

pub(super) struct Client {
    connector: HttpsConnector<HttpConnector>,
    request: Request<Full<Bytes>>,
}

/// What the server says to a request.
pub(super) enum Answer {
    Stream {
        body: Incoming,
        /// What its `Sse-Resume` says.
        resumed: Option<String>,
    },
    /// There is nothing left, and nothing will come.
    Finished,
    /// Asking again would not help.
    Refused(String),
    /// Asking again may help.
    Later {
        why: String,
        after: Option<Duration>,
    },
}

impl Client {
    pub(super) fn new(options: &Options) -> Result<Self, TailError> {
        check(&options.url).map_err(TailError::Options)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEPALIVE / 2));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(KEEPALIVE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::config(options)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        Ok(Self {
            connector,
            request: request(options)?,
        })
    }

    /// Whether what is asked for is done, rather than only read.
    pub(super) fn posts(&self) -> bool {
        self.request.method() == Method::POST
    }

    /// Asks for what comes after `last_id`; the error is for people.
    pub(super) async fn open(&self, last_id: Option<&str>) -> Result<Answer, String> {
        let mut request = self.request.clone();
        // An id that no header can hold is one that no client could send.
        if let Some(id) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            request.headers_mut().insert("last-event-id", id);
        }
        // A client of its own: nothing is left of a connection that was lost.
        let client = HttpClient::builder(TokioExecutor::new()).build(self.connector.clone());
        let response = client.request(request).await;
        let response = response.map_err(|error| causes(&error))?;
        Ok(answer(response).await)
    }
}

fn check(url: &Uri) -> Result<(), String> {
    const FORM: &str = "write scheme, host and path, such as http://127.0.0.1:8080/events";
    match (url.scheme_str(), url.authority()) {
        // Not shown: it may hold a password.
        (_, Some(authority)) if authority.as_str().contains('@') => {
            Err("the URL holds a user name or password; send it by --header".into())
        }
        (Some("http" | "https"), Some(_)) => Ok(()),
        (Some(_), Some(_)) => Err(format!("the URL is neither http nor https; {FORM}")),
        _ => Err(format!("the URL is not a whole one; {FORM}")),
    }
}

fn request(options: &Options) -> Result<Request<Full<Bytes>>, TailError> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = options.url.clone();
    let headers = request.headers_mut();
    let own = [
        (ACCEPT, "text/event-stream"),
        (ACCEPT_ENCODING, "identity"),
        (CACHE_CONTROL, "no-cache"),
        (USER_AGENT, concat!("sse-proxy/", env!("CARGO_PKG_VERSION"))),
    ];
    for (name, value) in own {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(data) = &options.data {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.method_mut() = Method::POST;
        *request.body_mut() = Full::from(body(data)?);
    }
    let headers = request.headers_mut();
    // Given ones replace these; a name given twice is sent twice.
    for (name, _) in &options.headers {
        headers.remove(name);
    }
    for (name, value) in &options.headers {
        headers.append(name, value.clone());
    }
    Ok(request)
}

fn body(data: &str) -> Result<Vec<u8>, TailError> {
    let Some(file) = data.strip_prefix('@') else {
        return Ok(data.as_bytes().to_vec());
    };
    std::fs::read(file)
        .map_err(|why| TailError::Options(format!("cannot read the body from {file}: {why}")))
}

async fn answer(response: Response<Incoming>) -> Answer {
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        return Answer::Finished;
    }
    if status == StatusCode::OK {
        return stream(response);
    }
    if status.is_redirection() {
        let to = word(response.headers(), LOCATION.as_str()).unwrap_or_default();
        return Answer::Refused(format!("{status}: ask {to} instead"));
    }
    let after = retry_after(response.headers());
    let why = refusal(response).await;
    let passes = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if passes {
        Answer::Later { why, after }
    } else {
        Answer::Refused(why)
    }
}

fn stream(response: Response<Incoming>) -> Answer {
    let kind = word(response.headers(), CONTENT_TYPE.as_str());
    if is_event_stream(kind.as_deref().unwrap_or_default()) {
        return Answer::Stream {
            resumed: word(response.headers(), "sse-resume"),
            body: response.into_body(),
        };
    }
    let kind = kind.unwrap_or_else(|| "not said".into());
    Answer::Refused(format!("the answer is no event stream: its type is {kind}"))
}

/// The status and the first line of what the server says.
async fn refusal(response: Response<Incoming>) -> String {
    let status = response.status();
    let body = Limited::new(response.into_body(), REFUSAL).collect();
    let body = match tokio::time::timeout(REFUSAL_TIME, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    let text = String::from_utf8_lossy(&body);
    let line = text.lines().next().unwrap_or_default().trim();
    let line: String = line.chars().take(SHOWN).collect();
    match line.as_str() {
        "" => format!("the server answers {status}"),
        line => format!("the server answers {status}: {line}"),
    }
}

fn is_event_stream(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}

fn word(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// `Retry-After`, as seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = word(headers, RETRY_AFTER.as_str())?;
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}
