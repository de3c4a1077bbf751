//! Reading values of a known kind out of the tree.

use std::time::Duration;

use super::error::ConfigError;
pub(super) use super::slip::nearest;
use super::slip::unknown_key;
use super::tree::{Entry, Node, Value};
use super::units;

type Result<T> = std::result::Result<T, ConfigError>;

/// A mapping all of whose keys are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    entries: &'a [Entry],
}

impl<'a> Section<'a> {
    /// Refuses unknown keys, and anything but a mapping. No value at all means
    /// a mapping without keys.
    pub(super) fn open(node: &'a Node, known: &[&str]) -> Result<Self> {
        let entries = node.entries()?;
        match entries.iter().find(|e| !known.contains(&e.name.as_str())) {
            Some(entry) => Err(entry.error(unknown_key(&entry.name, known, &node.key))),
            None => Ok(Self { entries }),
        }
    }

    /// The value of a key, `None` if it is not there. `~` is a value.
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|e| e.name == name)?;
        Some(&entry.node)
    }

    /// Reads a key if it is there.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a Node) -> Result<T>,
    ) -> Result<Option<T>> {
        self.get(name).map(read).transpose()
    }

    /// Reads a key if it is there and not `~`: where both mean the same.
    pub(super) fn read_or_off<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a Node) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.get(name) {
            Some(node) => node.optional(read),
            None => Ok(None),
        }
    }
}

impl Node {
    /// The entries of a mapping; none if there is no value.
    pub(super) fn entries(&self) -> Result<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            Value::Null => Ok(&[]),
            other => Err(self.error(format!(
                "is {}, but a mapping is needed; write `key: value` lines below it",
                other.kind()
            ))),
        }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Result<&[Node]> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Null => Ok(&[]),
            other => Err(self.error(format!(
                "is {}, but a list is needed; write [a, b], or `- ` before each entry",
                other.kind()
            ))),
        }
    }

    /// A single value, as text.
    pub(super) fn text(&self) -> Result<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Ok(text),
            Value::Null => Err(self.error("has no value; write one, or remove the key")),
            other => Err(self.error(format!("is {}, but one value is needed", other.kind()))),
        }
    }

    /// What an error may show of the value: what is written in the file, and
    /// never what the environment put in its place.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Scalar { written, .. } => format!("\"{}\"", written.escape_debug()),
            other => other.kind().to_owned(),
        }
    }

    /// `None` for `~`.
    pub(super) fn optional<'a, T>(
        &'a self,
        read: impl FnOnce(&'a Node) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.value {
            Value::Null => Ok(None),
            _ => read(self).map(Some),
        }
    }

    /// A duration; a bare number only if it is 0.
    pub(super) fn duration(&self) -> Result<Duration> {
        units::parse_duration(self.text()?).ok_or_else(|| {
            self.error(format!(
                "{} is not a duration; {}",
                self.shown(),
                units::DURATION_HINT
            ))
        })
    }

    /// A duration of at least `low`; `why` says what a shorter one would do.
    pub(super) fn duration_from(&self, low: Duration, why: &str) -> Result<Duration> {
        let duration = self.duration()?;
        if duration >= low {
            return Ok(duration);
        }
        Err(self.error(format!(
            "{} is too short: {why}; write {} or more",
            self.shown(),
            units::format_duration(low)
        )))
    }

    /// A number of bytes, at least `low`.
    pub(super) fn size_from(&self, low: usize) -> Result<usize> {
        let size = units::parse_size(self.text()?).ok_or_else(|| {
            self.error(format!(
                "{} is not a size; {}",
                self.shown(),
                units::SIZE_HINT
            ))
        })?;
        if size >= low {
            return Ok(size);
        }
        Err(self.error(format!(
            "{} is too small; write {} or more",
            self.shown(),
            units::format_size(low)
        )))
    }

    /// A count of at least one.
    pub(super) fn count(&self) -> Result<usize> {
        match self.text()?.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(self.error(format!(
                "{} is not a count; write a whole number, 1 or more",
                self.shown()
            ))),
        }
    }

    /// One of a fixed set of words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(self.error(self.not_one_of(&words)))
    }

    /// Says that the value is none of these words, and which is the nearest.
    pub(super) fn not_one_of(&self, words: &[&str]) -> String {
        format!(
            "{} is not valid{}; write one of: {}",
            self.shown(),
            self.meant(words),
            words.join(", ")
        )
    }

    /// Which of these words the value may have been meant to be; nothing if none
    /// is near.
    pub(super) fn meant(&self, words: &[&str]) -> String {
        let near = self.text().ok().and_then(|text| nearest(text, words));
        near.map_or_else(String::new, |word| format!(" (did you mean `{word}`?)"))
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Scalar { .. } => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}
