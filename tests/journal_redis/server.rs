//! Real servers, each in a directory of its own, gone when dropped.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::{PATIENCE, eventually};

/// A `redis-server` (or a Sentinel, which is one too).
pub(crate) struct Server {
    child: Option<Child>,
    port: u16,
    options: Vec<String>,
    directory: Directory,
}

/// A directory that is removed when dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-sse-redis-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that is free now. Another process may take it before it is used; the
/// server then fails to start, and says so.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    /// One that forgets everything when it ends.
    pub(crate) async fn start() -> Self {
        Self::with(&["--appendonly", "no"]).await
    }

    pub(crate) async fn with(options: &[&str]) -> Self {
        Self::at(free_port(), options, Directory::new()).await
    }

    /// A Sentinel with these lines in its configuration.
    pub(crate) async fn sentinel(lines: &[String]) -> Self {
        let directory = Directory::new();
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut server = Self {
            child: None,
            port: free_port(),
            options: vec!["--sentinel".to_owned()],
            directory,
        };
        server.options.insert(0, file.display().to_string());
        server.run().await;
        server
    }

    pub(crate) async fn at(port: u16, options: &[&str], directory: Directory) -> Self {
        let mut server = Self {
            child: None,
            port,
            options: options.iter().map(ToString::to_string).collect(),
            directory,
        };
        server.run().await;
        server
    }

    /// Starts it (again), on the same port and with what it has on disk.
    pub(crate) async fn run(&mut self) {
        self.spawn();
        self.ready().await;
    }

    fn spawn(&mut self) {
        // A Sentinel's configuration comes first.
        let (file, options) = match &self.options[..] {
            [file, options @ ..] if !file.starts_with('-') => (Some(file), options),
            options => (None, options),
        };
        let child = Command::new("redis-server")
            .args(file)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--dir"])
            .arg(self.directory.path())
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is not installed; tests/run --install does that");
        self.child = Some(child);
    }

    async fn ready(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        eventually("redis-server answers", || async {
            match client.get_multiplexed_async_connection().await {
                Ok(mut to) => redis::cmd("PING").exec_async(&mut to).await.is_ok(),
                // Who asks for a password answers.
                Err(error) => error.kind() == redis::ErrorKind::AuthenticationFailed,
            }
        })
        .await;
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection past all relays, as an operator has it.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connecting = client.get_multiplexed_async_connection_with_config(&patient);
        connecting.await.unwrap()
    }

    /// As when it crashes.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
