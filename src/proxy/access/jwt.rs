//! Whether a token is good, and what it says.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::AccessError;
use super::jwks::Jwks;
use super::token::{Lack, Places, Token};
use crate::proxy::config::model;
use crate::proxy::kept::Kept;
use crate::resume::Claims;
use crate::resume::settings::{Credential, Mode, Settings};

/// No stream is that old; beyond it, timers overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Verifies the tokens of one route.
pub(super) struct Jwt {
    places: Places,
    keys: Vec<Key>,
    jwks: Option<Jwks>,
    algorithms: Vec<Algorithm>,
    /// What is asked of every token, the algorithm aside.
    validation: Validation,
    leeway: Duration,
    /// Claims by which the engine knows whose a stream is.
    principal: Vec<String>,
    told: Vec<(String, HeaderName)>,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Who has brought a token that is good.
pub(super) struct Bearer {
    /// For the engine.
    pub(super) claims: Claims,
    /// For the upstream.
    pub(super) told: HeaderMap,
    /// When the token is over, if that can happen while anybody waits for it.
    pub(super) expires: Option<Instant>,
}

/// Why a token does not let in.
#[derive(Debug)]
pub(super) enum Rejection {
    /// It is not good. The text says why, for the log.
    Token(String),
    /// The issuer's keys cannot be had.
    NoKeys,
}

impl Jwt {
    /// Keys of an issuer that is known already are not asked for again.
    pub(super) fn new(
        jwt: &model::Jwt,
        sse: &Settings,
        issuers: &mut Kept<Jwks>,
    ) -> Result<Self, AccessError> {
        let load = |key: &model::JwtKey| {
            Ok(Key {
                id: key.id.clone(),
                algorithm: key.algorithm,
                decoding: key
                    .load()
                    .map_err(|why| AccessError::Key(named(key, &why)))?,
            })
        };
        let issuer = |url: &Uri| issuers.get(url.to_string(), || Jwks::new(url));
        let principal = sse
            .principal
            .iter()
            .filter_map(|credential| match credential {
                Credential::Claim(name) => Some(name.clone()),
                Credential::Header(_) | Credential::Cookie(_) => None,
            });
        Ok(Self {
            places: places(jwt, sse),
            keys: jwt.keys.iter().map(load).collect::<Result<_, _>>()?,
            jwks: jwt.jwks.as_ref().map(issuer).transpose()?,
            algorithms: jwt.algorithms.clone(),
            validation: validation(jwt),
            leeway: jwt.leeway,
            principal: principal.collect(),
            told: jwt.claims_to_headers.clone(),
        })
    }

    /// The token of a request.
    pub(super) fn token(&self, parts: &mut Parts) -> Result<Token, Lack> {
        self.places.take(parts)
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Bearer, Rejection> {
        let header = decode_header(token).map_err(|_| rejected("it is no JWT"))?;
        let algorithm = header.alg;
        if !self.algorithms.contains(&algorithm) {
            let why = format!("{algorithm:?} is not among the route's algorithms");
            return Err(Rejection::Token(why));
        }
        // RFC 7515 §4.1.11: what must be understood, and is not.
        if header.crit.is_some() {
            return Err(rejected("it has extensions that are critical"));
        }
        let id = header.kid.as_deref();
        let wanted = |key: &&Key| {
            let named = key.id.as_deref().zip(id).is_none_or(|(key, id)| key == id);
            key.algorithm == algorithm && named
        };
        let mine = self.keys.iter().filter(wanted).map(|key| &key.decoding);
        let mut claims = self.claims(token, algorithm, mine)?;
        if let (None, Some(jwks)) = (&claims, &self.jwks) {
            let theirs = jwks.keys(id, algorithm).await.ok_or(Rejection::NoKeys)?;
            claims = self.claims(token, algorithm, theirs.iter().map(|key| &key.decoding))?;
        }
        match claims {
            Some(claims) => self.bearer(&claims),
            None => Err(rejected("no known key has signed it")),
        }
    }

    /// The claims, if one of the keys has signed them, and they hold.
    fn claims<'a>(
        &self,
        token: &str,
        algorithm: Algorithm,
        keys: impl Iterator<Item = &'a DecodingKey>,
    ) -> Result<Option<Map<String, Value>>, Rejection> {
        let mut validation = self.validation.clone();
        // The key's, not whatever the token says: a public key is no secret.
        validation.algorithms = vec![algorithm];
        for key in keys {
            match decode::<Map<String, Value>>(token, key, &validation) {
                Ok(data) => return Ok(Some(data.claims)),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {}
                Err(error) => return Err(Rejection::Token(error.to_string())),
            }
        }
        Ok(None)
    }

