//! Headers that tell an upstream who somebody is.

use http::{HeaderMap, HeaderName};

use crate::proxy::forward::keep_known_options;

/// The headers that only the proxy may set.
#[derive(Debug)]
pub(super) struct Identity {
    names: Vec<String>,
}

impl Identity {
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a HeaderName>) -> Self {
        let names = names.into_iter().map(folded);
        Self {
            names: names.collect(),
        }
    }

    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.names.contains(&folded(name))
    }

    /// Takes them out of a client's request, with all that could pass for them.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        if self.names.is_empty() {
            return;
        }
        let claimed = headers.keys().filter(|name| self.has(name));
        let claimed: Vec<_> = claimed.cloned().collect();
        for name in claimed {
            headers.remove(name);
        }
        keep_known_options(headers);
    }
}

/// To many backends `X_User` and `X-User` are one.
fn folded(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

/// Says who somebody is, in the place of whatever said it before.
pub(super) fn tell(headers: &mut HeaderMap, told: &HeaderMap) {
    for name in told.keys() {
        headers.remove(name);
    }
    for (name, value) in told {
        headers.append(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn nobody_else_says_who_somebody_is() {
        let identity = Identity::new([&HeaderName::from_static("x-user")]);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-user", "root"),
            ("x-user", "root"),
            ("x_user", "root"),
            ("x-user-agent", "kept"),
            ("connection", "X-User, Upgrade"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        identity.strip(&mut headers);
        let user = HeaderValue::from_static("alice");
        let told = [(HeaderName::from_static("x-user"), user)];
        let told = told.into_iter().collect();
        tell(&mut headers, &told);
        tell(&mut headers, &told);
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        let expected = [
            ("connection", "Upgrade"),
            ("x-user", "alice"),
            ("x-user-agent", "kept"),
        ];
        assert_eq!(left, expected);
    }
}
