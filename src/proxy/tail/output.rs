//! Events on standard output, for people or for programs.

use std::fmt::Write as _;
use std::io::{IsTerminal, Result, Write, stderr, stdout};

use serde_json::{Value, json};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::reader::Event;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

pub(super) struct Output {
    to: Box<dyn Write>,
    json: bool,
    /// Of `to`, and of standard error.
    colours: bool,
    colours_beside: bool,
    gaps: bool,
}

impl Output {
    pub(super) fn new(to: Box<dyn Write>, json: bool) -> Self {
        let wanted = colours_wanted();
        Self {
            to,
            json,
            colours: wanted && stdout().is_terminal(),
            colours_beside: wanted && stderr().is_terminal(),
            gaps: false,
        }
    }

    /// Whether anything was missing.
    pub(super) fn told_of_gap(&self) -> bool {
        self.gaps
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<()> {
        if self.json {
            return self.object(&json!({
                "time": now(),
                "id": event.id,
                "event": event.kind,
                "data": event.data,
            }));
        }
        let id = event.id.as_deref().map(|id| format!(" {}", printable(id)));
        let (time, id, kind) = (clock(), id.unwrap_or_default(), printable(&event.kind));
        let [dim, bold, plain] = match self.colours {
            true => [DIM, BOLD, PLAIN],
            false => [""; 3],
        };
        write!(self.to, "{dim}{time}{id}{plain} {bold}{kind}{plain}")?;
        // Several lines stand below one another.
        let lines: Vec<&str> = event.data.split('\n').collect();
        match lines.as_slice() {
            [line] => writeln!(self.to, " {}", printable(line)),
            lines => {
                writeln!(self.to)?;
                lines
                    .iter()
                    .try_for_each(|line| writeln!(self.to, "  {}", printable(line)))
            }
        }
    }

    /// Events are missing here.
    pub(super) fn gap(&mut self, reason: &str, lost: Option<u64>) -> Result<()> {
        self.gaps = true;
        let lost_events = lost.map_or_else(
            || "events may be lost".to_owned(),
            |lost| format!("{lost} events lost"),
        );
        self.warn(&format!("gap: {lost_events} ({})", printable(reason)));
        if self.json {
            self.object(&json!({
                "time": now(),
                "gap": { "reason": reason, "lost": lost },
            }))?;
        }
        Ok(())
    }

    /// A connection stands; `resumed` is what its `Sse-Resume` says.
    pub(super) fn opened(&mut self, resumed: Option<&str>, since: Option<&str>) -> Result<()> {
        let place = since.map_or_else(String::new, |id| format!(" after {}", printable(id)));
        match resumed {
            Some("gap") => {
                self.note(&format!("connected{place}"));
                self.gap("told in the answer's head", None)?;
            }
            Some(word) => self.note(&format!("connected{place}: {}", printable(word))),
            None => self.note(&format!("connected{place}")),
        }
        self.flush()
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.to.flush()
    }

    pub(super) fn comment(&self, text: &str) {
        match text {
            "" => self.note("heartbeat"),
            text => self.note(&format!("comment: {}", printable(text))),
        }
    }

    /// Says something that is no event.
    pub(super) fn note(&self, text: &str) {
        self.beside(DIM, text);
    }

    fn warn(&self, text: &str) {
        self.beside(YELLOW, text);
    }

    fn beside(&self, colour: &str, text: &str) {
        let (colour, plain) = match self.colours_beside {
            true => (colour, PLAIN),
            false => ("", ""),
        };
        // Nobody may be reading; that is no reason to stop.
        let _ = writeln!(stderr(), "{colour}{} -- {text}{plain}", clock());
    }

    fn object(&mut self, object: &Value) -> Result<()> {
        writeln!(self.to, "{object}")
    }
}

/// `NO_COLOR` counts if it is not empty (<https://no-color.org>).
fn colours_wanted() -> bool {
    let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    says("NO_COLOR").is_none() && says("TERM").is_none_or(|term| term != "dumb")
}

/// What can be shown: bytes that would steer a terminal are written out.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            c if c.is_control() => {
                let _ = write!(shown, "{}", c.escape_default());
            }
            c => shown.push(c),
        }
    }
    shown
}

/// The time as RFC 3339 has it, in UTC.
fn now() -> String {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// The time of day, in UTC, to the millisecond.
fn clock() -> String {
    let now = now();
    now.get(11..23).unwrap_or(&now).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            printable("a\tb\x1b[2J\u{9b}é\r"),
            "a\tb\\u{1b}[2J\\u{9b}é\\r"
        );
    }

    #[test]
    fn times_are_to_the_millisecond() {
        let (now, clock) = (now(), clock());
        assert!(now.contains('T') && now.ends_with('Z'), "{now}");
        let colons = clock.bytes().filter(|byte| *byte == b':').count();
        assert_eq!((clock.len(), colons), (12, 2), "{clock}");
    }
}
