//! The schema and the reader agree, key by key.
//!
//! The reader knows nothing of the schema. So it is asked: an unknown key in
//! every mapping has it list the keys it knows, a senseless word in every place
//! has it list the words, and whatever value it accepts, the schema must accept.
//! A key that is new in the reader fails here until it is in
//! `proxy.schema.json` and `docs/configuration.md`.

mod files;
mod walk;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use tower_sse::proxy::Config;
use tower_sse::proxy::schema::TEXT;

use walk::{Visitor, Walk, Wrap};

/// No key and no word anywhere, and near to none.
const SENSELESS: &str = "qqqqqqqqqqqqqqqqqqqq";

/// Long enough for a secret.
const VARIABLE: &str = "a-value-of-the-environment-that-is-long";

fn schema() -> Value {
    serde_json::from_str(TEXT).unwrap()
}

/// Judges documents by the schema.
struct Judge {
    schemas: Schemas,
    whole: SchemaIndex,
}

impl Judge {
    fn new() -> Self {
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler
            .add_resource("proxy.schema.json", schema())
            .unwrap();
        let whole = compiler.compile("proxy.schema.json", &mut schemas).unwrap();
        Self { schemas, whole }
    }

    /// What is wrong with it, if anything.
    fn mistake(&self, document: &Value) -> Option<String> {
        let judged = self.schemas.validate(document, self.whole);
        judged.err().map(|why| format!("{why:#}"))
    }
}

/// A folder with the files that examples name.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema");
    fs::create_dir_all(&folder).unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, pem) in [
        ("fullchain.pem", pair.cert.pem()),
        ("client-ca.pem", pair.cert.pem()),
        ("privkey.pem", pair.signing_key.serialize_pem()),
        ("public.pem", pair.signing_key.public_key_pem()),
    ] {
        // Several tests may do so at once: each file appears whole.
        let own = folder.join(format!("{name}.{:?}", std::thread::current().id()));
        fs::write(&own, pem).unwrap();
        fs::rename(own, folder.join(name)).unwrap();
    }
    folder
}

/// Reads a document, which as JSON is YAML as well.
fn read(folder: &Path, document: &Value) -> Result<Config, String> {
    let source = folder.join("proxy.yaml").display().to_string();
    let text = document.to_string();
    let config = Config::parse(&source, &text, &|_| Some(VARIABLE.into()));
    config.map_err(|error| format!("{}: {}", error.key(), error.message()))
}

/// Whether this build refuses the whole mapping.
fn is_left_out(block: &Value) -> bool {
    let kind = &block["properties"]["kind"]["anyOf"][0]["enum"][0];
    match kind.as_str() {
        Some("disk") => !cfg!(feature = "disk"),
        Some("redis") => !cfg!(feature = "redis"),
        _ => false,
    }
}

fn names(listed: &str) -> BTreeSet<String> {
    listed.split(", ").map(str::to_owned).collect()
}

fn walk(visitor: &mut dyn Visitor) {
    Walk::new(&schema()).visit(visitor);
}

// === keys ===

struct Keys {
    folder: PathBuf,
    blocks: usize,
}

