//! Every place of the schema, with a document in which that place is written.

use serde_json::{Map, Value, json};

pub(crate) type Wrap<'a> = &'a dyn Fn(Value) -> Value;

/// What is called for each place.
pub(crate) trait Visitor {
    /// A mapping, or one of several that can stand in its place: its schema,
    /// and a document in which it has what it must have, and this beside.
    fn block(&mut self, name: &str, schema: &Value, document: &dyn Fn(&str, Value) -> Value);
    /// A key of a mapping: its schema, and a document in which it has a value.
    fn key(&mut self, name: &str, schema: &Value, document: Wrap<'_>);
}

pub(crate) struct Walk<'a> {
    schema: &'a Value,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(schema: &'a Value) -> Self {
        Self { schema }
    }

    pub(crate) fn visit(&self, visitor: &mut dyn Visitor) {
        self.at(self.schema, "", &|value| value, visitor);
    }

    fn at(&self, node: &Value, name: &str, wrap: Wrap<'_>, visitor: &mut dyn Visitor) {
        for branch in self.branches(node) {
            if branch["properties"].is_object() {
                self.block(&branch, name, wrap, visitor);
            }
            if branch["items"].is_object() {
                let list = |value| wrap(json!([value]));
                self.at(&branch["items"], &format!("{name}[]"), &list, visitor);
            }
            let named = &branch["additionalProperties"];
            if named.is_object() {
                let map = |value| wrap(json!({ "app": value }));
                self.at(named, &format!("{name}.*"), &map, visitor);
            }
        }
    }

    fn block(&self, block: &Value, name: &str, wrap: Wrap<'_>, visitor: &mut dyn Visitor) {
        let base = self.base(block);
        let with = |key: &str, value: Value| {
            let mut mapping = base.clone();
            for other in block["dependentRequired"][key]
                .as_array()
                .into_iter()
                .flatten()
            {
                let other = other.as_str().unwrap();
                mapping.insert(other.to_owned(), self.example(block, other));
            }
            let beside = &block["properties"][key]["x-beside"];
            for (other, value) in beside.as_object().into_iter().flatten() {
                match value {
                    Value::Null => mapping.remove(other),
                    value => mapping.insert(other.clone(), value.clone()),
                };
            }
            mapping.insert(key.to_owned(), value);
            wrap(Value::Object(mapping))
        };
        visitor.block(name, block, &with);
        for (key, child) in block["properties"].as_object().unwrap() {
            let name = match name {
                "" => key.clone(),
                name => format!("{name}.{key}"),
            };
            let document = |value| with(key, value);
            visitor.key(&name, &self.resolved(child), &document);
            self.at(child, &name, &document, visitor);
        }
    }

    /// What a mapping must hold.
    fn base(&self, block: &Value) -> Map<String, Value> {
        if let Some(example) = block["examples"][0].as_object() {
            return example.clone();
        }
        let required = block["required"].as_array().into_iter().flatten();
        let required = required.map(|key| key.as_str().unwrap());
        required
            .map(|key| (key.to_owned(), self.example(block, key)))
            .collect()
    }

    fn example(&self, block: &Value, key: &str) -> Value {
        let example = self.resolved(&block["properties"][key])["examples"][0].clone();
        assert!(
            !example.is_null(),
            "a key that others need has an example: {key}"
        );
        example
    }

    /// The node itself, or each of the schemas that may hold in its place.
    fn branches(&self, node: &Value) -> Vec<Value> {
        let node = self.resolved(node);
        match node["anyOf"].as_array() {
            Some(any) => any.iter().map(|branch| self.resolved(branch)).collect(),
            None => vec![node],
        }
    }

    /// The node with what it refers to put in; its own words win.
    pub(crate) fn resolved(&self, node: &Value) -> Value {
        let Some(target) = node["$ref"].as_str() else {
            return node.clone();
        };
        let target = self.schema.pointer(target.trim_start_matches('#'));
        let mut merged = target.expect("it is defined").clone();
        for (key, value) in node.as_object().unwrap() {
            merged[key] = value.clone();
        }
        merged
    }
}
