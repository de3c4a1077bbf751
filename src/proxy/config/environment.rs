//! `${NAME}` in values.
//!
//! The YAML reader never sees the environment: values are expanded here, after
//! parsing, so a variable can neither change the document's structure nor
//! appear in one of the reader's messages.

use std::borrow::Cow;

/// Looks a variable up; `None` if it is not set.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces `${NAME}` and `${NAME:-default}`; `$$` stands for one `$`, and any
/// other `$` for itself. The error says what is wrong with the expression and
/// holds no value.
pub(super) fn expand<'t>(text: &'t str, env: Environment<'_>) -> Result<Cow<'t, str>, String> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else {
                return Err("`${` is not closed; write ${NAME}, or $${ for the text itself".into());
            };
            expanded.push_str(&lookup(&after[..end], env)?);
            rest = &after[end + 1..];
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
}

/// The value of what stands between `${` and `}`.
fn lookup(expression: &str, env: Environment<'_>) -> Result<String, String> {
    let (name, default) = match expression.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (expression, None),
    };
    if !is_name(name) {
        return Err(format!(
            "`${{{expression}}}` is not understood; write ${{NAME}} or ${{NAME:-default}}"
        ));
    }
    // As in a shell: `:-` also replaces a variable that is set but empty.
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
        )),
    }
}

/// Whether a text is one `${NAME}`, without default or anything around it.
pub(super) fn is_reference(text: &str) -> bool {
    let name = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(is_name)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn expands_as_a_shell_would() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${SET}", "value"),
            ("a-${SET}-b-${SET}", "a-value-b-value"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${MISSING:-d}", "d"),
            ("${MISSING:-}", ""),
            ("$$", "$"),
            ("$${SET}", "${SET}"),
            ("$5 and $", "$5 and $"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_expand() {
        for text in ["${MISSING}", "${SET", "${}", "${1A}", "${SET:?why}"] {
            assert!(expand(text, &env).is_err(), "{text}");
        }
    }
}
