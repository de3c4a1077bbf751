//! Each folder of `src/` imports only from those on its left:
//!
//! `observe` · `wire` → `log` → `journal` → `stream` → `resume` → `proxy` → `bin`
//!
//! So the crate can be read in that order, and each part be tested without the
//! ones above it. The check is a text scan: it sees every `crate::…` path, the
//! heads of grouped imports, and `super::` chains that climb to the root.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Left to right; those that share a place may not see each other.
const ORDER: &[&[&str]] = &[
    &["observe", "wire"],
    &["log"],
    &["journal"],
    &["stream"],
    &["resume"],
    &["proxy"],
    &["bin"],
];

#[test]
fn imports_point_left() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 3, "no sources under {}", src.display());
    for file in files {
        let path = file.strip_prefix(&src).unwrap();
        // The crate page sees everything: it is what gathers the parts.
        if path != Path::new("lib.rs") {
            faults.extend(check(path, &fs::read_to_string(&file).unwrap()));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_forbidden_import_is_caught() {
    let caught = |path: &str, text: &str| check(Path::new(path), text);
    assert_eq!(
        caught("wire/decode.rs", "//! Words.\nuse crate::stream::id::Id;\n"),
        ["src/wire/decode.rs:2: wire -> stream"]
    );
    assert_eq!(
        caught(
            "log/ring.rs",
            "use crate::{\n    wire::Block,\n    resume::{key::Key, layer},\n};"
        ),
        ["src/log/ring.rs:3: log -> resume"]
    );
    assert_eq!(
        caught("wire/mod.rs", "use crate::observe::Signal;"),
        ["src/wire/mod.rs:1: wire -> observe"]
    );
    assert_eq!(
        caught("stream/pump.rs", "let x = super::super::proxy::run();"),
        ["src/stream/pump.rs:1: stream -> proxy"]
    );
    assert_eq!(
        caught(
            "stream/pump.rs",
            "mod tests {\n    use super::super::super::proxy::run;\n}"
        ),
        ["src/stream/pump.rs:2: stream -> proxy"]
    );
    assert_eq!(
        caught("observe.rs", "use super::log::Log;"),
        ["src/observe.rs:1: observe -> log"]
    );
    // Through a name at the root the arrow cannot be seen, so it is refused.
    assert_eq!(
        caught("log/mod.rs", "use crate::SseLayer;"),
        ["src/log/mod.rs:1: log -> SseLayer"]
    );
    assert_eq!(
        caught("resume/mod.rs", "pub(in crate::proxy) fn f() {}"),
        ["src/resume/mod.rs:1: resume -> proxy"]
    );
}

#[test]
fn a_permitted_import_is_not() {
    for (path, text) in [
        (
            "proxy/mod.rs",
            "use crate::resume::SseLayer;\nuse crate::{wire::Block, log};",
        ),
        (
            "stream/pump.rs",
            "use super::session::Session;\nuse super::super::log::Log;",
        ),
        (
            "stream/pump.rs",
            "mod tests {\n    use super::super::session::Session;\n}",
        ),
        (
            "wire/decode.rs",
            "/// Used by [`crate::stream`].\n// and crate::proxy\npub(crate) fn f() {}",
        ),
        (
            "resume/settings.rs",
            "use crate::stream::policy::{Ids, resume::proxy};",
        ),
        ("bin/sse-proxy.rs", "use tower_sse::proxy;"),
    ] {
        assert_eq!(check(Path::new(path), text), [""; 0], "{path}");
    }
}

/// One line per forbidden import of the file at `path` (relative to `src/`).
fn check(path: &Path, text: &str) -> Vec<String> {
    let here = layer_of(path);
    let text = without_comments(text);
    let mut faults = Vec::new();
    for (at, target) in imports(path, &text) {
        let allowed =
            target == here || rank(target).is_some_and(|rank_of| Some(rank_of) < rank(here));
        if !allowed {
            let line = text[..at].matches('\n').count() + 1;
            faults.push(format!("src/{}:{line}: {here} -> {target}", path.display()));
        }
    }
    faults
}

/// `wire/decode.rs` and `wire.rs` are both `wire`.
fn layer_of(path: &Path) -> &str {
    let first = path.iter().next().unwrap().to_str().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

fn rank(layer: &str) -> Option<usize> {
    ORDER.iter().position(|place| place.contains(&layer))
}

/// Blanks whole-line comments, prose and all, keeping every line in its place.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| {
            if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every module named right under the crate root, with its byte offset.
fn imports<'a>(path: &Path, text: &'a str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at..]["crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let start = text.len() - group.len();
            found.extend(
                heads(group)
                    .into_iter()
                    .map(|(offset, name)| (start + offset, name)),
            );
        } else if starts_path(text, at) {
            found.push((at, word(rest)));
        }
    }
    for (at, _) in text.match_indices("super::") {
        let end = text[at..].trim_start_matches("super::");
        let links = (text.len() - at - end.len()) / "super::".len();
        // In an inline module a chain this long may still end in the file's
        // own folder; the name of another layer tells that it does not.
        if starts_path(text, at) && links >= depth(path) && rank(word(end)).is_some() {
            found.push((at, word(end)));
        }
    }
    found.sort_unstable();
    found
}

/// Neither the tail of a longer path nor of a longer word.
fn starts_path(text: &str, at: usize) -> bool {
    !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
}

/// How many modules lie between the file's own and the root, itself included.
fn depth(path: &Path) -> usize {
    let parts = path.components().count();
    if path.file_stem().is_some_and(|stem| stem == "mod") {
        parts - 1
    } else {
        parts
    }
}

/// The first names of a `{…}` group, given the text after its brace.
fn heads(group: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut level = 0;
    let mut expecting = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' if level == 0 => break,
            '}' => level -= 1,
            ',' if level == 0 => expecting = true,
            c if expecting && (c.is_alphanumeric() || c == '_') => {
                expecting = false;
                found.push((at, word(&group[at..])));
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
