//! Real processes: what is killed, stopped, and started again in its place.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::ports;
use crate::scratch::Scratch;

/// Far beyond what any step takes on a busy machine: reached only when what is
/// awaited will never come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let so = timeout(PATIENCE, wait).await.is_ok();
    assert!(so, "waited in vain: {what}");
}

/// A program that listens on one port, and does so again after a restart.
/// Killed when dropped; if the test fails, prints what it has said.
pub(crate) struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) async fn start(
        name: &str,
        program: impl Into<PathBuf>,
        arguments: Vec<String>,
        port: u16,
    ) -> Self {
        let mut process = Self {
            name: name.to_owned(),
            program: program.into(),
            arguments,
            port,
            child: None,
            said: Arc::default(),
        };
        process.restart().await;
        process
    }

    /// Starts it in its old place, and waits until it listens.
    pub(crate) async fn restart(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        self.note("--- started");
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        self.listen_to(child.stdout.take().unwrap());
        self.listen_to(child.stderr.take().unwrap());
        let listening = async {
            loop {
                if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                    return;
                }
                let ended = child.try_wait().unwrap();
                assert_eq!(ended, None, "{} ended instead of listening", self.name);
                sleep(Duration::from_millis(5)).await;
            }
        };
        let listens = timeout(PATIENCE, listening).await.is_ok();
        assert!(listens, "{} does not listen on {}", self.name, self.port);
        self.child = Some(child);
    }

    /// SIGKILL: nothing is said to anybody. Returns when its sockets are gone.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().await.unwrap();
        self.note("--- killed");
    }

    /// SIGTERM, and waits until it is done.
    pub(crate) async fn terminate(&mut self) {
        self.signal("TERM").await;
        let mut child = self.child.take().expect("it runs");
        let ended = timeout(PATIENCE, child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{} goes on after SIGTERM", self.name));
        self.note("--- terminated");
        assert!(status.unwrap().success(), "{} failed to end", self.name);
    }

    /// SIGSTOP: it keeps its sockets, and does nothing.
    pub(crate) async fn pause(&self) {
        self.signal("STOP").await;
        self.note("--- paused");
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub(crate) async fn resume(&self) {
        self.note("--- resumed");
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let id = self.child.as_ref().and_then(Child::id).expect("it runs");
        let mut kill = Command::new("kill");
        kill.args([format!("-{name}"), id.to_string()]);
        let done = kill.status().await.unwrap().success();
        assert!(done, "SIG{name} to {}", self.name);
    }

    fn note(&self, text: &str) {
        self.said.lock().unwrap().push(text.to_owned());
    }

    fn listen_to(&self, pipe: impl AsyncRead + Send + Unpin + 'static) {
        let said = Arc::clone(&self.said);
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                said.lock().unwrap().push(line);
            }
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let said = self.said.lock().unwrap();
        eprintln!("--- {} said, at last:", self.name);
        for line in &said[said.len().saturating_sub(80)..] {
            eprintln!("    {line}");
        }
    }
}

/// `sse-proxy` as an operator would run it.
pub(crate) struct Proxy {
    pub(crate) process: Process,
    address: String,
    _scratch: Scratch,
}

/// What its `proxy.yaml` says.
pub(crate) struct Setup<'a> {
    pub(crate) upstream: &'a str,
    /// The inside of the block, as in `kind: memory`.
    pub(crate) journal: &'a str,
    /// Paths, and what is said of their streams.
    pub(crate) routes: &'a [(&'a str, &'a str)],
}

impl Proxy {
    pub(crate) async fn start(name: &str, setup: &Setup<'_>) -> Self {
        let (port, scratch) = (ports::free(), Scratch::new());
        let address = format!("127.0.0.1:{port}");
        let file = scratch.file("proxy.yaml", &setup.yaml(&address));
        let arguments = vec!["--config".to_owned(), file.display().to_string()];
        let program = env!("CARGO_BIN_EXE_sse-proxy");
        Self {
            process: Process::start(name, program, arguments, port).await,
            address,
            _scratch: scratch,
        }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Setup<'_> {
    fn yaml(&self, address: &str) -> String {
        let routes = self.routes.iter().map(|(path, sse)| {
            format!(
                "  - {{ path: {path}, upstream: \"{}\", sse: {{ {sse} }} }}\n",
                self.upstream
            )
        });
        // What was lost is sought again at once, and what nobody reads let go
        // soon, so that tests do not wait.
        format!(
            "listeners: [{{ address: \"{address}\" }}]
journal: {{ {} }}
drain: {{ deadline: 5s, spread: 200ms }}
defaults: {{ heartbeat: 500ms, linger: 5s, reconnect: {{ initial: 20ms, max: 200ms }} }}
routes:
{}",
            self.journal,
            routes.collect::<String>()
        )
    }
}
