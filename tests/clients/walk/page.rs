//! The walk as the document has it.

use std::fs;
use std::path::Path;

const SECTION: &str = "\n## Replacing nginx, step by step\n";

/// The text of one section.
pub(super) struct Walk(String);

/// Commands, and what they print, with `…` for anything.
pub(super) struct Block {
    pub(super) commands: String,
    pub(super) printed: String,
}

impl Walk {
    pub(super) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = fs::read_to_string(root.join("docs/operations.md")).unwrap();
        let (_, section) = page.split_once(SECTION).unwrap();
        Self(section.split("\n## ").next().unwrap().to_owned())
    }

    /// The proxy's configuration.
    pub(super) fn yaml(&self) -> &str {
        let (yaml, _) = fenced(&self.0, "yaml").unwrap();
        yaml
    }

    /// What is done below a heading.
    pub(super) fn step(&self, heading: &str) -> Vec<Block> {
        let mark = format!("\n### {heading}\n");
        let (_, text) = self.0.split_once(&mark).unwrap();
        let mut rest = text.split("\n### ").next().unwrap();
        let mut blocks = Vec::new();
        while let Some((commands, after)) = fenced(rest, "sh") {
            let (printed, after) = fenced(after, "text").unwrap();
            blocks.push(Block {
                commands: commands.to_owned(),
                printed: printed.to_owned(),
            });
            rest = after;
        }
        assert!(!blocks.is_empty(), "nothing to do at {heading}");
        blocks
    }
}

/// The next block in this language, and what stands after it.
fn fenced<'a>(text: &'a str, language: &str) -> Option<(&'a str, &'a str)> {
    let (_, begun) = text.split_once(&format!("```{language}\n"))?;
    begun.split_once("```")
}

/// Whether a text is as described.
pub(super) fn fits(described: &str, text: &str) -> bool {
    let mut pieces = described.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut ended = true;
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        ended = piece.is_empty() || rest.ends_with(piece);
        rest = &rest[at + piece.len()..];
    }
    ended && (described.contains('…') || rest.is_empty())
}

#[test]
fn an_ellipsis_stands_for_anything() {
    for (described, text) in [("a", "a"), ("a…", "abc"), ("…c", "abc"), ("a…c…e", "abcde")]
    {
        assert!(fits(described, text), "{described} {text}");
    }
    for (described, text) in [("a", "ab"), ("a…", "ba"), ("…c", "cb"), ("a…c…e", "aecd")] {
        assert!(!fits(described, text), "{described} {text}");
    }
}
