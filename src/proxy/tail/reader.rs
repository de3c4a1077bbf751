//! From bytes to events, over any number of connections.

use std::time::Duration;

use bytes::Bytes;

use crate::stream::gap;
use crate::wire::{Block, Decoder, EventTooLarge, Frame, IdField};

/// Past it, whatever this is, it is not events.
const LARGEST_EVENT: usize = 64 << 20;

/// What an `EventSource` would hand to a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    /// `message` where the server names none.
    pub(super) kind: String,
    pub(super) data: String,
}

/// What a stream consists of, to a reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Event(Event),
    /// The server says that events are missing here.
    Gap {
        reason: String,
        lost: Option<u64>,
    },
    /// Anything else that is no event: a heartbeat has no text.
    Comment(String),
}

#[derive(Debug)]
pub(super) struct Reader {
    decoder: Decoder,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Reader {
    pub(super) fn new(since: Option<String>) -> Self {
        Self {
            decoder: Decoder::new(LARGEST_EVENT),
            last_id: since,
            retry: None,
        }
    }

    /// Where to go on: the id of the last whole event.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants to be left alone after it was lost.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// A new connection: what was begun on the old one is not continued.
    pub(super) fn reconnected(&mut self) {
        self.decoder = Decoder::new(LARGEST_EVENT);
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.decoder.push(bytes);
    }

    /// The next item that came whole.
    pub(super) fn next(&mut self) -> Result<Option<Item>, EventTooLarge> {
        while let Some(frame) = self.decoder.next_frame()? {
            let item = match frame {
                Frame::Block(block) => self.block(&block).map(Item::Event),
                Frame::Comment(comment) => Some(told(&comment)),
            };
            if item.is_some() {
                return Ok(item);
            }
        }
        Ok(None)
    }

    fn block(&mut self, block: &Block) -> Option<Event> {
        if let Some(millis) = block.retry {
            self.retry = Some(Duration::from_millis(millis));
        }
        match &block.id {
            IdField::Absent => {}
            IdField::Reset => self.last_id = None,
            IdField::Set(id) => self.last_id = Some(text(id)),
        }
        // Blocks with a type alone are not dispatched by a browser, but others
        // give them meaning.
        block.has_payload().then(|| Event {
            id: self.last_id.clone(),
            kind: kind(block),
            data: data(block),
        })
    }
}

fn kind(block: &Block) -> String {
    match block.fields(b"event").last() {
        Some(kind) if !kind.is_empty() => text(kind),
        _ => "message".into(),
    }
}

fn data(block: &Block) -> String {
    let lines: Vec<String> = block.fields(b"data").map(text).collect();
    lines.join("\n")
}

fn told(comment: &[u8]) -> Item {
    let words = text(comment);
    let Some(gap) = gap::announced_gap(comment) else {
        return Item::Comment(words.trim().to_owned());
    };
    let reason = words
        .split(' ')
        .find_map(|word| word.strip_prefix("reason="));
    Item::Gap {
        reason: reason.unwrap_or("unknown").to_owned(),
        lost: gap.lost,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut Reader, bytes: &str) -> Vec<Item> {
        reader.push(Bytes::copy_from_slice(bytes.as_bytes()));
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    fn event(id: Option<&str>, kind: &str, data: &str) -> Item {
        Item::Event(Event {
            id: id.map(str::to_owned),
            kind: kind.into(),
            data: data.into(),
        })
    }

    #[test]
    fn events_as_a_browser_reads_them() {
        let mut reader = Reader::new(None);
        let items = read(
            &mut reader,
            "retry: 1500\n\n: ping\n\ndata: a\ndata: b\n\nevent: tick\nid: 7\ndata\n\ndata: c\n\n",
        );
        assert_eq!(
            items,
            [
                Item::Comment("ping".into()),
                event(None, "message", "a\nb"),
                event(Some("7"), "tick", ""),
                event(Some("7"), "message", "c"),
            ]
        );
        assert_eq!(reader.retry(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn an_id_counts_when_its_event_is_whole() {
        let mut reader = Reader::new(Some("1".into()));
        assert_eq!(read(&mut reader, "id: 2\ndata: half"), []);
        assert_eq!(reader.last_id(), Some("1"));
        reader.reconnected();
        let whole = read(&mut reader, "id: 2\ndata: whole\n\n");
        assert_eq!(whole, [event(Some("2"), "message", "whole")]);
        assert_eq!(reader.last_id(), Some("2"));
        assert_eq!(read(&mut reader, "id\n\n"), []);
        assert_eq!(reader.last_id(), None);
    }

    #[test]
    fn a_proxy_tells_of_gaps() {
        let mut reader = Reader::new(None);
        let comment = format!(":{}\n", gap::gap_comment("trimmed", Some(3)));
        let gap = Item::Gap {
            reason: "trimmed".into(),
            lost: Some(3),
        };
        assert_eq!(read(&mut reader, &comment), [gap]);
    }
}
