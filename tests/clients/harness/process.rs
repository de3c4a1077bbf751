//! A child process whose output is awaited line by line.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::PATIENCE;

/// Killed when dropped; if a test fails, prints all it has said.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: mpsc::UnboundedReceiver<Line>,
    /// Every line received so far, in order of arrival.
    seen: Vec<Line>,
}

enum Line {
    Out(String),
    Err(String),
}

impl Process {
    pub(crate) fn spawn(name: &str, mut command: Command) -> Self {
        // A proxy of the machine's own would sit between client and proxy.
        for variable in ["http_proxy", "https_proxy", "all_proxy"] {
            command
                .env_remove(variable)
                .env_remove(variable.to_uppercase());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        let (lines, output) = mpsc::unbounded_channel();
        forward(child.stdout.take().unwrap(), Line::Out, lines.clone());
        forward(child.stderr.take().unwrap(), Line::Err, lines);
        Self {
            name: name.to_owned(),
            child,
            output,
            seen: Vec::new(),
        }
    }

    /// The next line of stdout that `matches`; those before it are passed over.
    pub(crate) async fn line(&mut self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let more = self.receive(deadline, what).await;
            assert!(more, "{} ended before {what}", self.name);
            if let Some(Line::Out(text)) = self.seen.last()
                && matches(text)
            {
                return text.clone();
            }
        }
    }

    /// The next report of this kind; others before it are passed over, and can
    /// be had from [`Process::reports`].
    pub(crate) async fn report(&mut self, event: &str) -> Value {
        let line = self
            .line(&format!("report {event:?}"), |line| {
                parse(line).is_some_and(|report| report["event"] == event)
            })
            .await;
        parse(&line).unwrap()
    }

    /// Waits for the `message` report with this data.
    pub(crate) async fn message(&mut self, data: &str) {
        while self.report("message").await["data"] != data {}
    }

    /// Tells it something, as one line of JSON.
    pub(crate) async fn tell(&mut self, message: Value) {
        self.write_line(&message.to_string()).await;
    }

    /// Every report of this kind received so far.
    pub(crate) fn reports(&self, event: &str) -> Vec<Value> {
        self.stdout()
            .filter_map(parse)
            .filter(|report| report["event"] == event)
            .collect()
    }

    /// Every line of stdout received so far.
    pub(crate) fn stdout(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().filter_map(|line| match line {
            Line::Out(text) => Some(text.as_str()),
            Line::Err(_) => None,
        })
    }

    /// Waits until it ends by itself, whatever its exit status.
    pub(crate) async fn ended(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.receive(deadline, "its end").await {}
    }

    /// Writes a line to its input.
    pub(crate) async fn write_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(line.as_bytes()).await.unwrap();
        input.write_all(b"\n").await.unwrap();
    }

    /// Ends its input, upon which it is to tidy up and end.
    pub(crate) async fn close(mut self) {
        drop(self.child.stdin.take());
        self.ended().await;
    }

    /// SIGKILL, and waits until it is gone, its sockets with it.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Takes in one more line, unless there will be none.
    async fn receive(&mut self, deadline: Instant, what: &str) -> bool {
        let Ok(line) = timeout_at(deadline, self.output.recv()).await else {
            panic!("{}: waited in vain for {what}", self.name);
        };
        let more = line.is_some();
        self.seen.extend(line);
        more
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        while let Ok(line) = self.output.try_recv() {
            self.seen.push(line);
        }
        eprintln!("--- {} said:", self.name);
        for line in &self.seen {
            match line {
                Line::Out(text) => eprintln!("    {text}"),
                Line::Err(text) => eprintln!("  ! {text}"),
            }
        }
    }
}

fn parse(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

fn forward(
    pipe: impl AsyncRead + Send + Unpin + 'static,
    kind: fn(String) -> Line,
    lines: mpsc::UnboundedSender<Line>,
) {
    tokio::spawn(async move {
        let mut reader = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            if lines.send(kind(line)).is_err() {
                return;
            }
        }
    });
}