impl Visitor for Keys {
    fn block(&mut self, name: &str, block: &Value, document: &dyn Fn(&str, Value) -> Value) {
        if is_left_out(block) {
            return;
        }
        self.blocks += 1;
        let said = read(&self.folder, &document(SENSELESS, json!(1))).unwrap_err();
        let (_, known) = said
            .split_once("unknown key; valid here: ")
            .unwrap_or_else(|| panic!("`{name}` is not read as a mapping: {said}"));
        let described: BTreeSet<String> = block["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let known = names(known);
        let missing: Vec<_> = known.difference(&described).collect();
        assert!(
            missing.is_empty(),
            "proxy.schema.json does not describe what is read under `{name}`: {missing:?}"
        );
        let extra: Vec<_> = described.difference(&known).collect();
        assert!(
            extra.is_empty(),
            "proxy.schema.json describes under `{name}` what is not read: {extra:?}"
        );
    }

    fn key(&mut self, _: &str, _: &Value, _: Wrap<'_>) {}
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    let mut keys = Keys {
        folder: folder(),
        blocks: 0,
    };
    walk(&mut keys);
    assert!(keys.blocks >= 18, "{}", keys.blocks);
}

/// The name of every key.
fn walk_keys() -> Vec<String> {
    struct Names(Vec<String>);
    impl Visitor for Names {
        fn block(&mut self, _: &str, _: &Value, _: &dyn Fn(&str, Value) -> Value) {}
        fn key(&mut self, name: &str, _: &Value, _: Wrap<'_>) {
            self.0.push(name.to_owned());
        }
    }
    let mut names = Names(Vec::new());
    walk(&mut names);
    names.0
}

// === values ===

struct Values {
    folder: PathBuf,
    judge: Judge,
    candidates: Vec<Value>,
    judged: usize,
}

impl Values {
    /// What the schema itself gives as values must be read.
    fn check_examples(&self, name: &str, schema: &Value, document: Wrap<'_>) {
        let examples = schema["examples"].as_array().into_iter().flatten();
        for value in examples.chain(schema.get("default")) {
            let document = document(value.clone());
            if let Err(said) = read(&self.folder, &document) {
                panic!("{name}: {value} is an example, but: {said}");
            }
            if let Some(said) = self.judge.mistake(&document) {
                panic!("{name}: {value} is an example, but: {said}");
            }
        }
    }

    /// The words that the reader lists.
    fn check_words(&self, name: &str, schema: &Value, document: Wrap<'_>) {
        let first = &schema["anyOf"][0]["enum"];
        let said = read(&self.folder, &document(json!(SENSELESS)));
        let said = said.err().unwrap_or_default();
        let listed = said.split_once("write one of: ");
        match (first.as_array(), listed) {
            (Some(words), Some((_, listed))) => {
                let words = words.iter().filter_map(Value::as_str);
                let words: BTreeSet<String> = words.map(str::to_owned).collect();
                assert_eq!(words, names(listed), "{name}");
            }
            (None, Some(_)) => panic!("{name} has a set of words, but no `enum`: {said}"),
            (Some(_), None) => panic!("{name} has an `enum`, but no set of words: {said}"),
            (None, None) => {}
        }
    }

    /// What is read, editors must not mark as wrong.
    fn check_candidates(&mut self, name: &str, document: Wrap<'_>) {
        for value in &self.candidates {
            let document = document(value.clone());
            if read(&self.folder, &document).is_ok() {
                self.judged += 1;
                if let Some(said) = self.judge.mistake(&document) {
                    panic!("{name}: {value} is read, but not in the schema: {said}");
                }
            }
        }
    }
}

impl Visitor for Values {
    fn block(&mut self, _: &str, _: &Value, _: &dyn Fn(&str, Value) -> Value) {}

    fn key(&mut self, name: &str, schema: &Value, document: Wrap<'_>) {
        let about = schema["description"].as_str().unwrap_or_default();
        assert!(about.len() > 5, "{name} has no description");
        // Another journal than this build has.
        if document(json!(0))
            .pointer("/journal/kind")
            .is_some_and(|kind| {
                let property =
                    json!({ "properties": { "kind": { "anyOf": [{ "enum": [kind] }] } } });
                is_left_out(&property)
            })
        {
            return;
        }
        self.check_examples(name, schema, document);
        if schema["anyOf"][0]["enum"].is_array() && !name.ends_with("kind") {
            self.check_words(name, schema, document);
        }
        self.check_candidates(name, document);
    }
}

fn candidates() -> Vec<Value> {
    let mut found = vec![
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(0),
        json!(1),
        json!(1024),
        json!(100_000_000),
        json!(1.5),
        json!([1]),
        json!(["a"]),
        json!(["GET"]),
        json!({ "a": null }),
    ];
    for text in [
        "",
        "0",
        "1",
        "+7",
        "15",
        "0s",
        "15s",
        "1h30m",
        "500ms",
        "2d",
        "2s..5s",
        "2s .. 5s",
        "complete",
        "live",
        "start",
        "tail:3",
        "4096",
        "4MiB",
        "4 mib",
        "7b",
        "1TB",
        "x",
        "/",
        "/a",
        "/a/{key}",
        "/{key}",
        "http://a",
        "HTTPS://a:1/",
        "redis://a",
        "rediss://a:1/2",
        "127.0.0.1:1",
        "[::1]:1",
        "example.com",
        "*.example.com",
        "authorization",
        "cookie:a",
        "fullchain.pem",
        "${NAME}",
        "${NAME:-15s}",
        "${NAME:-/a}",
        "1${N:-}5s",
        "~",
    ] {
        found.push(json!(text));
        found.push(json!([text]));
    }
    found
}

#[test]
fn what_is_read_is_valid() {
    let mut values = Values {
        folder: folder(),
        judge: Judge::new(),
        candidates: candidates(),
        judged: 0,
    };
    walk(&mut values);
    assert!(values.judged > 500, "{}", values.judged);
}

#[test]
fn mistakes_are_marked() {
    let judge = Judge::new();
    let route = |more: Value| {
        let mut route = json!({ "path": "/", "upstream": "http://a" });
        for (key, value) in more.as_object().unwrap() {
            route[key] = value.clone();
        }
        json!({ "routes": [route] })
    };
    assert_eq!(judge.mistake(&route(json!({}))), None);
    for wrong in [
        json!({}),
        json!({ "routes": [] }),
        json!({ "routes": [{ "path": "/" }] }),
        route(json!({ "heartbeat": "15s" })),
        route(json!({ "sse": { "hearbeat": "15s" } })),
        route(json!({ "sse": { "heartbeat": 15 } })),
        route(json!({ "sse": { "heartbeat": "15sec" } })),
        route(json!({ "sse": { "mode": "share" } })),
        route(json!({ "sse": { "buffer": { "bytes": "4M" } } })),
        route(json!({ "sse": { "key": { "max": "1MiB" } } })),
        route(json!({ "methods": ["FETCH"] })),
    ] {
        assert!(judge.mistake(&wrong).is_some(), "{wrong}");
    }
}
