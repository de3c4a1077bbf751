//! The connection on which everything is asked, and how it comes back.
//!
//! There is one, shared by all streams: requests are sent as they come and
//! answered in order. It is made in the background, and made again after
//! whatever ends it. That a connection does not answer in time ends it too.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    RedisResult, ServerErrorKind, TlsCertificates, Value,
};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::lock::Lock;
use super::scripts::{Call, Reply};
use super::settings::{RedisSettings, Topology};

/// Attempts to connect are this far apart at first, and at last.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(1);

const WARNINGS_APART: Duration = Duration::from_secs(10);

/// Where Redis is, and the connection to it if there is one.
pub(super) struct Client {
    route: Route,
    /// Host and port, for the operator.
    place: String,
    timeout: Duration,
    link: Lock<Link>,
    /// Counts connections.
    made: watch::Sender<u64>,
    lost: Notify,
}

enum Route {
    Standalone(redis::Client),
    Sentinel(tokio::sync::Mutex<SentinelClient>),
    Cluster {
        client: Box<ClusterClient>,
        nodes: Vec<redis::Client>,
    },
}

#[derive(Clone)]
enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

struct Link {
    wire: Option<Wire>,
    since: Instant,
    trouble: Option<String>,
    /// When the operator was told of trouble last.
    warned: Option<Instant>,
}

/// Redis did not answer, or not as it should: why, in words for the operator.
#[derive(Clone, Debug)]
pub(super) struct Away(pub(super) String);

/// How the connection does.
pub(super) struct Condition {
    pub(super) connected: bool,
    /// For how long it has been like this.
    pub(super) time: Duration,
    pub(super) trouble: Option<String>,
}

impl Client {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, String> {
        let certificates = certificates(settings)?;
        let servers = servers(settings)?;
        if servers.iter().any(is_tls) {
            // Where several are compiled in, rustls would have to be told which.
            // Another one that is installed already is as good.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let places: Vec<String> = servers.iter().map(|to| to.addr().to_string()).collect();
        Ok(Self {
            route: Route::new(settings, servers, certificates)?,
            place: places.join(", "),
            timeout: settings.timeout,
            link: Lock::new(Link {
                wire: None,
                since: Instant::now(),
                trouble: None,
                warned: None,
            }),
            made: watch::Sender::new(0),
            lost: Notify::new(),
        })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn condition(&self) -> Condition {
        let link = self.link.lock();
        Condition {
            connected: link.wire.is_some() && link.trouble.is_none(),
            time: link.since.elapsed(),
            trouble: link.trouble.clone(),
        }
    }

    /// How many connections there have been. In a cluster there is one for good,
    /// whatever becomes of those to its nodes.
    pub(super) fn generation(&self) -> u64 {
        *self.made.borrow()
    }

    // === Asking ===

    /// Executes a script, within the time that is usual.
    pub(super) async fn call(&self, call: &Call) -> Result<Reply, Away> {
        self.call_within(call, self.timeout).await
    }

    /// Executes a script within a time. If that fails, whether it has been
    /// executed, or still will be, is not known.
    pub(super) async fn call_within(&self, call: &Call, limit: Duration) -> Result<Reply, Away> {
        let generation = self.generation();
        let Some(mut wire) = self.link.lock().wire.clone() else {
            return Err(self.away());
        };
        let answer = match timeout(limit, wire.execute(call)).await {
            Ok(Ok(value)) => Reply::read(value).map_err(|_| "a strange answer".to_owned()),
            Ok(Err(error)) if !ends_connection(&error) => Err(error.to_string()),
            Ok(Err(error)) => {
                self.end(generation, &error.to_string());
                Err(error.to_string())
            }
            Err(_) => {
                let why = format!("no answer within {limit:?}");
                self.end(generation, &why);
                Err(why)
            }
        };
        if let Err(why) = &answer {
            self.warn(why);
        }
        self.link.lock().trouble = answer.as_ref().err().cloned();
        answer.map_err(|why| Away(format!("redis at {}: {why}", self.place)))
    }

    /// Tells the operator, but not of every request that fails.
    fn warn(&self, why: &str) {
        let mut link = self.link.lock();
        if link.warned.is_none_or(|at| at.elapsed() > WARNINGS_APART) {
            link.warned = Some(Instant::now());
            tracing::warn!(redis = %self.place, why, "redis does not do what it is asked to");
        }
    }

    /// The error of whoever has nothing to ask on.
    pub(super) fn away(&self) -> Away {
        let link = self.link.lock();
        let why = link.trouble.as_deref().unwrap_or("not connected yet");
        Away(format!("redis at {}: {why}", self.place))
    }

    /// Waits for a connection to try again on: for one that is not there, or
    /// for a while, longer with every attempt.
    pub(super) async fn breather(&self, attempt: u32) {
        let mut made = self.made.subscribe();
        let pause = sleep(delay(attempt));
        if self.link.lock().wire.is_some() {
            return pause.await;
        }
        tokio::select! {
            _ = made.changed() => {}
            () = pause => {}
        }
    }

    /// Waits for a connection, as long as it may be about to be there: Redis was
    /// lost, or the journal was opened, within the time that is usual.
    pub(super) async fn connected(&self) {
        let mut made = self.made.subscribe();
        let (away, since) = {
            let link = self.link.lock();
            (link.wire.is_none(), link.since)
        };
        let left = self.timeout.saturating_sub(since.elapsed());
        if away && !left.is_zero() {
            let _ = timeout(left, made.changed()).await;
        }
    }

    // === Connecting ===

    /// Connects, again and again, for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) {
        let mut attempt = 0;
        loop {
            match self.within_time(self.open()).await {
                Ok(wire) => {
                    self.install(wire);
                    let begun = Instant::now();
                    self.lost.notified().await;
                    if begun.elapsed() > LAST_DELAY {
                        attempt = 0;
                    }
                }
                Err(why) => {
                    if attempt == 0 {
                        tracing::warn!(redis = %self.place, why, "redis cannot be reached");
                    }
                    self.link.lock().trouble = Some(why);
                }
            }
            sleep(delay(attempt)).await;
            attempt += 1;
        }
    }

