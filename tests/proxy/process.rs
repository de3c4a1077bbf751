//! The binary as a process of its own: its file, its log, signals to it.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Answer, fetch, get};

/// Processes start slowly where many tests run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that a process does in its own time.
pub(crate) async fn patiently<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A folder that is gone with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-sse-process-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running `sse-proxy`; killed if the test fails before it ends.
pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Runs it with this file, which has one listener and an admin address.
    pub(crate) fn start(config: &Path) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_sse-proxy")), config)
    }

    /// The same with a socket that is bound already, as systemd would pass it.
    pub(crate) fn inherit(config: &Path, socket: &TcpListener) -> Self {
        let passed: OwnedFd = socket.try_clone().unwrap().into();
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_sse-proxy")]);
        shell.stdin(Stdio::from(passed));
        Self::run(shell, config)
    }

    /// The same with more in its environment.
    #[cfg(feature = "otel")]
    pub(crate) fn with<const N: usize>(config: &Path, env: [(&str, String); N]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
        command.envs(env);
        Self::run(command, config)
    }

    /// The same where systemd would listen.
    pub(crate) fn notifying(config: &Path, notify: &Path, watchdog: Duration) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
        command.env("NOTIFY_SOCKET", notify);
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Self::run(command, config)
    }

    fn run(mut command: Command, config: &Path) -> Self {
        command.arg("--config").arg(config).env_remove("RUST_LOG");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap();
                lines.push_str(&line);
                lines.push('\n');
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut address = |word: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let address = line.trim_end().strip_prefix(word);
            address.and_then(|address| address.parse().ok())
        };
        let (addr, admin) = (address("listening http://"), address("admin http://"));
        std::thread::spawn(move || std::io::copy(&mut stdout.take(u64::MAX), &mut std::io::sink()));
        let (Some(addr), Some(admin)) = (addr, admin) else {
            let _ = child.wait();
            panic!("it did not start: {}", log.lock().unwrap());
        };
        Self {
            child,
            addr,
            admin,
            log,
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has this.
    pub(crate) async fn says(&self, what: &str) {
        patiently(what, || async { self.log().contains(what) }).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        fetch(self.addr, get(path)).await
    }

    pub(crate) async fn metrics(&self) -> String {
        let metrics = fetch(self.admin, get("/metrics")).await;
        metrics.text().to_owned()
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> ExitStatus {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(tokio::time::Instant::now() < until, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
