//! What a browser makes of an event stream.
//!
//! Written from WHATWG HTML §9.2.5 and §9.2.6, one line at a time and without
//! looking at the crate's own decoder.

use std::collections::VecDeque;

/// One dispatched event, with `lastEventId` as the page sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: String,
    pub(crate) id: String,
}

/// A parser that also notes what a browser would not show.
#[derive(Debug, Default)]
pub(crate) struct Browser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    data: Option<String>,
    kind: String,
    /// Field lines since the last blank line.
    fields: usize,
    id_buffer: String,
    /// What would be sent as `Last-Event-ID`.
    pub(crate) last_id: String,
    pub(crate) events: VecDeque<Event>,
    pub(crate) comments: Vec<String>,
    pub(crate) retries: Vec<u64>,
    /// Blank lines after which there was nothing to dispatch: strict clients
    /// take each for an event with empty data.
    pub(crate) empties: usize,
}

impl Browser {
    /// Takes in the next bytes, however they are cut.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let lf_of_crlf = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                _ if lf_of_crlf => {}
                b'\r' | b'\n' => {
                    self.after_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    self.end_line(&line);
                }
                byte => self.line.push(byte),
            }
        }
    }

    /// The events dispatched and not yet taken.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    fn end_line(&mut self, line: &[u8]) {
        let bom = !std::mem::replace(&mut self.begun, true);
        let line = line
            .strip_prefix(b"\xEF\xBB\xBF")
            .filter(|_| bom)
            .unwrap_or(line);
        let line = String::from_utf8_lossy(line);
        if line.is_empty() {
            return self.dispatch();
        }
        if let Some(comment) = line.strip_prefix(':') {
            return self.comments.push(comment.to_owned());
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        self.field(name, value.strip_prefix(' ').unwrap_or(value));
    }

    fn field(&mut self, name: &str, value: &str) {
        self.fields += 1;
        match name {
            "data" => {
                let data = self.data.get_or_insert_default();
                data.push_str(value);
                data.push('\n');
            }
            "event" => value.clone_into(&mut self.kind),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id_buffer),
            "retry" => self.retries.extend(value.parse::<u64>().ok()),
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        self.last_id.clone_from(&self.id_buffer);
        let kind = std::mem::take(&mut self.kind);
        let fields = std::mem::take(&mut self.fields);
        let Some(mut data) = self.data.take() else {
            // A type alone has a meaning to some clients; nothing at all has none.
            self.empties += usize::from(kind.is_empty() || fields == 0);
            return;
        };
        data.pop();
        self.events.push_back(Event {
            kind: if kind.is_empty() {
                "message".to_owned()
            } else {
                kind
            },
            data,
            id: self.last_id.clone(),
        });
    }
}
