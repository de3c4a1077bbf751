//! What `proxy.yaml` may hold, as a JSON Schema: for editors, and for saying
//! where a key belongs that was written in the wrong place.
//!
//! The schema is a file of its own, `proxy.schema.json`, written by hand and
//! part of the binary. It decides nothing: the reader in [`config`] does. That
//! the two agree, key by key, is what `tests/config/schema` sees to; who adds a
//! key to the reader is told there to add it to the schema and to the
//! documentation.
//!
//! [`config`]: super::config

use serde_json::Value;

/// The schema: JSON Schema, draft 2020-12.
pub const TEXT: &str = include_str!("../../proxy.schema.json");

/// Deeper than this nothing is nested; a schema that refers to itself ends here.
const DEEPEST: usize = 12;

/// Every key the schema has, and the mapping it belongs to, such as
/// `routes[].sse`; empty at the top. Names that are the file's own to choose are
/// `*`.
pub(super) fn keys() -> Vec<(String, String)> {
    let Ok(schema) = serde_json::from_str(TEXT) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    collect(&schema, &schema, "", DEEPEST, &mut found);
    found
}

fn collect(
    schema: &Value,
    node: &Value,
    place: &str,
    depth: usize,
    found: &mut Vec<(String, String)>,
) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    if let Some(target) = node["$ref"].as_str().and_then(|to| to.strip_prefix('#')) {
        let target = schema.pointer(target).unwrap_or(&Value::Null);
        collect(schema, target, place, depth, found);
    }
    for branch in node["anyOf"].as_array().into_iter().flatten() {
        collect(schema, branch, place, depth, found);
    }
    for (key, child) in node["properties"].as_object().into_iter().flatten() {
        found.push((key.clone(), place.to_owned()));
        collect(schema, child, &below(place, key), depth, found);
    }
    collect(schema, &node["items"], &format!("{place}[]"), depth, found);
    let named = &node["additionalProperties"];
    collect(schema, named, &below(place, "*"), depth, found);
}

fn below(place: &str, key: &str) -> String {
    match place {
        "" => key.to_owned(),
        place => format!("{place}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_places() {
        let keys = keys();
        for (key, place) in [
            ("routes", ""),
            ("heartbeat", "routes[].sse"),
            ("heartbeat", "defaults"),
            ("bytes", "routes[].sse.buffer"),
            ("interval", "upstreams.*.health_check"),
            ("client_ca", "listeners[].tls"),
            ("lease", "journal"),
            ("data", "routes[].sse.finish[]"),
        ] {
            let known = keys.iter().any(|(k, p)| k == key && p == place);
            assert!(known, "{place} {key}: {keys:?}");
        }
    }
}
