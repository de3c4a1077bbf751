//! The document as a tree in which every value knows its place and its key.
//!
//! Reading YAML straight into structs would be shorter, but such errors know a
//! line and not the key (`routes[0].sse.heartbeat`), cannot suggest the nearest
//! key, and would repeat what came from the environment. So the YAML reader
//! decides what the document says, duplicates and aliases included, and the
//! modules beside this one decide what it means.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

pub(super) use super::environment::is_reference;
use super::environment::{Environment, expand};
use super::error::{ConfigError, Position};

/// One value of the document.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it stands.
    pub(super) position: Position,
    /// Path of its key from the top, such as `routes[0].path`; empty at the top.
    pub(super) key: String,
    pub(super) value: Value,
}

/// What a value is. Scalars stay text: what they mean depends on the key.
#[derive(Debug)]
pub(super) enum Value {
    /// `~`, `null`, nothing at all, or an expansion that came out empty.
    Null,
    Scalar {
        /// After expansion.
        text: String,
        /// As written in the file: what errors show.
        written: String,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a mapping.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where the key stands.
    pub(super) position: Position,
    pub(super) name: String,
    pub(super) node: Node,
}

impl Node {
    /// Reads one YAML document.
    pub(super) fn parse(text: &str, env: Environment<'_>) -> Result<Self, ConfigError> {
        let raw = read(text, DuplicateKeyPolicy::Error).map_err(|e| describe(text, &e))?;
        Reader { text, env }.node(raw, String::new())
    }

    /// A single value as the file has it, variables not replaced; empty if it
    /// is none.
    pub(super) fn written(&self) -> &str {
        match &self.value {
            Value::Scalar { written, .. } => written,
            _ => "",
        }
    }

    /// What is written, if that is one `${NAME}` and nothing else, which says
    /// nothing about the value.
    pub(super) fn reference(&self) -> Option<String> {
        let written = self.written();
        is_reference(written).then(|| written.to_owned())
    }

    /// An error about this value.
    pub(super) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.position, &self.key, message)
    }
}

impl Entry {
    /// An error about the key rather than its value.
    pub(super) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.position, &self.node.key, message)
    }
}

/// Turns what the YAML reader produced into nodes.
struct Reader<'a> {
    text: &'a str,
    env: Environment<'a>,
}

impl Reader<'_> {
    fn node(&self, raw: Spanned<Raw>, key: String) -> Result<Node, ConfigError> {
        let position = position(raw.referenced);
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Text(written) => self.scalar(written, position, &key)?,
            // `yes`, `0x1F` and `1_000` are taken as they are written.
            Raw::Typed(read) => {
                let written = source_of(self.text, raw.defined).unwrap_or(read);
                self.scalar(written, position, &key)?
            }
            Raw::List(items) => Value::List(self.items(items, &key)?),
            Raw::Map(entries) => Value::Map(self.entries(entries, &key)?),
        };
        Ok(Node {
            position,
            key,
            value,
        })
    }

    fn scalar(&self, written: String, at: Position, key: &str) -> Result<Value, ConfigError> {
        let text = expand(&written, self.env)
            .map_err(|why| ConfigError::at(at, key, why))?
            .into_owned();
        // `${NAME:-}` is how a file leaves a key out where NAME is not set.
        if text.is_empty() && !written.is_empty() {
            return Ok(Value::Null);
        }
        Ok(Value::Scalar { text, written })
    }

    fn items(&self, items: Vec<Spanned<Raw>>, key: &str) -> Result<Vec<Node>, ConfigError> {
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| self.node(item, format!("{key}[{index}]")))
            .collect()
    }

    fn entries(
        &self,
        entries: Vec<(Spanned<String>, Spanned<Raw>)>,
        key: &str,
    ) -> Result<Vec<Entry>, ConfigError> {
        entries
            .into_iter()
            .map(|(name, raw)| {
                let path = join(key, &name.value);
                Ok(Entry {
                    position: position(name.referenced),
                    name: name.value,
                    node: self.node(raw, path)?,
                })
            })
            .collect()
    }
}

fn join(key: &str, name: &str) -> String {
    if key.is_empty() {
        name.to_owned()
    } else {
        format!("{key}.{name}")
    }
}

fn position(location: Location) -> Position {
    Position {
        line: location.line().max(1),
        column: location.column().max(1),
    }
}

/// The text at a location.
fn source_of(text: &str, location: Location) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    text.get(start..start + length)
        .map(|slice| slice.trim().to_owned())
}

// === what the YAML reader says ===

fn read(
    text: &str,
    duplicate_keys: DuplicateKeyPolicy,
) -> Result<Spanned<Raw>, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// Words a reader's error as one of ours.
fn describe(text: &str, error: &serde_saphyr::Error) -> ConfigError {
    let at = position(error.location().unwrap_or(Location::UNKNOWN));
    if let serde_saphyr::Error::DuplicateMappingKey {
        key: Some(name), ..
    } = error.without_snippet()
    {
        let key = duplicate_path(text, name, at).unwrap_or_else(|| name.clone());
        return ConfigError::at(at, &key, "this key is given twice; keep one of the two");
    }
    let message = UserMessageFormatter.format_message(error.without_snippet());
    ConfigError::at(at, "", format!("not valid YAML: {message}"))
}

/// The path of a key that is given twice.
///
/// The reader knows its line only, so the document is read again without the
/// second one, and its mapping is the last that has the key before it, in the
/// same column if there is such a one.
fn duplicate_path(text: &str, name: &str, at: Position) -> Option<String> {
    let raw = read(text, DuplicateKeyPolicy::FirstWins).ok()?;
    let mut found = Vec::new();
    holders(&raw.value, name, "", &mut found);
    let before = |first: &Position| (first.line, first.column) < (at.line, at.column);
    found.retain(|(first, _)| before(first));
    let aligned = found.iter().rfind(|(first, _)| first.column == at.column);
    aligned.or(found.last()).map(|(_, path)| path.clone())
}

/// Every place that has a key of this name, in document order.
fn holders(raw: &Raw, name: &str, path: &str, found: &mut Vec<(Position, String)>) {
    match raw {
        Raw::List(items) => {
            for (index, item) in items.iter().enumerate() {
                holders(&item.value, name, &format!("{path}[{index}]"), found);
            }
        }
        Raw::Map(entries) => {
            for (key, value) in entries {
                let path = join(path, &key.value);
                if key.value == name {
                    found.push((position(key.referenced), path.clone()));
                }
                holders(&value.value, name, &path, found);
            }
        }
        Raw::Null | Raw::Text(_) | Raw::Typed(_) => {}
    }
}

/// A value before its place is known.
enum Raw {
    Null,
    Text(String),
    /// A plain scalar the reader took for a number or a boolean.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
