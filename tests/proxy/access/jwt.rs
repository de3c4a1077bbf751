//! Which tokens let in, and what the upstream is told of whom.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::issuer::{Issuer, alice, bearer, file, from_now};
use super::{agreeable, get, proxy, refused};
use crate::harness::Answer;
use crate::upstream::header;

/// A token with some of its claims changed; `null` takes one out.
fn changed(changes: &Value) -> Value {
    let mut claims = alice();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn assert_unauthorized(answer: &Answer, challenge: &str) {
    assert_eq!(answer.status, 401);
    assert_eq!(answer.headers["www-authenticate"], challenge);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.text(), "authentication is required\n");
}

#[tokio::test]
async fn every_family_of_signatures_lets_in() {
    let upstream = agreeable().await;
    let issuers = [
        Issuer::hs256(),
        Issuer::rs256(),
        Issuer::es256(),
        Issuer::eddsa(),
    ];
    let keys = issuers
        .iter()
        .map(|issuer| format!("      - {}\n", issuer.yaml()));
    let keys: String = keys.collect();
    let proxy = proxy(&upstream.url(), &format!("    jwt:\n      keys:\n{keys}")).await;
    for issuer in &issuers {
        let token = bearer(&issuer.sign(&alice()));
        let answer = get(&proxy, "/", &[("authorization", &token)]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
    }
    // Of the same kinds, by somebody else.
    for stranger in [Issuer::rs256(), Issuer::es256(), Issuer::eddsa()] {
        let token = bearer(&stranger.sign(&alice()));
        let answer = get(&proxy, "/", &[("authorization", &token)]).await;
        assert_unauthorized(&answer, "Bearer error=\"invalid_token\"");
    }
    assert_eq!(upstream.heads().len(), 4);
    assert_eq!(refused(&proxy, "token").await, 3);
}

#[tokio::test]
async fn without_a_token_nobody_is_let_in() {
    let upstream = agreeable().await;
    let keys = Issuer::hs256().yaml();
    let proxy = proxy(&upstream.url(), &format!("    jwt: {{ keys: [{keys}] }}\n")).await;
    assert_unauthorized(&get(&proxy, "/", &[]).await, "Bearer");
    let basic = [("authorization", "Basic eA==")];
    assert_unauthorized(&get(&proxy, "/", &basic).await, "Bearer");
    assert_eq!(refused(&proxy, "no_token").await, 2);
    for bad in ["Bearer x", "Bearer a.b.c", "Bearer ", "Bearer ...."] {
        let answer = get(&proxy, "/", &[("authorization", bad)]).await;
        assert_eq!(answer.status, 401, "{bad}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn claims_that_do_not_hold_are_refused() {
    let upstream = agreeable().await;
    let issuer = Issuer::hs256();
    let route = format!(
        "    jwt:
      keys: [{}]
      issuer: https://issuer.example
      audience: [events, chat]
      leeway: 30s
",
        issuer.yaml()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    for (changes, status) in [
        (json!({ "aud": "events" }), 200),
        (json!({ "aud": ["other", "chat"] }), 200),
        (json!({ "aud": "events", "exp": from_now(-20) }), 200),
        (json!({ "aud": "events", "exp": from_now(-3600) }), 401),
        (json!({ "aud": "events", "exp": null }), 401),
        (json!({ "aud": "events", "exp": "soon" }), 401),
        (json!({ "aud": "events", "nbf": from_now(20) }), 200),
        (json!({ "aud": "events", "nbf": from_now(3600) }), 401),
        (json!({ "aud": "other" }), 401),
        (json!({}), 401),
        (
            json!({ "aud": "events", "iss": "https://other.example" }),
            401,
        ),
        (json!({ "aud": "events", "iss": null }), 401),
        // Streams are known by it.
        (json!({ "aud": "events", "sub": null }), 401),
        (json!({ "aud": "events", "sub": {"a": 1} }), 401),
    ] {
        let token = bearer(&issuer.sign(&changed(&changes)));
        let answer = get(&proxy, "/", &[("authorization", &token)]).await;
        assert_eq!(answer.status, status, "{changes}");
    }
}

#[tokio::test]
async fn a_token_does_not_say_how_it_is_verified() {
    let upstream = agreeable().await;
    let issuer = Issuer::rs256();
    let route = format!("    jwt: {{ keys: [{}] }}\n", issuer.yaml());
    let proxy = proxy(&upstream.url(), &route).await;
    // Everybody has the public key; as a secret it must be good for nothing.
    let public = EncodingKey::from_secret(issuer.public_pem().as_bytes());
    let confused = encode(&Header::new(Algorithm::HS256), &alice(), &public).unwrap();
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.";
    let mut critical = Header::new(Algorithm::RS256);
    critical.crit = Some(vec!["b64".into()]);
    let critical = issuer.sign_with(&critical, &alice());
    let other_hash = issuer.sign_with(&Header::new(Algorithm::RS512), &alice());
    for token in [confused.as_str(), none, &critical, &other_hash] {
        let answer = get(&proxy, "/", &[("authorization", &bearer(token))]).await;
        assert_eq!(answer.status, 401, "{token}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_upstream_is_told_who_it_is_by_nobody_else() {
    let upstream = agreeable().await;
    let issuer = Issuer::hs256();
    let route = format!(
        "    jwt:
      keys: [{}]
      forward_token: false
      claims_to_headers: {{ sub: X-User, /realm/roles: X-Roles, tenant: X-Tenant }}
",
        issuer.yaml()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    let token = issuer.sign(&changed(&json!({ "realm": { "roles": ["a", "b"] } })));
    let answer = get(
        &proxy,
        "/",
        &[
            ("authorization", &bearer(&token)),
            ("connection", "x-user, x-roles"),
            ("x-user", "root"),
            ("x_user", "root"),
            ("x-tenant", "1"),
            ("x-own", "1"),
        ],
    )
    .await;
    assert_eq!(answer.status, 200);
    let head = &upstream.heads()[0];
    assert_eq!(header(head, "x-user"), Some("alice"));
    assert_eq!(header(head, "x-roles"), Some("a,b"));
    assert_eq!(header(head, "x-own"), Some("1"));
    for gone in ["x_user", "x-tenant", "authorization"] {
        assert_eq!(header(head, gone), None, "{gone}: {head}");
    }
}

#[tokio::test]
async fn a_token_may_be_in_a_cookie_or_a_header_of_its_own() {
    let upstream = agreeable().await;
    let issuer = Issuer::hs256();
    let route = format!(
        "    jwt: {{ keys: [{}], header: x-token, cookie: session, forward_token: false }}\n",
        issuer.yaml()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    let token = issuer.sign(&alice());
    let cookie = format!("theme=dark; session={token}");
    for found in [("x-token", token.as_str()), ("cookie", &cookie)] {
        assert_eq!(get(&proxy, "/", &[found]).await.status, 200);
    }
    let heads = upstream.heads();
    assert_eq!(header(&heads[0], "x-token"), None);
    assert_eq!(header(&heads[1], "cookie"), Some("theme=dark"));
    let elsewhere = bearer(&token);
    let answer = get(&proxy, "/", &[("authorization", &elsewhere)]).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_key_that_cannot_be_read_any_more_stops_the_start() {
    let issuer = Issuer::es256();
    let key = file(&issuer.public_pem());
    let route = format!(
        "    jwt: {{ keys: [{{ file: \"{}\", algorithm: ES256 }}] }}\n",
        key.display()
    );
    let config = super::config("http://127.0.0.1:9", &route);
    std::fs::remove_file(&key).unwrap();
    let error = tower_sse::proxy::Server::bind(config).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("cannot be read: no such file"), "{text}");
}

#[tokio::test]
async fn a_claim_may_take_the_place_of_the_token() {
    let upstream = agreeable().await;
    let issuer = Issuer::hs256();
    let route = format!(
        "    jwt: {{ keys: [{}], claims_to_headers: {{ sub: Authorization, iss: X-Who, \
         /sub: X-Who }} }}\n",
        issuer.yaml()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    let token = bearer(&issuer.sign(&alice()));
    let headers = [("authorization", token.as_str()), ("x-who", "root")];
    assert_eq!(get(&proxy, "/", &headers).await.status, 200);
    let head = &upstream.heads()[0];
    for name in ["authorization", "x-who"] {
        let lines: Vec<_> = head.lines().filter(|l| l.starts_with(name)).collect();
        assert_eq!(lines, [format!("{name}: alice")], "once");
    }
}