    /// A connection of its own, to be told on what others publish.
    pub(super) async fn listen(&self) -> Result<PubSub, String> {
        self.within_time(self.route.listen()).await
    }

    /// What is asked on that connection is answered as soon as anything else.
    pub(super) async fn in_time<T>(
        &self,
        request: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        let late = || (ErrorKind::Io, "no answer in time").into();
        let answer = timeout(self.timeout, request).await;
        answer.unwrap_or_else(|_| Err(late()))
    }

    async fn within_time<T>(
        &self,
        attempt: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, String> {
        match timeout(self.timeout, attempt).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no connection within {:?}", self.timeout)),
        }
    }

    async fn open(&self) -> RedisResult<Wire> {
        let mut wire = self.route.open(self.timeout).await?;
        // A server that is still loading accepts connections, and no more.
        wire.send(&redis::cmd("PING")).await?;
        Ok(wire)
    }

    fn install(&self, wire: Wire) {
        let mut link = self.link.lock();
        link.wire = Some(wire);
        link.since = Instant::now();
        link.trouble = None;
        drop(link);
        self.made.send_modify(|made| *made += 1);
        tracing::info!(redis = %self.place, "connected to redis");
    }

    /// Drops the connection, unless there is another one by now. One to a
    /// cluster mends itself.
    fn end(&self, generation: u64, why: &str) {
        let mut link = self.link.lock();
        if self.generation() != generation || !matches!(link.wire, Some(Wire::One(_))) {
            return;
        }
        link.wire = None;
        link.since = Instant::now();
        drop(link);
        tracing::warn!(redis = %self.place, why, "the connection to redis is lost");
        self.lost.notify_one();
    }
}

impl Route {
    fn new(
        settings: &RedisSettings,
        servers: Vec<ConnectionInfo>,
        certificates: Option<TlsCertificates>,
    ) -> Result<Self, String> {
        let route = match &settings.topology {
            Topology::Standalone => match servers.into_iter().next() {
                Some(server) => client(server, certificates.as_ref()).map(Self::Standalone),
                None => return Err("no URL of a Redis server is given".to_owned()),
            },
            Topology::Sentinel { service } => {
                let password = settings.sentinel_password.as_deref();
                sentinel(service, &servers, password, certificates)
                    .map(|client| Self::Sentinel(tokio::sync::Mutex::new(client)))
            }
            Topology::Cluster => cluster(servers, settings.timeout, certificates),
        };
        route.map_err(|error| error.to_string())
    }