    fn bearer(&self, claims: &Map<String, Value>) -> Result<Bearer, Rejection> {
        let mut known = Vec::with_capacity(self.principal.len());
        for name in &self.principal {
            match claim(claims, name) {
                Some(value) => known.push((name.as_str(), value)),
                // All who have none of it would be one.
                None if name != "iss" => {
                    let why = format!("it has no claim {name}, by which streams are known");
                    return Err(Rejection::Token(why));
                }
                None => {}
            }
        }
        let mut told = HeaderMap::with_capacity(self.told.len());
        for (name, header) in &self.told {
            let Some(value) = claim(claims, name) else {
                continue;
            };
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| Rejection::Token(format!("its claim {name} fits into no header")))?;
            told.insert(header.clone(), value);
        }
        Ok(Bearer {
            claims: known.into_iter().collect(),
            told,
            expires: self.expiry(claims),
        })
    }

    fn expiry(&self, claims: &Map<String, Value>) -> Option<Instant> {
        let expiry = claims.get("exp")?;
        let seconds = expiry.as_u64().map(Duration::from_secs);
        let fraction = || Duration::try_from_secs_f64(expiry.as_f64()?).ok();
        let at = UNIX_EPOCH.checked_add(seconds.or_else(fraction)?)?;
        let left = at
            .checked_add(self.leeway)?
            .duration_since(SystemTime::now());
        // One that ends just now does so at once.
        let left = left.unwrap_or_default();
        (left < LONGEST).then(|| Instant::now() + left)
    }
}

/// A shared stream's upstream is told nothing of its first client; what the engine
/// does not know for a credential is taken out here.
fn places(jwt: &model::Jwt, sse: &Settings) -> Places {
    let keyed = |name: &HeaderName| *name == AUTHORIZATION || sse.key.headers.contains(name);
    let shared = sse.mode == Mode::Shared && !jwt.header.as_ref().is_none_or(keyed);
    Places {
        header: jwt.header.clone(),
        cookie: jwt.cookie.clone(),
        query: jwt.query.clone(),
        forward: jwt.forward_token && !shared,
    }
}

fn validation(jwt: &model::Jwt) -> Validation {
    let mut validation = Validation::new(Algorithm::default());
    let mut required = vec!["exp"];
    validation.leeway = jwt.leeway.as_secs();
    validation.validate_nbf = true;
    validation.validate_aud = !jwt.audience.is_empty();
    if !jwt.audience.is_empty() {
        validation.set_audience(&jwt.audience);
        required.push("aud");
    }
    if !jwt.issuer.is_empty() {
        validation.set_issuer(&jwt.issuer);
        // Otherwise, one that does not say whose it is would be anybody's.
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    validation
}

/// A claim by its name, or by a JSON pointer to it, as text; lists of values as
/// one, separated by commas. Objects have none.
fn claim(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let value = match name.strip_prefix('/') {
        None => claims.get(name)?,
        Some(rest) => {
            let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let first = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
            match rest {
                "" => first,
                rest => first.pointer(&format!("/{rest}"))?,
            }
        }
    };
    let single = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(values) => {
            let values: Option<Vec<_>> = values.iter().map(single).collect();
            values.map(|values| values.join(","))
        }
        value => single(value),
    }
}

fn rejected(why: &str) -> Rejection {
    Rejection::Token(why.to_owned())
}

/// Says which key cannot be used.
fn named(key: &model::JwtKey, why: &str) -> String {
    match &key.source {
        model::KeySource::File(path) => format!("{} {why}", path.display()),
        model::KeySource::Secret(_) => format!("a secret {why}"),
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(why) => f.write_str(why),
            Self::NoKeys => f.write_str("the issuer's keys cannot be had"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_are_found_by_name_or_pointer() {
        let Value::Object(claims) = json!({
            "sub": "alice",
            "n": 7,
            "ok": true,
            "none": null,
            "roles": ["a", "b"],
            "odd": [{"a": 1}],
            "https://app.example/tenant": "t",
            "realm": {"roles": ["c"], "id": "r"},
        }) else {
            unreachable!()
        };
        for (name, value) in [
            ("sub", Some("alice")),
            ("/sub", Some("alice")),
            ("n", Some("7")),
            ("ok", Some("true")),
            ("none", None),
            ("missing", None),
            ("roles", Some("a,b")),
            ("/roles/1", Some("b")),
            ("odd", None),
            ("realm", None),
            ("https://app.example/tenant", Some("t")),
            ("/realm/id", Some("r")),
            ("/realm/roles", Some("c")),
            ("/realm/none", None),
        ] {
            assert_eq!(claim(&claims, name).as_deref(), value, "{name}");
        }
    }
}
