//! The origin of a hub: instead of answering its readers, it publishes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

/// Requests that may be unanswered at a time.
const IN_FLIGHT: usize = 256;

/// One kept-alive connection, on which each event is a POST of its own.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) socket: TcpStream,
    waiting: VecDeque<Vec<u8>>,
    unsent: Vec<u8>,
    answers: Vec<u8>,
    in_flight: usize,
}

impl Publisher {
    pub(crate) fn connect(hub: SocketAddr) -> io::Result<Self> {
        // Blocking: there is nothing else to do before it stands.
        let socket = std::net::TcpStream::connect(hub)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpStream::from_std(socket),
            waiting: VecDeque::new(),
            unsent: Vec::new(),
            answers: Vec::new(),
            in_flight: 0,
        })
    }

    /// Publishes `event`. A hub adds id, `data:` and the blank line itself.
    pub(crate) fn publish(&mut self, event: &[u8]) {
        let start = memchr::memmem::find(event, b"data: ").map_or(0, |at| at + "data: ".len());
        let data = &event[start..];
        let data = data.strip_suffix(b"\n\n").unwrap_or(data);
        let mut request = format!(
            "POST /publish HTTP/1.1\r\nhost: hub\r\ncontent-type: text/plain\r\n\
             content-length: {}\r\n\r\n",
            data.len()
        )
        .into_bytes();
        request.extend_from_slice(data);
        self.waiting.push_back(request);
    }

    pub(crate) fn turn(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.answers.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.count()?;
        self.send()
    }

    /// Takes whole answers off; their bodies are as long as they say.
    fn count(&mut self) -> io::Result<()> {
        let mut at = 0;
        while let Some(end) = memchr::memmem::find(&self.answers[at..], b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.answers[at..at + end]).to_ascii_lowercase();
            if !head.starts_with("http/1.1 20") {
                return Err(io::Error::other(format!("the hub answered {head:?}")));
            }
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|l| l.trim().parse().ok()).unwrap_or(0);
            if self.answers.len() < at + end + 4 + length {
                break;
            }
            at += end + 4 + length;
            self.in_flight -= 1;
        }
        self.answers.drain(..at);
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        while self.in_flight < IN_FLIGHT {
            let Some(request) = self.waiting.pop_front() else {
                break;
            };
            self.unsent.extend_from_slice(&request);
            self.in_flight += 1;
        }
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
