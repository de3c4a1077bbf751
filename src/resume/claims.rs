//! What somebody else has proved about who sent a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What is known of whoever sent a request, by name: the claims of a token that
/// was verified, for one.
///
/// Put into the extensions of a request before it comes to the layer, by a
/// middleware that authenticates. [`Credential::Claim`](super::settings::Credential::Claim)
/// reads it there, and so a stream stays somebody's when the token is renewed:
///
/// ```
/// use http::Request;
/// use tower_sse::SseLayer;
/// use tower_sse::resume::Claims;
/// use tower_sse::resume::settings::Credential;
///
/// let layer = SseLayer::new().principal([Credential::Claim("sub".into())]);
///
/// // In the middleware, once the token is known to be good:
/// # let mut request = Request::new(());
/// let claims: Claims = [("sub", "alice")].into_iter().collect();
/// request.extensions_mut().insert(claims);
/// ```
///
/// Only what is put there by the server's own code counts; nothing a client
/// sends can get there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Claims(Arc<BTreeMap<Box<str>, Box<str>>>);

impl Claims {
    /// What is known under a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(AsRef::as_ref)
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Claims {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(claims: I) -> Self {
        let own = |(name, value): (N, V)| (name.into(), value.into());
        Self(Arc::new(claims.into_iter().map(own).collect()))
    }
}

/// The names alone: the values say who somebody is.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
