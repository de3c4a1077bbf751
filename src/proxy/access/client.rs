//! Asking others about a request: short questions, short answers.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::AccessError;
use crate::proxy::forward::client_tls;

type BoxError = Box<dyn Error + Send + Sync>;

/// Below the keep-alive of common servers: see `forward`.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// A client with limits. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
    most: usize,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// None came in time.
    Timeout(Duration),
    /// There was none, or it was too long.
    Failed(BoxError),
    /// It is not what was asked for.
    Unexpected(String),
}

impl Client {
    /// For one URL: its answers have so much time, and so many bytes.
    pub(super) fn new(url: &Uri, timeout: Duration, most: usize) -> Result<Self, AccessError> {
        let servers = std::slice::from_ref(url);
        let tls = client_tls(servers, None).map_err(AccessError::Trust)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        Ok(Self {
            pool,
            timeout,
            most,
        })
    }

    /// The whole answer. Redirects are answers.
    pub(super) async fn ask(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Bytes>, AskError> {
        let whole = async {
            let response = self.pool.request(request).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, self.most).collect().await?.to_bytes();
            Ok::<_, BoxError>(Response::from_parts(parts, body))
        };
        match tokio::time::timeout(self.timeout, whole).await {
            Ok(answer) => answer.map_err(AskError::Failed),
            Err(_) => Err(AskError::Timeout(self.timeout)),
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(limit) => write!(f, "no answer within {limit:?}"),
            Self::Failed(error) => {
                write!(f, "{error}")?;
                // The cause is what an operator can do something about.
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
            Self::Unexpected(what) => f.write_str(what),
        }
    }
}

impl Error for AskError {}
