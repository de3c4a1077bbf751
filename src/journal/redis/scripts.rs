//! What Redis executes as one: the scripts, and how their answers are read.
//!
//! Each touches the keys of one stream, which share a hash tag, so that a
//! cluster executes it on one node.

use std::sync::LazyLock;

use bytes::Bytes;
use redis::{Cmd, Value};

/// A script, known to Redis by its hash once it has seen it.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    hash: String,
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file))));)*
    };
}

scripts! {
    ALIAS "alias.lua"
    UNALIAS "unalias.lua"
    APPEND "append.lua"
    BEGIN "begin.lua"
    CLAIM "claim.lua"
    FIND "find.lua"
    FORGET "forget.lua"
    LOOK "look.lua"
    READ "read.lua"
    RELEASE "release.lua"
    RENEW "renew.lua"
    RESOLVE "resolve.lua"
    STOP "stop.lua"
}

impl Script {
    fn new(body: &str) -> Self {
        let text = format!("{}\n{body}", include_str!("scripts/prelude.lua"));
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }
}

/// A script, its keys and arguments.
#[derive(Clone, Debug)]
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Bytes>,
}

impl Call {
    pub(super) fn new<const N: usize>(
        script: &'static LazyLock<Script>,
        keys: &[String],
        arguments: [Bytes; N],
    ) -> Self {
        Self {
            script: LazyLock::force(script),
            keys: keys.to_vec(),
            arguments: arguments.into(),
        }
    }

    /// The command for a Redis that has seen the script.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// The command for one that has not.
    pub(super) fn in_full(&self) -> Cmd {
        self.command("EVAL", &self.script.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        for argument in &self.arguments {
            command.arg(&argument[..]);
        }
        command
    }
}

/// An argument, as a script reads it.
pub(super) trait Argument {
    fn argument(&self) -> Bytes;
}

impl Argument for u64 {
    fn argument(&self) -> Bytes {
        self.to_string().into()
    }
}

impl Argument for bool {
    fn argument(&self) -> Bytes {
        Bytes::from_static(if *self { b"1" } else { b"0" })
    }
}

impl Argument for str {
    fn argument(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl Argument for std::time::Duration {
    fn argument(&self) -> Bytes {
        self.as_millis().to_string().into()
    }
}

/// What a script answered: a word, and what belongs to it.
#[derive(Debug)]
pub(super) struct Reply {
    word: String,
    rest: std::vec::IntoIter<Value>,
}

/// It answered something else than it is written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strange;

impl Reply {
    pub(super) fn read(value: Value) -> Result<Self, Strange> {
        let Value::Array(values) = value else {
            return Err(Strange);
        };
        let mut rest = values.into_iter();
        let word = text(rest.next().ok_or(Strange)?)?;
        Ok(Self { word, rest })
    }

    pub(super) fn word(&self) -> &str {
        &self.word
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, Strange> {
        match self.rest.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes.into()),
            _ => Err(Strange),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Strange> {
        text(self.rest.next().ok_or(Strange)?)
    }

    pub(super) fn number(&mut self) -> Result<u64, Strange> {
        match self.rest.next() {
            Some(Value::Int(number)) => u64::try_from(number).map_err(|_| Strange),
            Some(value) => text(value)?.parse().map_err(|_| Strange),
            None => Err(Strange),
        }
    }

    /// Entries of a Redis Stream: their ids, and the bytes in their only field.
    pub(super) fn entries(&mut self) -> Result<Vec<(String, Bytes)>, Strange> {
        let Some(Value::Array(entries)) = self.rest.next() else {
            return Err(Strange);
        };
        entries.into_iter().map(entry).collect()
    }
}

fn entry(value: Value) -> Result<(String, Bytes), Strange> {
    let Value::Array(parts) = value else {
        return Err(Strange);
    };
    let mut parts = parts.into_iter();
    let id = text(parts.next().ok_or(Strange)?)?;
    let Some(Value::Array(fields)) = parts.next() else {
        return Err(Strange);
    };
    match fields.into_iter().nth(1) {
        Some(Value::BulkString(bytes)) => Ok((id, bytes.into())),
        _ => Err(Strange),
    }
}

fn text(value: Value) -> Result<String, Strange> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| Strange),
        Value::SimpleString(text) => Ok(text),
        _ => Err(Strange),
    }
}
