//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;

/// The first mistake found in a configuration.
///
/// Displayed in one line as `file:line:column: key: what is wrong; what to do`.
/// Values that came from the environment are shown as they are written in the
/// file (`${NAME}`), never as what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    source: String,
    position: Option<Position>,
    key: String,
    message: String,
}

/// A place in the text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl ConfigError {
    /// A mistake that belongs to no place: an unreadable file, an argument.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self {
            source: String::new(),
            position: None,
            key: String::new(),
            message: message.into(),
        }
    }

    /// A mistake at a place; `key` may be empty for mistakes of syntax.
    pub(super) fn at(position: Position, key: &str, message: impl Into<String>) -> Self {
        Self {
            source: String::new(),
            position: Some(position),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    /// Names the file or argument once it is known; readers of single values
    /// need not carry it.
    pub(super) fn in_source(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }

    /// Path of the key that is wrong, such as `routes[0].sse.heartbeat`; empty
    /// where the mistake is one of YAML syntax or of the file as a whole.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong and what to do, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `file:line:column:` is what editors and terminals make clickable.
        f.write_str(&self.source)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Why a file cannot be read: the default text adds a code nobody needs.
pub(super) fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::IsADirectory => "it is a folder".into(),
        _ => error.to_string(),
    }
}
