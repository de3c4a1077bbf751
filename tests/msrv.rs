//! No dependency of the library or the binary asks for a newer compiler than
//! `Cargo.toml` promises.
//!
//! Usually only one toolchain is at hand, so nothing can be compiled with the
//! promised one; what each crate says about itself can still be read.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

#[test]
fn no_dependency_needs_a_newer_compiler() {
    let metadata = cargo_metadata();
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let root = metadata["resolve"]["root"].as_str().unwrap();
    let used = reachable(&metadata, root);
    assert!(used.len() > 10, "found only {used:?}");

    let too_new: Vec<String> = packages(&metadata)
        .filter(|package| used.contains(package["id"].as_str().unwrap()))
        .filter_map(|package| Some((package, package["rust_version"].as_str()?)))
        .filter(|(_, wanted)| version(wanted) > ours)
        .map(|(package, wanted)| {
            format!("{} {} needs {wanted}", package["name"], package["version"])
        })
        .collect();
    assert!(too_new.is_empty(), "newer than {ours:?}: {too_new:#?}");
}

#[test]
fn versions_compare_as_numbers() {
    assert!(version("1.100") > version("1.89.1"));
    assert!(version("1.89.1") > version("1.89"));
    assert_eq!(version("1.89"), version("1.89.0"));
}

/// All packages but those for other platforms, whose crates may not even have
/// been downloaded.
fn cargo_metadata() -> Value {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--all-features",
            "--filter-platform",
            host,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().unwrap().iter()
}

/// Ids of all packages that `root` needs for anything but its own tests.
fn reachable(metadata: &Value, root: &str) -> BTreeSet<String> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let mut found = BTreeSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(id) = waiting.pop() {
        let node = nodes.iter().find(|node| node["id"] == id.as_str()).unwrap();
        if !found.insert(id) {
            continue;
        }
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                waiting.push(dependency["pkg"].as_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn version(text: &str) -> [u32; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    [
        parts.next().unwrap(),
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
    ]
}
