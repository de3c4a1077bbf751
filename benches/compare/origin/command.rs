//! What the origin can be told, as one line of text each.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::event::Shape;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// Events look like this from now on.
    Shape(Shape),
    /// So many events a second, to everybody; 0 to stop.
    Rate(u64),
    /// So many events at once, kept for those who name an event they saw.
    Burst(u64),
    /// Events go to this hub, to be published.
    Publish(SocketAddr),
    /// Nothing but an answer.
    State,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(Shape::Plain) => write!(f, "shape plain"),
            Self::Shape(Shape::Numbered) => write!(f, "shape numbered"),
            Self::Shape(Shape::Json) => write!(f, "shape json"),
            Self::Rate(rate) => write!(f, "rate {rate}"),
            Self::Burst(events) => write!(f, "burst {events}"),
            Self::Publish(address) => write!(f, "publish {address}"),
            Self::State => write!(f, "state now"),
        }
    }
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unknown = || format!("not a command: {line:?}");
        let (verb, what) = line.split_once(' ').ok_or_else(unknown)?;
        let number = || what.parse().map_err(|_| unknown());
        Ok(match (verb, what) {
            ("shape", "plain") => Self::Shape(Shape::Plain),
            ("shape", "numbered") => Self::Shape(Shape::Numbered),
            ("shape", "json") => Self::Shape(Shape::Json),
            ("rate", _) => Self::Rate(number()?),
            ("burst", _) => Self::Burst(number()?),
            ("publish", _) => Self::Publish(what.parse().map_err(|_| unknown())?),
            ("state", _) => Self::State,
            _ => return Err(unknown()),
        })
    }
}
