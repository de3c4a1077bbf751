//! Events on standard output, for people or for programs.

use std::fmt::Write as _;
use std::io::{IsTerminal, Result, Write, stderr, stdout};

use serde_json::{Value, json};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::reader::Event;

/// What is put around words to set them apart.
struct Marks {
    dim: &'static str,
    bold: &'static str,
    warning: &'static str,
    end: &'static str,
}

const COLOURED: Marks = Marks {
    dim: "\x1b[2m",
    bold: "\x1b[1m",
    warning: "\x1b[33m",
    end: "\x1b[0m",
};

const PLAIN: Marks = Marks {
    dim: "",
    bold: "",
    warning: "",
    end: "",
};

pub(super) struct Output {
    to: Box<dyn Write>,
    json: bool,
    /// Of `to`, which is standard output.
    marks: Marks,
    /// Of standard error.
    marks_beside: Marks,
    gaps: bool,
}

impl Output {
    pub(super) fn new(to: Box<dyn Write>, json: bool) -> Self {
        Self {
            to,
            json,
            marks: marks(stdout().is_terminal()),
            marks_beside: marks(stderr().is_terminal()),
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
        let Marks { dim, bold, end, .. } = self.marks;
        write!(self.to, "{dim}{time}{id}{end} {bold}{kind}{end}")?;
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
        self.beside(self.marks_beside.dim, text);
    }

    fn warn(&self, text: &str) {
        self.beside(self.marks_beside.warning, text);
    }

    fn beside(&self, mark: &str, text: &str) {
        // Nobody may be reading; that is no reason to stop.
        let end = self.marks_beside.end;
        let _ = writeln!(stderr(), "{mark}{} -- {text}{end}", clock());
    }

    fn object(&mut self, object: &Value) -> Result<()> {
        writeln!(self.to, "{object}")
    }
}

/// `NO_COLOR` counts if it is not empty (<https://no-color.org>).
fn marks(terminal: bool) -> Marks {
    let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let wanted = says("NO_COLOR").is_none() && says("TERM").is_none_or(|term| term != "dumb");
    if terminal && wanted { COLOURED } else { PLAIN }
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
