//! `jwt`: whose token lets in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, Uri};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use super::{Result, cookie_name, header, identity_header, parameter, url};
use crate::proxy::config::error::io_reason;
use crate::proxy::config::print::{Page, list, or_off, quote, quote_key, word};
use crate::proxy::config::secret::Secret;
use crate::proxy::config::section::Section;
use crate::proxy::config::tree::{Entry, Node};
use crate::proxy::config::units::format_duration;

const KEYS: [&str; 11] = [
    "keys",
    "jwks",
    "algorithms",
    "issuer",
    "audience",
    "leeway",
    "header",
    "cookie",
    "query",
    "claims_to_headers",
    "forward_token",
];

const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// What issuers of today sign with.
const USUAL: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// A shorter secret can be found out from one token, without asking anybody
/// (RFC 7518 §3.2 asks for as much as the hash has).
const LEAST_SECRET: usize = 32;

/// Clocks that are further apart are broken.
const LONGEST_LEEWAY: Duration = Duration::from_secs(600);

/// JSON Web Tokens (RFC 7519): by what they are verified, where they are found,
/// and what becomes of what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Keys of the file.
    pub keys: Vec<JwtKey>,
    /// Where the issuer has its keys (RFC 7517).
    pub jwks: Option<Uri>,
    /// What a token may be signed with: what else it says of that is not believed.
    /// Default: what `keys` say, and `RS256`, `ES256`, `EdDSA` with `jwks`.
    pub algorithms: Vec<Algorithm>,
    /// Whose tokens, if that matters: one of these is `iss`.
    pub issuer: Vec<String>,
    /// For whom, if that matters: one of these is in `aud`.
    pub audience: Vec<String>,
    /// How far clocks may be apart. Default 30 s.
    pub leeway: Duration,
    /// The header it may be in. Default: `Authorization`.
    pub header: Option<HeaderName>,
    /// The cookie.
    pub cookie: Option<String>,
    /// The query parameter, which is taken out.
    pub query: Option<String>,
    /// What the upstream is told, by claim: a name, or a JSON pointer.
    pub claims_to_headers: Vec<(String, HeaderName)>,
    /// Whether the upstream gets the token that came in a header or a cookie.
    /// Default: yes.
    pub forward_token: bool,
}

/// A key that tokens are verified by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtKey {
    /// Where it is.
    pub source: KeySource,
    /// The one thing it is good for.
    pub algorithm: Algorithm,
    /// What tokens that name a key (`kid`) call it; `None` to try it for any.
    pub id: Option<String>,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Here: what both sides know.
    Secret(Secret<String>),
    /// In a PEM file: the public half.
    File(PathBuf),
}

impl Jwt {
    /// The default of everything, and no key.
    pub fn new() -> Self {
        Self {
            keys: Vec::new(),
            jwks: None,
            algorithms: Vec::new(),
            issuer: Vec::new(),
            audience: Vec::new(),
            leeway: Duration::from_secs(30),
            header: Some(AUTHORIZATION),
            cookie: None,
            query: None,
            claims_to_headers: Vec::new(),
            forward_token: true,
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self::new()
    }
}

impl JwtKey {
    /// Reads the key. Errors are worded to follow what was to be read.
    pub(crate) fn load(&self) -> std::result::Result<DecodingKey, String> {
        match &self.source {
            KeySource::Secret(secret) => Ok(DecodingKey::from_secret(secret.expose().as_bytes())),
            KeySource::File(path) => {
                let pem = std::fs::read(path)
                    .map_err(|why| format!("cannot be read: {}", io_reason(&why)))?;
                public_key(&pem, self.algorithm)
            }
        }
    }
}

/// The public key of a PEM file, if it is one for this algorithm.
fn public_key(pem: &[u8], algorithm: Algorithm) -> std::result::Result<DecodingKey, String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains(" PRIVATE KEY-----") {
        return Err(
            "holds a private key, which only the issuer should have; write its public half \
             (openssl pkey -pubout)"
                .into(),
        );
    }
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(
            "holds a certificate; write its public key alone (openssl x509 -pubkey -noout)".into(),
        );
    }
    let key = match algorithm.family() {
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem),
        AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem),
        AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem),
        AlgorithmFamily::Hmac => {
            return Err("cannot be used with HS256, HS384 or HS512, which need `secret`".into());
        }
    };
    let fits = |key: &DecodingKey| match algorithm {
        // The points of the two curves differ in length.
        Algorithm::ES256 => key.try_get_as_bytes().is_ok_and(|point| point.len() == 65),
        Algorithm::ES384 => key.try_get_as_bytes().is_ok_and(|point| point.len() == 97),
        _ => true,
    };
    key.ok().filter(fits).ok_or_else(|| {
        format!(
            "holds no public key for {algorithm:?}; a PEM file with \
             `-----BEGIN PUBLIC KEY-----` is needed"
        )
    })
}

