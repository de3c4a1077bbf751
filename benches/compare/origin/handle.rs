//! The origin as the harness sees it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Stdio};

use super::ARGUMENT;
use super::command::Command;
use crate::event::Shape;
use crate::process::{Core, Process, command};

/// A running origin.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
}

/// What the origin answers to every order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// Connections open to it.
    pub(crate) open: u64,
    /// Number of its last event.
    pub(crate) last: u64,
    /// Connections it cut because they took too little.
    pub(crate) overflowed: u64,
}

impl Origin {
    pub(crate) fn start(core: Core) -> io::Result<Self> {
        let mut program = command(std::env::current_exe()?, core);
        program
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start("origin", program)?;
        let orders = process.input()?;
        let mut replies = BufReader::new(process.output()?);
        let mut line = String::new();
        replies.read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self {
            process,
            address,
            orders,
            replies,
        })
    }

    pub(crate) fn shape(&mut self, shape: Shape) -> io::Result<State> {
        self.order(Command::Shape(shape))
    }

    pub(crate) fn rate(&mut self, events_per_second: u64) -> io::Result<State> {
        self.order(Command::Rate(events_per_second))
    }

    pub(crate) fn burst(&mut self, events: u64) -> io::Result<State> {
        self.order(Command::Burst(events))
    }

    pub(crate) fn publish_to(&mut self, hub: SocketAddr) -> io::Result<State> {
        self.order(Command::Publish(hub))
    }

    pub(crate) fn state(&mut self) -> io::Result<State> {
        self.order(Command::State)
    }

    fn order(&mut self, command: Command) -> io::Result<State> {
        writeln!(self.orders, "{command}")?;
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[open, last, overflowed]) => Ok(State {
                open,
                last,
                overflowed,
            }),
            _ => Err(io::Error::other(format!("the origin answered {line:?}"))),
        }
    }
}
