//! The clients: one thread, one epoll loop, one buffer for all of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::client::{Client, Step};
use crate::event::{SIZE, Shape};
use crate::socket;

/// What is read at once.
const BUFFER: usize = 256 * 1024;

/// Connections under way at a time, unless all are to come at once. Pushpin
/// answers 502 to some of 100.
const IN_FLIGHT: usize = 32;

/// Patience with a peer that is to answer.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where clients go and what they ask.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) post: bool,
    pub(crate) shape: Shape,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// The id each client has seen, and the event that must come next.
    pub(crate) resume: Option<(String, u64)>,
    pub(crate) keep_id: bool,
}

/// What all clients together have got since it was last reset.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) latency: Histogram<u64>,
}

/// All clients of a scenario.
#[derive(Debug)]
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    target: Target,
    clients: Vec<Client>,
    /// Who has more to read than its turn allowed.
    again: Vec<usize>,
    open: usize,
    broken: usize,
    first_reason: Option<(io::ErrorKind, String)>,
    pub(crate) tally: Tally,
}

impl Load {
    pub(crate) fn new(target: Target) -> io::Result<Self> {
        // From a microsecond to a minute, to three digits.
        let latency = Histogram::new_with_bounds(1_000, 60_000_000_000, 3);
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; BUFFER],
            target,
            clients: Vec::new(),
            again: Vec::new(),
            open: 0,
            broken: 0,
            first_reason: None,
            tally: Tally {
                events: 0,
                latency: latency.map_err(io::Error::other)?,
            },
        })
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Connects until there are `count` clients, each with its 200.
    pub(crate) fn connect(&mut self, count: usize) -> io::Result<()> {
        self.connect_by(count, IN_FLIGHT)
    }

    /// The same, without waiting for one before the next.
    pub(crate) fn connect_at_once(&mut self, count: usize) -> io::Result<()> {
        self.connect_by(count, count)
    }

    fn connect_by(&mut self, count: usize, in_flight: usize) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.open < count {
            while self.clients.len() < count && self.clients.len() - self.open < in_flight {
                self.begin()?;
            }
            self.turn(Duration::from_millis(100))?;
            self.unbroken()?;
            if Instant::now() > deadline {
                let open = self.open;
                return Err(late(format!("{open} of {count} clients had an answer")));
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let index = self.clients.len();
        let mut socket = socket::connect(self.target.address, index)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut socket, Token(index), both)?;
        self.clients.push(Client::new(socket, &self.target)?);
        Ok(())
    }

    /// Reads for this long.
    pub(crate) fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        self.run_until(end, |_| false)
    }

    /// Reads until everybody has got event `last`.
    pub(crate) fn run_to(&mut self, last: u64) -> io::Result<()> {
        let behind = |load: &Self| load.clients.iter().filter(|c| c.last() < last).count();
        // Counting costs more than a turn, so it is not done each time.
        for _ in 0..PATIENCE.as_millis() / 10 {
            if behind(self) == 0 || self.broken > 0 {
                break;
            }
            self.run_for(Duration::from_millis(10))?;
        }
        self.unbroken()?;
        match behind(self) {
            0 => Ok(()),
            behind => Err(late(format!(
                "the last events never came to {behind} clients"
            ))),
        }
    }

    /// Reads until this many events have come in all.
    pub(crate) fn run_to_count(&mut self, events: u64) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        self.run_until(end, |load| load.tally.events >= events || load.broken > 0)?;
        self.unbroken()?;
        if self.tally.events < events {
            let came = self.tally.events;
            return Err(late(format!("{came} of {events} events came")));
        }
        Ok(())
    }

    fn run_until(&mut self, end: Instant, mut done: impl FnMut(&Self) -> bool) -> io::Result<()> {
        while !done(self) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.turn(left)?;
        }
        Ok(())
    }

    /// Serves whoever is ready; waits if nobody is.
    fn turn(&mut self, wait: Duration) -> io::Result<()> {
        let wait = if self.again.is_empty() {
            wait
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            self.serve(event.token().0);
        }
        self.events = events;
        for index in std::mem::take(&mut self.again) {
            self.serve(index);
        }
        Ok(())
    }

    fn serve(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.closed() {
            return;
        }
        let was_open = client.opened_at().is_some();
        let tally = &mut self.tally;
        let step = client.turn(&mut self.buffer, |latency| {
            tally.events += 1;
            tally.latency.saturating_record(latency);
        });
        if !was_open && client.opened_at().is_some() {
            self.open += 1;
        }
        match step {
            Ok(Step::Wait) => {}
            Ok(Step::Again) => self.again.push(index),
            Err(error) => {
                client.close();
                self.broken += 1;
                let reason = || (error.kind(), format!("client {index}: {error}"));
                self.first_reason.get_or_insert_with(reason);
            }
        }
    }

    /// An error if any client was cut or got what it should not.
    pub(crate) fn unbroken(&self) -> io::Result<()> {
        match &self.first_reason {
            None => Ok(()),
            Some((kind, reason)) => {
                let reason = format!("{} clients failed; {reason}", self.broken);
                Err(io::Error::new(*kind, reason))
            }
        }
    }

    /// When each client had its 200.
    pub(crate) fn opened(&self) -> impl Iterator<Item = Instant> {
        self.clients.iter().filter_map(Client::opened_at)
    }

    /// The id of the first client's first event.
    pub(crate) fn first_id(&self) -> io::Result<String> {
        let id = self.clients.first().and_then(Client::id);
        let id = id.ok_or_else(|| io::Error::other("the first event had no id"))?;
        Ok(String::from_utf8_lossy(id).into_owned())
    }
}

fn late(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl Tally {
    pub(crate) fn reset(&mut self) {
        self.events = 0;
        self.latency.reset();
    }

    /// What the events were when they left the origin.
    pub(crate) fn bytes(&self) -> u64 {
        self.events * SIZE as u64
    }
}
