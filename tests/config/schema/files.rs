//! Files that are read, and that the schema must find nothing wrong with.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tower_sse::proxy::Config;

use super::{Judge, VARIABLE, schema};

/// As an editor reads it: numbers are numbers, variables are text.
fn value(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn content(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The YAML in a page of documentation.
fn blocks(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in page.split("```yaml\n").skip(1) {
        found.push(part.split("```").next().unwrap().to_owned());
    }
    found
}

#[test]
fn the_files_of_this_project_are_valid() {
    let judge = Judge::new();
    for path in ["proxy.yaml", "src/proxy/demo/demo.yaml"] {
        assert_eq!(judge.mistake(&value(&content(path))), None, "{path}");
    }
}

#[test]
fn examples_in_the_documentation_are_read_and_valid() {
    let judge = Judge::new();
    let mut pages = vec![root().join("README.md")];
    let docs = fs::read_dir(root().join("docs")).unwrap();
    pages.extend(docs.map(|entry| entry.unwrap().path()));
    pages.retain(|path| path.extension().is_some_and(|end| end == "md"));

    let mut whole = 0;
    for page in pages {
        for text in blocks(&fs::read_to_string(&page).unwrap()) {
            let Some(text) = completed(&text) else {
                continue;
            };
            whole += 1;
            let mistake = judge.mistake(&value(&text));
            assert_eq!(mistake, None, "{}:\n{text}", page.display());
        }
    }
    assert!(whole >= 3, "{whole}");
}

/// A text that is a configuration, or one but for its routes; `None` if it is
/// something else.
fn completed(text: &str) -> Option<String> {
    let routes = "\nroutes: [{ path: /, upstream: \"http://127.0.0.1:3000\" }]\n";
    let candidates = [text.to_owned(), format!("{text}{routes}")];
    let reads = |text: &String| Config::parse("proxy.yaml", text, &|_| Some(VARIABLE.into()));
    candidates.into_iter().find(|text| reads(text).is_ok())
}

#[test]
fn what_check_prints_is_valid_and_has_the_documented_defaults() {
    let text = r#"
        upstreams: { app: { servers: ["http://127.0.0.1:3000"] } }
        routes: [{ path: /, upstream: app }]
    "#;
    let printed = super::super::parse(text).unwrap().to_yaml();
    let printed = value(&printed);
    let judge = Judge::new();
    assert_eq!(judge.mistake(&printed), None);

    let schema = schema();
    let walk = super::walk::Walk::new(&schema);
    let mut compared = 0;
    compare(&walk, &schema, &printed, "", &mut compared);
    assert!(compared > 40, "{compared}");
}

/// Every printed value is its schema's default, or required.
fn compare(
    walk: &super::walk::Walk<'_>,
    node: &Value,
    printed: &Value,
    name: &str,
    compared: &mut usize,
) {
    let node = walk.resolved(node);
    if node.get("default") == Some(printed) {
        *compared += 1;
        return;
    }
    match printed {
        Value::Object(entries) => {
            for (key, value) in entries {
                let known = node["properties"].get(key);
                let child = known.unwrap_or(&node["additionalProperties"]);
                let required = node["required"].as_array().into_iter().flatten();
                if required.into_iter().any(|word| word == key.as_str()) && !value.is_array() {
                    continue;
                }
                compare(walk, child, value, &format!("{name}.{key}"), compared);
            }
        }
        Value::Array(items) if node["items"].is_object() && name != ".upstreams.app.servers" => {
            for item in items {
                compare(walk, &node["items"], item, &format!("{name}[]"), compared);
            }
        }
        _ if name == ".upstreams.app.servers" => {}
        other => panic!("{name} is {other} if nothing is said; the schema does not say so"),
    }
}

#[test]
fn every_key_is_in_the_documentation() {
    let page = content("docs/configuration.md");
    let keys = super::walk_keys();
    assert!(keys.len() > 60, "{keys:?}");
    for name in keys {
        let key = name.rsplit('.').next().unwrap();
        let documented = page.split('`').skip(1).step_by(2).any(|code| {
            let path = code.rsplit('.').next().unwrap();
            path == key
                || code
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|w| w == key)
        });
        assert!(
            documented,
            "docs/configuration.md does not have `{key}`, of {name}"
        );
    }
}

/// So that editors find it: the line is a promise about the file beside it.
#[test]
fn the_example_names_the_schema() {
    let first = content("proxy.yaml");
    let first = first.lines().next().unwrap();
    assert_eq!(first, "# yaml-language-server: $schema=proxy.schema.json");
    assert!(root().join("proxy.schema.json").exists());
}
