//! WHATWG HTML §9.2.5 and §9.2.6 on a whole buffer, written for being read.

use bytes::Bytes;
use tower_sse::wire::{Block, EventTooLarge, Frame, IdField};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// All that a decoder says about an input.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) frames: Vec<Frame>,
    pub(crate) error: Option<EventTooLarge>,
    pub(crate) between_blocks: bool,
}

/// What a browser dispatches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) last_id: Vec<u8>,
}

/// The complete lines, without their ends, and the incomplete rest.
pub(crate) fn split_lines(input: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut at = 0;
    while at < input.len() {
        match input[at] {
            b'\r' => {
                lines.push(std::mem::take(&mut line));
                if input.get(at + 1) == Some(&b'\n') {
                    at += 1;
                }
            }
            b'\n' => lines.push(std::mem::take(&mut line)),
            byte => line.push(byte),
        }
        at += 1;
    }
    (lines, line)
}

/// Name and value of a field line.
pub(crate) fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&byte| byte == b':') {
        None => (line, b""),
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}

pub(crate) fn strip_bom(input: &[u8]) -> &[u8] {
    input.strip_prefix(BOM).unwrap_or(input)
}

pub(crate) fn decode(input: &[u8], limit: usize) -> Decoded {
    let mut out = Decoded::default();
    if !input.is_empty() && input.len() < BOM.len() && BOM.starts_with(input) {
        return out; // may become a BOM: as yet neither text nor nothing
    }

    let (lines, rest) = split_lines(strip_bom(input));
    let mut block: Vec<Vec<u8>> = Vec::new();
    for line in &lines {
        if too_large(&block, line, limit) {
            out.error = Some(EventTooLarge { limit });
            return out;
        }
        if line.is_empty() {
            if !block.is_empty() {
                out.frames.push(Frame::Block(make_block(&block)));
                block.clear();
            }
        } else if line[0] == b':' {
            out.frames
                .push(Frame::Comment(Bytes::copy_from_slice(&line[1..])));
        } else {
            block.push(line.clone());
        }
    }
    if too_large(&block, &rest, limit) {
        out.error = Some(EventTooLarge { limit });
        return out;
    }
    out.between_blocks = block.is_empty() && (rest.is_empty() || rest[0] == b':');
    out
}

fn too_large(block: &[Vec<u8>], line: &[u8], limit: usize) -> bool {
    match line.first() {
        None => false,
        Some(b':') => line.len() - 1 > limit,
        Some(_) => block.iter().map(|line| line.len() + 1).sum::<usize>() + line.len() + 1 > limit,
    }
}

fn make_block(lines: &[Vec<u8>]) -> Block {
    let mut block = Block {
        lines: lines
            .iter()
            .flat_map(|line| [line, &b"\n"[..]])
            .flatten()
            .copied()
            .collect(),
        has_data: false,
        has_event: false,
        id: IdField::Absent,
        retry: None,
    };
    for line in lines {
        let (name, value) = split_field(line);
        match name {
            b"data" => block.has_data = true,
            b"event" => block.has_event = true,
            b"id" if value.contains(&0) => {}
            b"id" if value.is_empty() => block.id = IdField::Reset,
            b"id" => block.id = IdField::Set(Bytes::copy_from_slice(value)),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let digits = String::from_utf8_lossy(value);
                block.retry = Some(digits.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    block
}

/// The browser's side of it.
pub(crate) fn dispatch(input: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut event = Event::default();
    let mut has_data = false;
    for line in split_lines(strip_bom(input)).0 {
        if line.is_empty() {
            let next = Event {
                last_id: event.last_id.clone(),
                ..Event::default()
            };
            let mut done = std::mem::replace(&mut event, next);
            if std::mem::take(&mut has_data) {
                done.data.pop();
                if done.kind.is_empty() {
                    done.kind = b"message".to_vec();
                }
                events.push(done);
            }
            continue;
        }
        let (name, value) = split_field(&line);
        match name {
            b"data" => {
                has_data = true;
                event.data.extend_from_slice(value);
                event.data.push(b'\n');
            }
            b"event" => event.kind = value.to_vec(),
            b"id" if !value.contains(&0) => event.last_id = value.to_vec(),
            _ => {} // a comment has an empty name
        }
    }
    events
}

/// Blank lines: to some clients, each of them is an event.
pub(crate) fn blank_lines(input: &[u8]) -> usize {
    let (lines, _) = split_lines(strip_bom(input));
    lines.iter().filter(|line| line.is_empty()).count()
}