pub(super) fn read(node: &Node, folder: &Path) -> Result<Jwt> {
    let section = Section::open(node, &KEYS)?;
    let keys = section.read("keys", |node| {
        node.items()?.iter().map(|item| key(item, folder)).collect()
    })?;
    let default = Jwt::new();
    let mut jwt = Jwt {
        keys: keys.unwrap_or_default(),
        jwks: section.read_or_off("jwks", |node| url(node, "https://issuer.example/jwks.json"))?,
        algorithms: section.read("algorithms", algorithms)?.unwrap_or_default(),
        issuer: section.read_or_off("issuer", texts)?.unwrap_or_default(),
        audience: section.read_or_off("audience", texts)?.unwrap_or_default(),
        leeway: section.read("leeway", leeway)?.unwrap_or(default.leeway),
        header: match section.get("header") {
            Some(node) => node.optional(header)?,
            None => default.header,
        },
        cookie: section.read_or_off("cookie", cookie_name)?,
        query: section.read_or_off("query", parameter)?,
        claims_to_headers: section
            .read("claims_to_headers", |node| {
                node.entries()?.iter().map(claim_to_header).collect()
            })?
            .unwrap_or_default(),
        forward_token: section
            .read("forward_token", |node| {
                node.word(&[("true", true), ("false", false)])
            })?
            .unwrap_or(default.forward_token),
    };
    if jwt.keys.is_empty() && jwt.jwks.is_none() {
        return Err(node.error(
            "has no key that tokens could be verified by; add `keys`, or `jwks` with the URL \
             where the issuer has them",
        ));
    }
    if jwt.header.is_none() && jwt.cookie.is_none() && jwt.query.is_none() {
        return Err(node.error(
            "looks for the token nowhere; name a `header`, a `cookie` or a `query` parameter",
        ));
    }
    fit_algorithms(&mut jwt, &section)?;
    Ok(jwt)
}

/// A token is not asked what it was signed with, so the file says it.
fn fit_algorithms(jwt: &mut Jwt, section: &Section<'_>) -> Result<()> {
    let Some(node) = section.get("algorithms") else {
        let usual = USUAL.iter().filter(|_| jwt.jwks.is_some());
        for algorithm in jwt.keys.iter().map(|key| &key.algorithm).chain(usual) {
            if !jwt.algorithms.contains(algorithm) {
                jwt.algorithms.push(*algorithm);
            }
        }
        return Ok(());
    };
    let listed = |key: &&JwtKey| !jwt.algorithms.contains(&key.algorithm);
    if let Some(key) = jwt.keys.iter().find(listed) {
        return Err(node.error(format!(
            "does not list {:?}, for which there is a key; add it, or remove the key",
            key.algorithm
        )));
    }
    let secret = |a: &&Algorithm| {
        a.family() == AlgorithmFamily::Hmac && !jwt.keys.iter().any(|key| key.algorithm == **a)
    };
    match jwt.algorithms.iter().find(secret) {
        Some(algorithm) => Err(node.error(format!(
            "lists {algorithm:?}, which needs a secret, and what `jwks` has is public; remove \
             it, or add the secret to `keys`"
        ))),
        None => Ok(()),
    }
}

fn key(node: &Node, folder: &Path) -> Result<JwtKey> {
    let section = Section::open(node, &["secret", "file", "algorithm", "id"])?;
    let Some(algorithm) = section.read("algorithm", |node| node.word(&ALGORITHMS))? else {
        return Err(node.error("has no `algorithm`; write the one that tokens are signed with"));
    };
    let id = section.read_or_off("id", |node| node.text().map(str::to_owned))?;
    let is_secret = algorithm.family() == AlgorithmFamily::Hmac;
    let (source, at) = match (section.get("secret"), section.get("file")) {
        (Some(at), None) if is_secret => (KeySource::Secret(secret(at)?), at),
        (None, Some(at)) if !is_secret => (KeySource::File(path(at, folder)?), at),
        (Some(_), Some(_)) => {
            return Err(node.error("has a `secret` and a `file`; a key is one of both"));
        }
        (None, None) => {
            return Err(node.error(
                "has no key; write `secret` for HS256, HS384 or HS512, and for any other \
                 algorithm `file`, a PEM file with the public key",
            ));
        }
        // A public key taken for a secret would let everybody sign.
        (None, Some(at)) => {
            return Err(at.error(format!(
                "cannot be used with {algorithm:?}, which takes a `secret`; if this is a public \
                 key, write the algorithm that belongs to it"
            )));
        }
        (Some(at), None) => {
            return Err(at.error(format!(
                "cannot be used with {algorithm:?}, which takes a public key; name its PEM file \
                 as `file`"
            )));
        }
    };
    let key = JwtKey {
        source,
        algorithm,
        id,
    };
    match key.load() {
        Ok(_) => Ok(key),
        Err(why) => Err(at.error(format!("{} {why}", at.shown()))),
    }
}

