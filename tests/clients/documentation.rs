//! `docs/clients.md` and `docs/mcp.md` say which test shows what.

use std::fs;
use std::path::Path;

use tower_sse::resume::profile::Profile;

#[test]
fn every_test_and_profile_that_clients_md_names_exists() {
    let page = page("clients.md");
    check(&page, "tests/clients", 20);
    for (name, _) in Profile::ALL {
        assert!(page.contains(&format!("| `{name}` |")), "no row for {name}");
    }
}

#[test]
fn every_test_that_mcp_md_names_exists() {
    let page = page("mcp.md");
    check(&page, "tests/clients/mcp", 6);
    let elsewhere = "tests/resume/mcp.rs";
    let named = quoted(&page).filter(|name| name.starts_with("a_"));
    let missing: Vec<_> = named.filter(|name| !declares(elsewhere, name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {elsewhere}");
}

#[test]
fn a_pattern_stands_for_whole_names() {
    assert!(fits("a_*_c", "a_b_c") && fits("a_…", "a_b") && fits("a", "a"));
    assert!(!fits("a_*_c", "a_b_cd") && !fits("a", "a_b") && !fits("b", "a_b"));
    assert_eq!(spelt_out("{a,b}_{c,d}"), ["a_c", "a_d", "b_c", "b_d"]);
}

fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::read_to_string(docs.join(name)).unwrap()
}

/// What stands in backticks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

/// Looks for all tests named as `module::test`, of which there are so many.
fn check(page: &str, folder: &str, least: usize) {
    let mut found = 0;
    for (module, test) in quoted(page).filter_map(|name| name.split_once("::")) {
        let file = format!("{folder}/{module}.rs");
        // Others, such as `SseLayer::profile`, are no tests.
        if !module.starts_with(char::is_lowercase) {
            continue;
        }
        for test in spelt_out(test) {
            assert!(declares(&file, &test), "{module}::{test} does not exist");
            found += 1;
        }
    }
    assert!(found > least, "found {found} only");
}

/// Whether a file has a test whose name fits.
fn declares(file: &str, pattern: &str) -> bool {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let source = fs::read_to_string(&file).unwrap_or_default();
    source
        .split("async fn ")
        .skip(1)
        .filter_map(|rest| rest.split_once('('))
        .any(|(name, _)| fits(pattern, name))
}

/// `*` and `…` stand for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split(['*', '…']);
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    for piece in pieces {
        let Some(at) = rest.rfind(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty()
}

/// `{a,b}` stands for one name with each.
fn spelt_out(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else {
        return vec![name.to_owned()];
    };
    let (choices, after) = rest.split_once('}').unwrap();
    let choices = choices.split(',');
    choices
        .flat_map(|choice| spelt_out(&format!("{before}{choice}{after}")))
        .collect()
}
