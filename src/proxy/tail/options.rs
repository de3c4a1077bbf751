//! What `sse-proxy tail` can be told.

use std::path::PathBuf;

use clap::Args;
use http::header::{ACCEPT_ENCODING, HOST};
use http::{HeaderName, HeaderValue, Uri};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const AFTER: &str = "\
Events go to standard output, everything else to standard error: connections,
reconnects, and gaps, which with --json are objects on standard output as well.

A stream that ends or is cut is asked for again, from the last event on, until
the server answers 204 or refuses. A POST is sent again only where its answer
can be resumed (an answer with `Sse-Resume`); it is never executed twice.

Exit codes:
  0  204, the answer to a POST is whole, or --count is reached
  1  refused, or lost and not asked for again
  2  wrong arguments
  3  as 0, but the server told of a gap: events are missing";

/// Reads an event stream as a good client would, and prints it.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct Options {
    /// `http://` or `https://`, with path and query.
    pub url: Uri,
    /// Goes on after the event with this id, as if it had been the last one.
    #[arg(long, value_name = "ID", value_parser = id)]
    pub since: Option<String>,
    /// A request header; may be given several times. Whoever may list this
    /// machine's processes sees it.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Sends a POST with this body, JSON unless a header says otherwise;
    /// `@FILE` reads it from a file.
    #[arg(short, long, value_name = "BODY")]
    pub data: Option<String>,
    /// One JSON object per event and line, in place of text for people.
    #[arg(long)]
    pub json: bool,
    /// Also tells of comments, heartbeats among them: is the connection alive?
    #[arg(long)]
    pub comments: bool,
    /// Ends after this many events.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Ends when the first connection does.
    #[arg(long)]
    pub no_reconnect: bool,
    /// PEM file of the authorities to trust, in place of the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Takes any certificate. Whoever is in between can then read everything
    /// that is sent, credentials included.
    #[arg(long)]
    pub insecure: bool,
}

fn id(text: &str) -> Result<String, String> {
    match HeaderValue::from_str(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("not an event's id; copy one as tail prints it".into()),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write name and value with a colon between, such as 'Accept-Language: en'")?;
    let name: HeaderName = name
        .trim()
        .parse()
        .map_err(|_| "what is before the colon is not a header name")?;
    // The value is not repeated: it is often a credential.
    let mut value = HeaderValue::from_str(value.trim())
        .map_err(|_| "what is after the colon cannot be sent in a header")?;
    if name == LAST_EVENT_ID {
        return Err("use --since ID, which is replaced as events come".into());
    }
    if name == ACCEPT_ENCODING || name == HOST {
        return Err(format!("{name} is set by tail itself"));
    }
    value.set_sensitive(true);
    Ok((name, value))
}
