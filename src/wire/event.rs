use bytes::Bytes;

/// What the `id` fields of a block, taken together, say.
///
/// Only the last valid one counts. An id that contains NUL is not valid and is
/// passed over as if it were absent (WHATWG HTML §9.2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IdField {
    /// There is no valid `id` line: the reader's last id stays what it was.
    #[default]
    Absent,
    /// The last valid one was empty: the reader's last id becomes none.
    Reset,
    /// The last valid one, never empty, free of CR, LF and NUL, but otherwise
    /// any bytes.
    ///
    /// It shares memory with [`Block::lines`]; copy it to keep it for long.
    Set(Bytes),
}

/// One complete block as it came, without the blank line that ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The field lines in their order, each ended by LF.
    ///
    /// Comments are taken out; all else is kept, `id`, `retry` and unknown
    /// fields included. Never empty, and without a blank line. May share the
    /// memory of the chunk it came in.
    pub lines: Bytes,
    /// Whether there is at least one `data` field, be it an empty one.
    pub has_data: bool,
    /// Whether there is at least one `event` field, be it an empty one.
    pub has_event: bool,
    /// The last valid id.
    pub id: IdField,
    /// The last valid reconnection time, in milliseconds.
    ///
    /// Valid is a value of one or more ASCII digits. One past `u64::MAX`
    /// becomes `u64::MAX`.
    pub retry: Option<u64>,
}

impl Block {
    /// Whether there is anything in it for a reader: `data` or `event`.
    ///
    /// A block with `event` alone is never dispatched by a browser, but others
    /// give it meaning (GraphQL over SSE ends an operation with one).
    pub fn has_payload(&self) -> bool {
        self.has_data || self.has_event
    }

    /// The values of all fields of this name, in their order.
    pub fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.lines.split_inclusive(|byte| *byte == b'\n');
        lines.filter_map(move |line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            value_start(line, name).map(|start| &line[start..])
        })
    }
}

/// What a stream consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A block and the blank line that ended it.
    Block(Block),
    /// A comment line: what followed its `:`, verbatim and without line end.
    ///
    /// A comment inside a block comes before that block.
    Comment(Bytes),
}

/// Where in `line` (without its end) the value begins, if the field has this
/// `name`.
///
/// The name ends at the first colon or with the line; one space after the
/// colon is not part of the value. Names are case-sensitive.
pub(super) fn value_start(line: &[u8], name: &[u8]) -> Option<usize> {
    match line.strip_prefix(name)? {
        [] => Some(name.len()),
        [b':', b' ', ..] => Some(name.len() + 2),
        [b':', ..] => Some(name.len() + 1),
        _ => None,
    }
}
