//! The origin's process: one thread, one epoll loop.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::command::Command;
use super::connection::{Connection, Next};
use super::feed::Feed;
use super::publisher::Publisher;
use crate::socket;

const LISTENER: Token = Token(usize::MAX - 1);
const COMMANDS: Token = Token(usize::MAX - 2);
const PUBLISHER: Token = Token(usize::MAX - 3);

/// Serves until standard input ends.
pub(crate) fn serve() -> io::Result<()> {
    let mut server = Server::bind()?;
    loop {
        server.turn()?;
    }
}

#[derive(Debug)]
struct Server {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    commands: Receiver<String>,
    connections: Slab<Connection>,
    /// Who has more to write without being asked by its socket.
    again: Vec<usize>,
    feed: Feed,
    publisher: Option<Publisher>,
    batch: Vec<u8>,
    overflowed: usize,
}

impl Server {
    fn bind() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::from_std(socket::listen()?);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), COMMANDS)?);
        println!("{}", listener.local_addr()?);
        Ok(Self {
            commands: read_commands(waker),
            poll,
            events: Events::with_capacity(1024),
            listener,
            connections: Slab::new(),
            again: Vec::new(),
            feed: Feed::new(),
            publisher: None,
            batch: Vec::new(),
            overflowed: 0,
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let wait = self
            .feed
            .next()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let wait = if self.again.is_empty() {
            wait
        } else {
            Some(Duration::ZERO)
        };
        self.poll.poll(&mut self.events, wait)?;
        let ready: Vec<Token> = self.events.iter().map(mio::event::Event::token).collect();
        for token in ready {
            match token {
                LISTENER => self.accept()?,
                COMMANDS => self.obey()?,
                PUBLISHER => self.publish()?,
                Token(key) => self.serve(key),
            }
        }
        for key in std::mem::take(&mut self.again) {
            self.serve(key);
        }
        match self.feed.due() {
            0 => Ok(()),
            due => self.emit(due),
        }
    }

    /// A hub that has gone is missed by its clients soon enough.
    fn publish(&mut self) -> io::Result<()> {
        use io::ErrorKind::{ConnectionReset, UnexpectedEof};
        match self.publisher.as_mut().map_or(Ok(()), Publisher::turn) {
            Err(error) if matches!(error.kind(), ConnectionReset | UnexpectedEof) => {
                self.publisher = None;
                Ok(())
            }
            turn => turn,
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut socket, Token(entry.key()), both)?;
            entry.insert(Connection::new(socket));
        }
    }

    fn serve(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.turn(&self.feed) {
            Ok(Next::Wait) => {}
            Ok(Next::Again) => self.again.push(key),
            Err(error) => self.close(key, &error),
        }
    }

    fn close(&mut self, key: usize, error: &io::Error) {
        if error.kind() == io::ErrorKind::OutOfMemory {
            self.overflowed += 1;
        }
        self.connections.remove(key);
    }

    /// Gives everybody the next `count` events.
    fn emit(&mut self, count: usize) -> io::Result<()> {
        if let Some(publisher) = &mut self.publisher {
            for _ in 0..count {
                self.batch.clear();
                self.feed.event(&mut self.batch);
                publisher.publish(&self.batch);
            }
            return self.publish();
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        self.feed.chunk(count, &mut batch);
        self.broadcast(&batch);
        self.batch = batch;
        Ok(())
    }

    fn broadcast(&mut self, bytes: &[u8]) {
        let mut closed = Vec::new();
        for (key, connection) in &mut self.connections {
            if connection.live()
                && let Err(error) = connection.send(bytes)
            {
                closed.push((key, error));
            }
        }
        for (key, error) in closed {
            self.close(key, &error);
        }
    }

    fn obey(&mut self) -> io::Result<()> {
        while let Ok(line) = self.commands.try_recv() {
            match line.parse().map_err(io::Error::other)? {
                Command::Shape(shape) => self.feed.shape(shape),
                Command::Rate(rate) => self.feed.rate(rate),
                Command::Burst(events) => self.burst(events)?,
                Command::Publish(hub) => {
                    let mut publisher = Publisher::connect(hub)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    self.poll
                        .registry()
                        .register(&mut publisher.socket, PUBLISHER, both)?;
                    self.publisher = Some(publisher);
                }
                Command::State => {}
            }
            let open = self.connections.len() + usize::from(self.publisher.is_some());
            println!("{open} {} {}", self.feed.last(), self.overflowed);
            io::stdout().flush()?;
        }
        Ok(())
    }

    fn burst(&mut self, events: u64) -> io::Result<()> {
        if self.publisher.is_some() {
            return self.emit(usize::try_from(events).unwrap_or(0));
        }
        let before = self.feed.history.len();
        self.feed.burst(events);
        let burst = self.feed.history[before..].to_vec();
        self.broadcast(&burst);
        Ok(())
    }
}

fn read_commands(waker: Arc<Waker>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() || waker.wake().is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    receiver
}
