//! One connection to the origin.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::feed::{Feed, PER_CHUNK};
use crate::event::{Shape, Writer, now};

/// More than this unsent, and whoever reads is taken for too slow.
const BACKLOG: usize = 8 * 1024 * 1024;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// Writes of a flood in one go, before others have their turn.
const FLOOD_TURNS: usize = 64;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    request: Vec<u8>,
    kind: Kind,
    unsent: Vec<u8>,
    sent: usize,
}

#[derive(Debug)]
enum Kind {
    /// The request's head is not whole yet.
    Asking,
    /// Gets what everybody gets.
    Live,
    /// Gets the history from here on, then what everybody gets.
    Replay(usize),
    /// Gets events of its own, as fast as it takes them.
    Flood { writer: Writer, last: u64 },
}

/// What is to become of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing until its socket says so.
    Wait,
    /// It has more to write and the socket would take it.
    Again,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            request: Vec::new(),
            kind: Kind::Asking,
            unsent: Vec::new(),
            sent: 0,
        }
    }

    pub(crate) fn live(&self) -> bool {
        matches!(self.kind, Kind::Live)
    }

    /// Reads and writes what it can. An error is its end.
    pub(crate) fn turn(&mut self, feed: &Feed) -> io::Result<Next> {
        self.receive(feed)?;
        self.flush()?;
        match &mut self.kind {
            Kind::Replay(at) => {
                while self.unsent.is_empty() && *at < feed.history.len() {
                    match self.socket.write(&feed.history[*at..]) {
                        Ok(written) => *at += written,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                }
                if *at == feed.history.len() {
                    self.kind = Kind::Live;
                }
                Ok(Next::Wait)
            }
            Kind::Flood { .. } => self.flood(),
            Kind::Asking | Kind::Live => Ok(Next::Wait),
        }
    }

    /// Reads its request; what comes after the head is nobody's business.
    fn receive(&mut self, feed: &Feed) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) if matches!(self.kind, Kind::Asking) => {
                    self.request.extend_from_slice(&bytes[..read]);
                    if memchr::memmem::find(&self.request, b"\r\n\r\n").is_some() {
                        self.answer(feed);
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&mut self, feed: &Feed) {
        let request = std::mem::take(&mut self.request);
        let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let path = request.split(' ').nth(1).unwrap_or_default();
        self.unsent.extend_from_slice(HEAD);
        self.kind = if path.ends_with("/flood") {
            Kind::Flood {
                writer: Writer::new(Shape::Plain),
                last: 0,
            }
        } else if request.contains("\r\nlast-event-id:") {
            Kind::Replay(feed.after_first())
        } else {
            Kind::Live
        };
    }

    /// Sends what everybody gets.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        if self.unsent.is_empty() {
            written = match self.socket.write(bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
        }
        if written == bytes.len() {
            return Ok(());
        }
        if self.unsent.len() - self.sent > BACKLOG {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.unsent.len() {
            match self.socket.write(&self.unsent[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.unsent.clear();
        self.sent = 0;
        Ok(())
    }

    fn flood(&mut self) -> io::Result<Next> {
        let Kind::Flood { writer, last } = &mut self.kind else {
            return Ok(Next::Wait);
        };
        for _ in 0..FLOOD_TURNS {
            if self.unsent.is_empty() {
                writer.chunk(*last + 1, PER_CHUNK, now(), &mut self.unsent);
                *last += PER_CHUNK as u64;
            }
            match self.socket.write(&self.unsent[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) => return Err(error),
            }
            if self.sent == self.unsent.len() {
                self.unsent.clear();
                self.sent = 0;
            }
        }
        Ok(Next::Again)
    }
}
