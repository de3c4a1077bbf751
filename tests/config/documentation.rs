//! What the documentation tells operators to type and to look at is there.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use tower_sse::proxy::arguments::Arguments;

fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    paths.push(root.join("README.md"));
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn page(name: &str) -> String {
    let mut pages = pages().into_iter();
    pages.find(|(path, _)| path.ends_with(name)).unwrap().1
}

/// The words of a command line, up to what is the shell's.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    let shell = |word: &String| ["#", "|", ">", "2>>", "&&", "&"].contains(&word.as_str());
    let end = words.iter().position(shell).unwrap_or(words.len());
    words.truncate(end);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn commands_are_understood() {
    let mut understood = 0;
    for (path, text) in pages() {
        for block in text.split("```sh\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let commands = block.lines().filter(|line| line.starts_with("sse-proxy"));
            for line in commands {
                understood += 1;
                if let Err(why) = Arguments::try_parse_from(words(line)) {
                    panic!("{}: {line}\n{why}", path.display());
                }
            }
        }
    }
    assert!(understood > 15, "{understood}");
}

/// Words that begin as metrics do.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(move |c| !part(c));
    words.filter(|word| word.starts_with("sse_") && *word != "sse_")
}

#[test]
fn metrics_that_are_watched_are_counted() {
    let listed = page("docs/configuration.md");
    let listed: Vec<&str> = metrics(&listed).collect();
    let mut watched = 0;
    for name in metrics(&page("docs/operations.md")) {
        watched += 1;
        let known = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(listed.contains(&known), "{name}");
    }
    assert!(watched > 20, "{watched}");
}

#[test]
fn log_lines_that_are_explained_are_written() {
    let page = page("docs/operations.md");
    let (_, log) = page.split_once("\n## Read the log\n").unwrap();
    let log = log.split("\n## ").next().unwrap();
    let rows = log.lines().filter(|line| line.starts_with("| `"));
    let mut sources = String::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut sources,
    );
    let mut explained = 0;
    for row in rows {
        let cell = row.split(" | ").next().unwrap();
        for line in cell.split('`').skip(1).step_by(2) {
            let fixed = line.trim_end_matches('…').trim();
            if fixed.ends_with('=') {
                continue;
            }
            explained += 1;
            assert!(sources.contains(fixed), "nothing logs: {fixed}");
        }
    }
    assert!(explained >= 12, "{explained}");
}

fn collect(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|end| end == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The YAML of other programs in it is YAML.
#[test]
fn alerts_are_well_formed() {
    let page = page("docs/operations.md");
    let (_, alerts) = page.split_once("```yaml\ngroups:").unwrap();
    let alerts = format!("groups:{}", alerts.split("```").next().unwrap());
    let read: serde_json::Value = serde_saphyr::from_str(&alerts).unwrap();
    let rules = read["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 5);
    for rule in rules {
        assert!(
            rule["alert"].is_string() && rule["expr"].is_string(),
            "{rule}"
        );
    }
}