fn secret(node: &Node) -> Result<Secret<String>> {
    let text = node.text()?;
    if text.len() < LEAST_SECRET {
        // Not shown.
        return Err(node.error(format!(
            "is too short: who has a token could find it out; write {LEAST_SECRET} characters \
             or more (openssl rand -base64 32)"
        )));
    }
    Ok(Secret::shown_as(text.to_owned(), node.reference()))
}

/// Kept absolute: it is read again when the proxy starts, and the printed
/// configuration may be stored elsewhere.
fn path(node: &Node, folder: &Path) -> Result<PathBuf> {
    std::path::absolute(folder.join(node.text()?))
        .map_err(|why| node.error(format!("{} is no path: {}", node.shown(), io_reason(&why))))
}

fn algorithms(node: &Node) -> Result<Vec<Algorithm>> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.error("is empty and would let no token in; list some, or remove the key"));
    }
    items.iter().map(|item| item.word(&ALGORITHMS)).collect()
}

/// One text, or a list of them.
fn texts(node: &Node) -> Result<Vec<String>> {
    let text = |node: &Node| node.text().map(str::to_owned);
    match text(node) {
        Ok(one) => Ok(vec![one]),
        Err(_) => node.items()?.iter().map(text).collect(),
    }
}

fn leeway(node: &Node) -> Result<Duration> {
    let leeway = node.duration()?;
    if leeway <= LONGEST_LEEWAY {
        return Ok(leeway);
    }
    Err(node.error(format!(
        "{} is too long: a token would be good for that long after its end; write {} or less",
        node.shown(),
        format_duration(LONGEST_LEEWAY)
    )))
}

fn claim_to_header(entry: &Entry) -> Result<(String, HeaderName)> {
    if entry.name.is_empty() {
        return Err(entry.error("names no claim; write one, such as sub, or /realm/roles"));
    }
    Ok((entry.name.clone(), identity_header(&entry.node)?))
}

pub(super) fn print(page: &mut Page, jwt: &Jwt) {
    page.line(2, "jwt:");
    let texts = |texts: &[String]| list(texts.iter().map(|text| quote(text)));
    page.pair(3, "keys", &list(jwt.keys.iter().map(print_key)));
    let jwks = jwt.jwks.as_ref().map(ToString::to_string);
    page.pair(3, "jwks", &or_off(jwks, |url| quote(&url)));
    let algorithms = jwt.algorithms.iter().map(|a| word(&ALGORITHMS, a).into());
    page.pair(3, "algorithms", &list(algorithms));
    page.pair(3, "issuer", &texts(&jwt.issuer));
    page.pair(3, "audience", &texts(&jwt.audience));
    page.pair(3, "leeway", &format_duration(jwt.leeway));
    let header = jwt.header.as_ref().map(HeaderName::as_str);
    page.pair(3, "header", &or_off(header, quote));
    page.pair(3, "cookie", &or_off(jwt.cookie.as_deref(), quote));
    page.pair(3, "query", &or_off(jwt.query.as_deref(), quote));
    let claims = jwt.claims_to_headers.iter();
    let claims: Vec<_> = claims
        .map(|(claim, header)| format!("{}: {}", quote_key(claim), quote(header.as_str())))
        .collect();
    page.pair(
        3,
        "claims_to_headers",
        &format!("{{ {} }}", claims.join(", ")),
    );
    let forward = if jwt.forward_token { "true" } else { "false" };
    page.pair(3, "forward_token", forward);
}

fn print_key(key: &JwtKey) -> String {
    let source = match &key.source {
        // What stands for it, in which `${NAME}` means the variable.
        KeySource::Secret(secret) => format!("secret: {}", quote_key(secret.shown())),
        KeySource::File(path) => format!("file: {}", quote(&path.to_string_lossy())),
    };
    let algorithm = word(&ALGORITHMS, &key.algorithm);
    let id = or_off(key.id.as_deref(), quote);
    format!("{{ {source}, algorithm: {algorithm}, id: {id} }}")
}

/// What lets in more than may be meant.
pub(super) fn warnings(jwt: &Jwt, key: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if jwt.jwks.is_some() && jwt.audience.is_empty() {
        warnings.push(format!(
            "{key}.jwt: names no `audience`, so a token that its issuer made for any other \
             service is good here"
        ));
    }
    let far = jwt.jwks.as_ref().filter(|url| {
        let host = url.host().unwrap_or_default();
        let near = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        url.scheme_str() == Some("http") && !near
    });
    if far.is_some() {
        warnings.push(format!(
            "{key}.jwt.jwks: is not https, so whoever is on the way to it can put their own key \
             there"
        ));
    }
    warnings
}
