//! Somebody who signs tokens.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _,
    SignatureAlgorithm,
};
use serde_json::{Value, json};

const SECRET: &str = "a secret that is long enough to be one";

/// A key pair and what it is for.
pub(super) struct Issuer {
    algorithm: Algorithm,
    key: EncodingKey,
    pair: Option<KeyPair>,
    id: Option<&'static str>,
}

impl Issuer {
    pub(super) fn hs256() -> Self {
        Self {
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(SECRET.as_bytes()),
            pair: None,
            id: None,
        }
    }

    pub(super) fn rs256() -> Self {
        Self::of(Algorithm::RS256, &PKCS_RSA_SHA256)
    }

    pub(super) fn es256() -> Self {
        Self::of(Algorithm::ES256, &PKCS_ECDSA_P256_SHA256)
    }

    pub(super) fn eddsa() -> Self {
        Self::of(Algorithm::EdDSA, &PKCS_ED25519)
    }

    fn of(algorithm: Algorithm, kind: &'static SignatureAlgorithm) -> Self {
        let pair = KeyPair::generate_for(kind).unwrap();
        let pem = pair.serialize_pem();
        let key = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_ed_pem(pem.as_bytes()),
        };
        Self {
            algorithm,
            key: key.unwrap(),
            pair: Some(pair),
            id: None,
        }
    }

    /// Whose tokens say which key it was.
    pub(super) fn called(self, id: &'static str) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = self.id.map(str::to_owned);
        self.sign_with(&header, claims)
    }

    pub(super) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }

    pub(super) fn public_pem(&self) -> String {
        self.pair.as_ref().unwrap().public_key_pem()
    }

    /// What the file says of the key.
    pub(super) fn yaml(&self) -> String {
        if self.pair.is_none() {
            return format!("{{ secret: \"{SECRET}\", algorithm: HS256 }}");
        }
        let file = file(&self.public_pem());
        let (file, algorithm) = (file.display(), self.algorithm);
        format!("{{ file: \"{file}\", algorithm: {algorithm:?} }}")
    }

    /// The key as an issuer publishes it.
    pub(super) fn jwk(&self) -> Value {
        let raw = self.pair.as_ref().unwrap().der_bytes().to_vec();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self.algorithm {
            // An uncompressed point: 4, x, y.
            Algorithm::ES256 => json!({
                "kty": "EC", "crv": "P-256", "x": part(&raw[1..33]), "y": part(&raw[33..65]),
            }),
            Algorithm::EdDSA => json!({ "kty": "OKP", "crv": "Ed25519", "x": part(&raw) }),
            other => panic!("no JWK of {other:?} is needed"),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }
}

/// A file of this test run.
pub(super) fn file(text: &str) -> PathBuf {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("access");
    fs::create_dir_all(&folder).unwrap();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = folder.join(format!("{}-{number}.pem", std::process::id()));
    fs::write(&file, text).unwrap();
    file
}

/// The time, and so many seconds.
pub(super) fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

/// What most tokens say.
pub(super) fn alice() -> Value {
    json!({ "iss": "https://issuer.example", "sub": "alice", "exp": from_now(3600) })
}

pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
