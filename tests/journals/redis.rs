//! A Redis of the test's own.

use crate::ports;
use crate::process::Process;
use crate::scratch::Scratch;

/// `redis-server`, which keeps what it has across restarts.
pub(crate) struct Redis {
    pub(crate) process: Process,
    address: String,
    scratch: Scratch,
}

impl Redis {
    /// With a log that it reads when it starts again: what it has answered is
    /// in the kernel's hands, and survives any signal. (With `everysec`, it
    /// answers before it has written while the second before is being synced.)
    pub(crate) async fn start() -> Self {
        let (port, scratch) = (ports::free(), Scratch::new());
        let directory = scratch.path().display().to_string();
        let port_text = port.to_string();
        let arguments = [
            ["--port", &port_text],
            ["--bind", "127.0.0.1"],
            ["--dir", &directory],
            ["--save", ""],
            ["--appendonly", "yes"],
            ["--appendfsync", "no"],
        ];
        let arguments = arguments.concat().into_iter().map(str::to_owned).collect();
        Self {
            process: Process::start("redis-server", "redis-server", arguments, port).await,
            address: format!("127.0.0.1:{port}"),
            scratch,
        }
    }

    /// Loses all it has, and is back.
    pub(crate) async fn forget(&mut self) {
        self.process.kill().await;
        std::fs::remove_dir_all(self.scratch.path().join("appendonlydir")).unwrap();
        self.process.restart().await;
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    /// The answer to a command, which may be that it is still loading.
    async fn ask(redis: &Redis, command: &str) -> String {
        loop {
            let mut socket = TcpStream::connect(redis.address()).await.unwrap();
            socket.write_all(command.as_bytes()).await.unwrap();
            let mut answer = vec![0; 64];
            let count = socket.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
            if !answer.starts_with("-LOADING") {
                return answer;
            }
        }
    }

    #[tokio::test]
    async fn it_keeps_what_it_has_and_can_be_paused() {
        let mut redis = Redis::start().await;
        assert_eq!(ask(&redis, "SET a 1\r\n").await, "+OK\r\n");
        redis.process.kill().await;
        redis.process.restart().await;
        assert_eq!(ask(&redis, "GET a\r\n").await, "$1\r\n1\r\n");
        redis.process.terminate().await;
        redis.process.restart().await;
        redis.process.pause().await;
        let asked = ask(&redis, "GET a\r\n");
        let mut asked = std::pin::pin!(asked);
        let brief = Duration::from_millis(50);
        assert!(timeout(brief, &mut asked).await.is_err(), "it is paused");
        redis.process.resume().await;
        assert_eq!(asked.await, "$1\r\n1\r\n");
    }
}
