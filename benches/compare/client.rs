//! One client.

use std::io::{self, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;
use rustls::ClientConnection;

use crate::check::Check;
use crate::event::now;
use crate::load::Target;
use crate::response::Response;

/// Full buffers read from one client before others have their turn.
const TURNS: usize = 8;

#[derive(Debug)]
pub(crate) struct Client {
    /// None once it is over.
    socket: Option<TcpStream>,
    /// The request, until it is sent.
    request: Vec<u8>,
    tls: Option<Box<ClientConnection>>,
    stream: Stream,
    opened_at: Option<Instant>,
}

/// What is to become of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing until its socket says so.
    Wait,
    /// There may be more to read.
    Again,
}

/// The response and the events in it.
#[derive(Debug)]
struct Stream {
    response: Response,
    check: Check,
}

impl Client {
    pub(crate) fn new(socket: TcpStream, target: &Target) -> io::Result<Self> {
        let mut check = Check::new(target.shape);
        if let Some((_, number)) = target.resume {
            check.begin_with(number);
        }
        if target.keep_id {
            check.keep_id();
        }
        let tls = target.tls.as_ref().map(|config| {
            let name = rustls::pki_types::ServerName::from(target.address.ip());
            ClientConnection::new(config.clone(), name).map(Box::new)
        });
        Ok(Self {
            socket: Some(socket),
            request: request(target),
            tls: tls.transpose().map_err(io::Error::other)?,
            stream: Stream {
                response: Response::new(),
                check,
            },
            opened_at: None,
        })
    }

    pub(crate) fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    pub(crate) fn last(&self) -> u64 {
        self.stream.check.last()
    }

    pub(crate) fn id(&self) -> Option<&[u8]> {
        self.stream.check.id()
    }

    pub(crate) fn closed(&self) -> bool {
        self.socket.is_none()
    }

    pub(crate) fn close(&mut self) {
        self.socket = None;
    }

    /// Reads and writes what it can. `event` is told each event's latency.
    pub(crate) fn turn(
        &mut self,
        buffer: &mut [u8],
        mut event: impl FnMut(u64),
    ) -> io::Result<Step> {
        let Some(socket) = &mut self.socket else {
            return Ok(Step::Wait);
        };
        if !self.request.is_empty() && !ask(socket, &mut self.request, self.tls.as_deref_mut())? {
            return Ok(Step::Wait);
        }
        for _ in 0..TURNS {
            let read = match socket.read(buffer) {
                Ok(0) => return Err(cut("the connection ended")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Wait),
                Err(error) => return Err(error),
            };
            match &mut self.tls {
                None => self.stream.feed(&buffer[..read], &mut event)?,
                Some(tls) => {
                    decrypt(tls, &buffer[..read], |plain| {
                        self.stream.feed(plain, &mut event)
                    })?;
                    if tls.wants_write() {
                        tls.write_tls(socket)?;
                    }
                }
            }
            if self.opened_at.is_none() && self.stream.response.begun() {
                self.opened_at = Some(Instant::now());
            }
            // The socket is empty, and an edge will say when it is not.
            if read < buffer.len() {
                return Ok(Step::Wait);
            }
        }
        Ok(Step::Again)
    }
}

impl Stream {
    fn feed(&mut self, bytes: &[u8], event: &mut impl FnMut(u64)) -> io::Result<()> {
        // All that one read brought has arrived by now.
        let arrived = now();
        let check = &mut self.check;
        self.response.feed(bytes, |body| {
            check.feed(body, |produced| event(arrived.saturating_sub(produced)))
        })?;
        if self.response.over() {
            return Err(cut("the response ended"));
        }
        Ok(())
    }
}

fn cut(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, how)
}

/// Sends the request if the connection stands: whether it is sent.
fn ask(
    socket: &mut TcpStream,
    request: &mut Vec<u8>,
    tls: Option<&mut ClientConnection>,
) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    if socket.peer_addr().is_err() {
        return Ok(false);
    }
    if let Some(tls) = tls {
        // Kept by it until the handshake is done.
        tls.writer().write_all(request)?;
        tls.write_tls(socket)?;
    } else {
        // An empty socket takes a request whole.
        socket.write_all(request)?;
    }
    *request = Vec::new();
    Ok(true)
}

fn decrypt(
    tls: &mut ClientConnection,
    mut bytes: &[u8],
    mut plain: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut piece = [0; 16 * 1024];
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let read = tls.reader().read(&mut piece)?;
            plain(&piece[..read])?;
            left -= read;
        }
    }
    Ok(())
}

/// What a browser sends, so that heads are as long as they are in life.
fn request(target: &Target) -> Vec<u8> {
    let host = target.address;
    let path = &target.path;
    let body =
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}";
    let (method, body) = if target.post {
        ("POST", body)
    } else {
        ("GET", "")
    };
    let length = body.len();
    let typed = if target.post {
        format!("content-type: application/json\r\ncontent-length: {length}\r\n")
    } else {
        String::new()
    };
    let seen = target.resume.as_ref();
    let seen = seen.map_or_else(String::new, |(id, _)| format!("last-event-id: {id}\r\n"));
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\
         user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/156.0.0.0 Safari/537.36\r\naccept-language: en\r\ncache-control: no-cache\r\n\
         sec-fetch-mode: cors\r\nreferer: http://{host}/\r\n{typed}{seen}\r\n{body}"
    )
    .into_bytes()
}
