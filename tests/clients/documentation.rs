//! `docs/clients.md` says which test shows what.

use std::fs;
use std::path::Path;

use tower_sse::resume::profile::Profile;

#[test]
fn every_test_and_profile_it_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/clients.md")).unwrap();
    // What stands in backticks is every second piece.
    let named = page.split('`').skip(1).step_by(2);
    let tests: Vec<_> = named.filter_map(|name| name.split_once("::")).collect();
    let mut found = 0;
    for (module, test) in tests {
        let file = root.join(format!("tests/clients/{module}.rs"));
        // Others, such as `SseLayer::profile`, are no tests.
        let Ok(source) = fs::read_to_string(&file) else {
            assert!(!module.starts_with(char::is_lowercase), "{module}::{test}");
            continue;
        };
        let declared = source.contains(&format!("async fn {test}("));
        assert!(declared, "{module}::{test} is named, but does not exist");
        found += 1;
    }
    assert!(found > 20, "found {found} only");
    for (name, _) in Profile::ALL {
        assert!(page.contains(&format!("| `{name}` |")), "no row for {name}");
    }
}
