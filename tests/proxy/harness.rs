//! A proxy on a free port, and a client for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_sse::proxy::config::model::{
    Access, Config, Drain, JournalSettings, Limits, Listener, Networks, Operations, Route, Tls,
    Upstream,
};
use tower_sse::proxy::{Control, Server};
use tower_sse::resume::settings::Settings;

/// Long enough never to be reached by a test that works.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A running proxy, which ends with the test's runtime.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) control: Control,
    /// Of all listeners, the first included.
    pub(crate) addrs: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// One route `/` to one upstream `app` of these servers, on free ports.
pub(crate) fn config<S: AsRef<str>>(servers: &[S]) -> Config {
    Config {
        listeners: vec![listener(None)],
        trusted_proxies: Networks::default(),
        admin: Some("127.0.0.1:0".parse().unwrap()),
        journal: JournalSettings::Memory,
        drain: Drain {
            deadline: LONG,
            spread: Duration::ZERO,
            retry: None,
        },
        limits: Limits {
            buffered_bytes: 1 << 20,
            connections: 1000,
            header_timeout: LONG,
            write_timeout: LONG,
            ..Limits::default()
        },
        upstreams: BTreeMap::from([("app".to_owned(), upstream(servers))]),
        routes: vec![route("/", "app")],
        operations: Operations::default(),
    }
}

pub(crate) fn listener(tls: Option<Tls>) -> Listener {
    Listener {
        address: "127.0.0.1:0".parse().unwrap(),
        tls,
        reuse_port: false,
        redirect_to_https: None,
        proxy_protocol: None,
    }
}

pub(crate) fn upstream<S: AsRef<str>>(servers: &[S]) -> Upstream {
    let servers = servers.iter().map(|s| s.as_ref().parse().unwrap());
    Upstream {
        connect_timeout: LONG,
        response_timeout: Some(LONG),
        ..Upstream::new(servers.collect())
    }
}

pub(crate) fn route(path: &str, upstream: &str) -> Route {
    Route {
        host: None,
        path: path.to_owned(),
        methods: None,
        upstream: upstream.to_owned(),
        rate_limit: Vec::new(),
        upgrade: vec!["websocket".to_owned()],
        access: Access::default(),
        sse: Settings::default(),
        compress: None,
    }
}

/// An address that refuses connections, and goes on to: its port stays taken,
/// or another test would listen there sooner or later.
pub(crate) fn refused() -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let taken = socket.local_addr().unwrap().as_socket().unwrap();
    // Bound and not listening, for as long as the tests run.
    std::mem::forget(socket);
    format!("http://{taken}")
}

impl Proxy {
    pub(crate) async fn start(config: Config) -> Self {
        let mut server = Server::bind(config).await.unwrap();
        // Every test here holds for both ways to a client, and for connections
        // with threads of their own and without: see tests/run.
        if std::env::var_os("SSE_PROXY_WITHOUT_HANDOVER").is_some() {
            server = server.without_handover();
        } else {
            server = server.workers(2).unwrap();
        }
        let (stop, stopped) = oneshot::channel();
        let (addr, admin) = (server.listeners()[0], server.admin().unwrap());
        let control = server.control();
        let addrs = server.listeners().to_vec();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self {
            addr,
            admin,
            control,
            addrs,
            stop: Some(stop),
            task,
        }
    }

    /// The proxy of [`config`].
    pub(crate) async fn to<S: AsRef<str>>(servers: &[S]) -> Self {
        Self::start(config(servers)).await
    }

    /// Begins the shutdown.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits for the shutdown's end.
    pub(crate) async fn stopped(self) {
        tokio::time::timeout(LONG, self.task)
            .await
            .unwrap()
            .unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        fetch(self.addr, get(path)).await
    }

    pub(crate) async fn ask_admin(&self, path: &str) -> Answer {
        fetch(self.admin, get(path)).await
    }
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    request("GET", path, "")
}

pub(crate) fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "app.example")
        .body(Full::new(body.into()))
        .unwrap()
}

/// One request on a connection of its own, and the whole answer.
pub(crate) async fn fetch<B>(addr: SocketAddr, request: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let response = open(addr, request).await;
    tokio::time::timeout(LONG, answer(response)).await.unwrap()
}

/// One request on a connection of its own, and the head of the answer.
pub(crate) async fn open<B>(
    addr: SocketAddr,
    request: Request<B>,
) -> http::Response<hyper::body::Incoming>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let response = tokio::time::timeout(LONG, sender.send_request(request.map(Box::pin)));
    response.await.unwrap().unwrap()
}

pub(crate) async fn answer(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    Answer {
        status: parts.status,
        headers: parts.headers,
        trailers,
        body: body.to_bytes(),
    }
}

/// Waits for something that happens in its own time.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let until = tokio::time::Instant::now() + LONG;
    while !condition().await {
        assert!(tokio::time::Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
