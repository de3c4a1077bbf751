//! `sse-proxy tail URL`: an event stream in a terminal, read as a good client
//! would read it.
//!
//! [`Options`] say what to ask for, `client` asks, `reader` makes events of the
//! bytes and knows where to go on, `output` prints. This module is the loop
//! around them: connect, read, wait, connect again.

mod client;
mod options;
mod output;
mod reader;
mod tls;

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;

pub use self::options::Options;

use self::client::{Answer, Client};
use self::output::{Output, printable};
use self::reader::{Item, Reader};
use crate::proxy::health::causes;
use crate::stream::backoff::Backoff;
use crate::stream::policy::Reconnect;

/// How a stream was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing that was asked for is known to be missing.
    Whole,
    /// The server told of a gap: events are known or feared lost.
    Gaps,
}

/// Why a stream could not be read on.
#[derive(Debug)]
pub enum TailError {
    /// The options cannot be used: a file that is not there, a URL that is none.
    Options(String),
    /// The server refused, or was lost for good.
    Stream(String),
    /// What was read cannot be written.
    Output(io::Error),
}

/// Why one connection is not read any further.
enum Stop {
    /// As many events came as were wanted.
    Counted,
    /// In order. An `EventSource` would come back, as nothing says that this was
    /// all.
    Ended,
    Cut(String),
    Failed(TailError),
}

/// Reads until the stream ends, or what was wanted is there. Events go to
/// `output`, everything else to standard error.
pub async fn run(options: &Options, output: Box<dyn Write>) -> Result<Ended, TailError> {
    let client = Client::new(options)?;
    let mut output = Output::new(output, options.json);
    let ended = Tail {
        options,
        client,
        reader: Reader::new(options.since.clone()),
        backoff: Backoff::new(Reconnect::default()),
        left: options.count,
        resumes_requests: false,
    }
    .run(&mut output)
    .await;
    match ended {
        // Whoever read has enough: `sse-proxy tail URL | head`.
        Err(TailError::Output(why)) if why.kind() == io::ErrorKind::BrokenPipe => Ok(Ended::Whole),
        Err(why) => Err(why),
        Ok(()) if output.told_of_gap() => Ok(Ended::Gaps),
        Ok(()) => Ok(Ended::Whole),
    }
}

struct Tail<'a> {
    options: &'a Options,
    client: Client,
    reader: Reader,
    backoff: Backoff,
    /// Events still wanted; `None` is all.
    left: Option<u64>,
    /// The server resumes answers to POST, and never executes one that has an
    /// event's id.
    resumes_requests: bool,
}

impl Tail<'_> {
    async fn run(mut self, output: &mut Output) -> Result<(), TailError> {
        loop {
            let (why, floor) = match self.client.open(self.reader.last_id()).await {
                Ok(Answer::Stream { body, resumed }) => {
                    self.backoff.reset();
                    self.reader.reconnected();
                    self.resumes_requests |= resumed.is_some();
                    output.opened(resumed.as_deref(), self.reader.last_id())?;
                    match self.read(body, output).await {
                        Stop::Counted => return Ok(()),
                        // The answer to one request is whole then.
                        Stop::Ended if self.client.posts() => return Ok(()),
                        Stop::Ended if self.options.no_reconnect => return Ok(()),
                        Stop::Ended => ("the server ended the stream".to_owned(), None),
                        Stop::Cut(why) => (why, None),
                        Stop::Failed(why) => return Err(why),
                    }
                }
                Ok(Answer::Finished) => {
                    output.note("204: the stream is over");
                    return Ok(());
                }
                Ok(Answer::Refused(why)) => return Err(TailError::Stream(why)),
                Ok(Answer::Later { why, after }) => (why, after),
                Err(why) => (why, None),
            };
            self.may_ask_again(&why)?;
            self.wait(&why, floor, output).await;
        }
    }

    async fn read(&mut self, mut body: Incoming, output: &mut Output) -> Stop {
        loop {
            match body.frame().await {
                None => return Stop::Ended,
                Some(Err(error)) => {
                    return Stop::Cut(format!("the connection was cut: {}", causes(&error)));
                }
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.reader.push(bytes);
                    }
                }
            }
            if let Some(stop) = self.print(output) {
                return stop;
            }
        }
    }

    /// Prints what has come whole.
    fn print(&mut self, output: &mut Output) -> Option<Stop> {
        loop {
            let printed = match self.reader.next() {
                Ok(Some(Item::Event(event))) => {
                    let printed = output.event(&event);
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(1);
                    }
                    printed
                }
                Ok(Some(Item::Gap { reason, lost })) => output.gap(&reason, lost),
                Ok(Some(Item::Comment(text))) => {
                    if self.options.comments {
                        output.comment(&text);
                    }
                    continue;
                }
                Ok(None) => break,
                Err(why) => return Some(Stop::Failed(TailError::Stream(why.to_string()))),
            };
            if let Err(why) = printed {
                return Some(Stop::Failed(TailError::Output(why)));
            }
            if self.left == Some(0) {
                break;
            }
        }
        match output.flush() {
            Err(why) => Some(Stop::Failed(TailError::Output(why))),
            Ok(()) => (self.left == Some(0)).then_some(Stop::Counted),
        }
    }

    /// Whether the request may be sent once more.
    fn may_ask_again(&self, why: &str) -> Result<(), TailError> {
        let lost = |more: &str| Err(TailError::Stream(format!("{why}{more}")));
        if self.options.no_reconnect {
            return lost("");
        }
        // It would be executed twice, unless the server is known to resume.
        let resumable = self.resumes_requests && self.reader.last_id().is_some();
        if self.client.posts() && !resumable {
            return lost("; a POST is not sent again unless its answer can be resumed");
        }
        Ok(())
    }

    async fn wait(&mut self, why: &str, floor: Option<Duration>, output: &Output) {
        let asked = self.reader.retry();
        if let Some(asked) = asked {
            self.backoff.ask(asked);
        }
        let floor = floor.into_iter().chain(asked).max();
        let delay = self.backoff.next(fastrand::f64(), floor);
        output.note(&format!(
            "{}; again in {:.1} s",
            printable(why),
            delay.as_secs_f64()
        ));
        tokio::time::sleep(delay).await;
    }
}

impl From<io::Error> for TailError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl fmt::Display for TailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(why) => f.write_str(why),
            // The server's words may be in it.
            Self::Stream(why) => f.write_str(&printable(why)),
            Self::Output(why) => write!(f, "cannot write what was read: {why}"),
        }
    }
}

impl std::error::Error for TailError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Output(why) => Some(why),
            Self::Options(_) | Self::Stream(_) => None,
        }
    }
}
