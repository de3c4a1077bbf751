//! What any proxy must pay at least: a `send` to each client's socket.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::event::SIZE;
use crate::process::{Core, Process, command};

/// The argument by which this executable becomes the sender.
pub(crate) const ARGUMENT: &str = "__floor";

const SOCKETS: usize = 1_000;

/// As in the fan-out: everybody is sent one event, this often.
const TICK: Duration = Duration::from_millis(20);

const WARM_UP: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(4);

/// Processor time of one send in nanoseconds, by a process on `core`.
pub(crate) fn measure(core: Core) -> io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut program = command(std::env::current_exe()?, core);
    program
        .arg(ARGUMENT)
        .arg(listener.local_addr()?.to_string())
        .stdin(Stdio::null());
    let sender = Process::start("floor", program)?;
    let mut reader = Reader::accept(&listener)?;
    reader.run(WARM_UP)?;
    let (before, bytes) = (sender.cpu(), reader.bytes);
    reader.run(TIME)?;
    let cpu = sender.cpu().since(before);
    let sends = (reader.bytes - bytes) / SIZE;
    if sends < SOCKETS {
        return Err(io::Error::other("the floor's sender sends nothing"));
    }
    Ok(cpu as f64 / sends as f64)
}

/// Sends to `SOCKETS` sockets in turn, until it is ended.
pub(crate) fn send(to: &str) -> io::Result<()> {
    let sockets: io::Result<Vec<_>> = (0..SOCKETS).map(|_| TcpStream::connect(to)).collect();
    let sockets = sockets?;
    for socket in &sockets {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
    }
    let event = [b'x'; SIZE];
    let began = Instant::now();
    for tick in 1.. {
        thread::sleep((TICK * tick).saturating_sub(began.elapsed()));
        for mut socket in &sockets {
            if socket.write(&event)? < SIZE {
                return Err(io::Error::other("the reader is too slow"));
            }
        }
    }
    Ok(())
}

/// Reads whatever comes.
#[derive(Debug)]
struct Reader {
    poll: Poll,
    events: Events,
    sockets: Vec<mio::net::TcpStream>,
    bytes: usize,
}

impl Reader {
    fn accept(listener: &TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::with_capacity(SOCKETS);
        for index in 0..SOCKETS {
            let (socket, _) = listener.accept()?;
            socket.set_nonblocking(true)?;
            let mut socket = mio::net::TcpStream::from_std(socket);
            poll.registry()
                .register(&mut socket, Token(index), Interest::READABLE)?;
            sockets.push(socket);
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            sockets,
            bytes: 0,
        })
    }

    fn run(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        let mut buffer = [0; 16 * 1024];
        while Instant::now() < end {
            // Never asleep, so that no send pays for waking it.
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            for event in &self.events {
                match self.sockets[event.token().0].read(&mut buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => self.bytes += read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