    async fn open(&self, limit: Duration) -> RedisResult<Wire> {
        let client = match self {
            Self::Standalone(client) => client.clone(),
            Self::Sentinel(client) => client.lock().await.async_get_client().await?,
            Self::Cluster { client, .. } => {
                return client.get_async_connection().await.map(Wire::Cluster);
            }
        };
        // How long an answer may take is decided with each request.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        connection.await.map(Wire::One)
    }

    async fn listen(&self) -> RedisResult<PubSub> {
        match self {
            Self::Standalone(client) => client.get_async_pubsub().await,
            Self::Sentinel(client) => {
                let master = client.lock().await.async_get_client().await?;
                master.get_async_pubsub().await
            }
            // Every node is told what is published on any.
            Self::Cluster { nodes, .. } => {
                let first = fastrand::usize(..nodes.len().max(1));
                match nodes.get(first) {
                    Some(node) => node.get_async_pubsub().await,
                    None => Err((ErrorKind::InvalidClientConfig, "no nodes").into()),
                }
            }
        }
    }
}

impl Wire {
    async fn execute(&mut self, call: &Call) -> RedisResult<Value> {
        match self.send(&call.by_hash()).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&call.in_full()).await
            }
            answer => answer,
        }
    }

    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// Whether another connection may do better: this one is dead, or leads to a
/// server that is not the master (any more).
fn ends_connection(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    ) || error.is_io_error()
        || error.is_unrecoverable_error()
}

/// How long to wait after so many failures; jittered, so that not all processes
/// come at once.
fn delay(attempt: u32) -> Duration {
    let longest = FIRST_DELAY * 2u32.saturating_pow(attempt.min(10));
    longest.min(LAST_DELAY).mul_f64(0.5 + fastrand::f64() / 2.0)
}

// === From settings ===

fn servers(settings: &RedisSettings) -> Result<Vec<ConnectionInfo>, String> {
    let read = |(at, url): (usize, &String)| {
        // What the parser says may quote the URL, and that may hold a password.
        let server = url.as_str().into_connection_info().map_err(|_| {
            format!(
                "URL {} is none of Redis: redis://user:password@host:port/db is",
                at + 1
            )
        })?;
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(server.set_tcp_settings(tcp))
    };
    settings.urls.iter().enumerate().map(read).collect()
}

fn certificates(settings: &RedisSettings) -> Result<Option<TlsCertificates>, String> {
    let Some(path) = &settings.ca_file else {
        return Ok(None);
    };
    let root_cert = std::fs::read(path)
        .map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    Ok(Some(TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    }))
}

fn client(
    server: ConnectionInfo,
    certificates: Option<&TlsCertificates>,
) -> RedisResult<redis::Client> {
    match certificates.filter(|_| is_tls(&server)) {
        Some(certificates) => redis::Client::build_with_tls(server, certificates.clone()),
        None => redis::Client::open(server),
    }
}

fn is_tls(server: &ConnectionInfo) -> bool {
    matches!(server.addr(), redis::ConnectionAddr::TcpTls { .. })
}

fn sentinel(
    service: &str,
    servers: &[ConnectionInfo],
    password: Option<&str>,
    certificates: Option<TlsCertificates>,
) -> RedisResult<SentinelClient> {
    let addresses = servers.iter().map(|server| server.addr().clone());
    let tcp = || TcpSettings::default().set_nodelay(true);
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
        .set_client_to_redis_tcp_settings(tcp())
        .set_client_to_sentinel_tcp_settings(tcp());
    let Some(first) = servers.first() else {
        return builder.build();
    };
    let redis = first.redis_settings();
    builder = builder.set_client_to_redis_db(redis.db());
    if let Some(user) = redis.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = redis.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if is_tls(first) {
        builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
    }
    builder.build()
}

fn cluster(
    servers: Vec<ConnectionInfo>,
    limit: Duration,
    certificates: Option<TlsCertificates>,
) -> RedisResult<Route> {
    let is_tls = servers.iter().any(is_tls);
    let nodes: RedisResult<_> = servers
        .iter()
        .map(|server| client(server.clone(), certificates.as_ref()))
        .collect();
    let mut builder = ClusterClientBuilder::new(servers)
        .connection_timeout(limit)
        .response_timeout(limit)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
        .retries(3);
    if let Some(certificates) = certificates.filter(|_| is_tls) {
        builder = builder.certs(certificates);
    }
    Ok(Route::Cluster {
        client: Box::new(builder.build()?),
        nodes: nodes?,
    })
}

// Connection settings hold passwords.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
