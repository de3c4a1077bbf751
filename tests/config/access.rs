//! `cors`, `jwt` and `forward_auth`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use tower_sse::proxy::Config;
use tower_sse::proxy::config::model::{
    Access, AllowedHeaders, Cors, ForwardAuth, KeySource, Origin, Origins,
};
use tower_sse::resume::settings::Credential;

use super::parse;

const KEY: &str = "keys: [{ secret: \"${LONG_SECRET}-${LONG_SECRET}\", algorithm: HS256 }]";

/// A configuration whose route has this line.
fn with(line: &str) -> String {
    format!("routes:\n  - path: /\n    upstream: http://app\n    {line}\n")
}

fn read(line: &str) -> Config {
    let text = with(line);
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn access(line: &str) -> Access {
    read(line).routes.remove(0).access
}

fn check(table: &[(&str, &str)]) {
    for (line, expected) in table {
        let error = match parse(&with(line)) {
            Ok(config) => panic!("accepted: {line}\n{config:#?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(error, format!("proxy.yaml:{expected}"), "\n{line}");
    }
}

/// A file with a public key, and its name.
fn public_key(name: &str, kind: &'static rcgen::SignatureAlgorithm) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("access-config");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    let pair = KeyPair::generate_for(kind).unwrap();
    fs::write(&file, pair.public_key_pem()).unwrap();
    fs::write(file.with_extension("private.pem"), pair.serialize_pem()).unwrap();
    file
}

#[test]
fn nothing_is_asked_of_anybody_by_default() {
    assert_eq!(access("methods: ~"), Access::default());
    let off = "cors: ~\n    jwt: ~\n    forward_auth: ~";
    assert_eq!(access(off), Access::default());
}

#[test]
fn cors_is_read() {
    let origin = |text| Origin::parse(text).unwrap();
    let listed = Origins::List(vec![
        origin("https://app.example"),
        origin("https://*.pages.example"),
    ]);
    assert_eq!(
        access("cors: { origins: [\"https://APP.example:443\", \"https://*.pages.example\"] }")
            .cors,
        Some(Cors::new(listed))
    );
    assert_eq!(
        access(
            "cors: { origins: any, max_age: 1h, methods: [GET], headers: [X-A], expose: [X-B] }"
        )
        .cors,
        Some(Cors {
            max_age: Duration::from_secs(3600),
            methods: Some(vec![Method::GET]),
            headers: AllowedHeaders::Also(vec!["x-a".parse().unwrap()]),
            expose: vec!["x-b".parse().unwrap()],
            ..Cors::new(Origins::Any)
        })
    );
}

#[test]
fn forward_auth_is_read() {
    let url = "http://127.0.0.1:4180/auth?x=y";
    let read = access(&format!("forward_auth: {{ url: \"{url}\" }}"));
    let default = ForwardAuth::new(url.parse().unwrap());
    assert_eq!(read.forward_auth, Some(default));
}

#[test]
fn a_jwt_makes_the_principal_unless_one_is_written() {
    let claims = |names: &[&str]| -> Vec<Credential> {
        let claims = names.iter().map(|name| Credential::Claim((*name).into()));
        claims.collect()
    };
    let principal = |line: &str| read(line).routes.remove(0).sse.principal;
    let jwt = format!("jwt: {{ {KEY} }}");
    assert_eq!(principal(&jwt), claims(&["iss", "sub"]));
    assert_eq!(
        principal(&format!("{jwt}\n    sse: {{ profile: openai }}")),
        claims(&["iss", "sub"])
    );
    assert_eq!(
        principal(&format!(
            "{jwt}\n    sse: {{ principal: [\"claim:team\"] }}"
        )),
        claims(&["team"])
    );
    assert_eq!(
        principal(&format!("{jwt}\n    sse: {{ principal: [] }}")),
        []
    );
}

#[test]
fn what_is_printed_reads_back_and_holds_no_secret() {
    let rsa = public_key("printed.pem", &PKCS_RSA_SHA256);
    let rsa = rsa.display();
    for line in [
        "cors: { origins: any }",
        "cors: { origins: [\"https://a.example\"], credentials: true, methods: [GET, POST], headers: any }",
        "forward_auth: { url: \"https://auth.example/a?b=$$c\", timeout: 1s, request_headers: [], copy_headers: [x-user], cookies: [a, b] }",
        "jwt: { jwks: \"https://issuer.example/keys\", issuer: a, audience: [b, c], header: ~, cookie: c, query: q }",
        &format!(
            "jwt: {{ keys: [{{ secret: \"${{LONG}}\", algorithm: HS512, id: a }}, {{ file: \"{rsa}\", algorithm: PS256 }}], \
             algorithms: [HS512, PS256, ES256], jwks: \"http://localhost/k\", leeway: 0, forward_token: false, \
             claims_to_headers: {{ sub: x-user, \"/a/$b\": x-b }} }}"
        ),
    ] {
        let env = |name: &str| (name == "LONG").then(|| "hunter2".repeat(9));
        let config = Config::parse("proxy.yaml", &with(line), &env)
            .unwrap_or_else(|error| panic!("{error}\n{line}"));
        let printed = config.to_yaml();
        assert!(!printed.contains("hunter2"), "{printed}");
        let again = Config::parse("proxy.yaml", &printed, &env)
            .unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(again, config, "{printed}");
    }
    // A secret that is in the file is not in what is printed, nor a default of it.
    let config = read(&format!("jwt: {{ {KEY} }}"));
    let printed = config.to_yaml();
    assert!(
        printed.contains("<hidden>") && !printed.contains("hunter2"),
        "{printed}"
    );
    assert!(parse(&printed).is_err(), "what is hidden is no secret");
    assert!(!format!("{config:?}").contains("hunter2"));
    let jwt = config.routes[0].access.jwt.as_ref().unwrap();
    assert!(matches!(&jwt.keys[0].source, KeySource::Secret(secret) if secret.expose().len() > 40));
}

#[test]
fn mistakes_of_cors() {
    check(&[
        (
            "cors: {}",
            "4:11: routes[0].cors: has no `origins`; list those whose pages may use the route, such as [\"https://app.example\"], or write any",
        ),
        (
            "cors: { origins: [] }",
            "4:22: routes[0].cors.origins: is empty and would let no page in; list origins, or remove `cors`",
        ),
        (
            "cors: { origins: all }",
            "4:22: routes[0].cors.origins: is a single value, but a list is needed; write [a, b], or `- ` before each entry",
        ),
        (
            "cors: { origins: [\"*\"] }",
            "4:23: routes[0].cors.origins[0]: \"*\" is not an origin; write `origins: any`, without the list",
        ),
        (
            "cors: { origins: [app.example] }",
            "4:23: routes[0].cors.origins[0]: \"app.example\" is not an origin; write scheme and host, and port if it is not the usual one, such as https://app.example or https://*.app.example",
        ),
        (
            "cors: { origins: [\"https://app.example/\"] }",
            "4:23: routes[0].cors.origins[0]: \"https://app.example/\" is not an origin; write scheme and host, and port if it is not the usual one, such as https://app.example or https://*.app.example",
        ),
        (
            "cors: { origins: any, credentials: true }",
            "4:40: routes[0].cors.credentials: cannot be true with `origins: any`: every page there is could act as whoever looks at it; list the origins",
        ),
        (
            "cors: { origins: any, credentials: yes }",
            "4:40: routes[0].cors.credentials: \"yes\" is not valid; write one of: true, false",
        ),
        (
            "cors: { origins: any, max_age: 2d }",
            "4:36: routes[0].cors.max_age: \"2d\" is longer than any browser keeps it; write 1d or less",
        ),
        (
            "cors: { origins: any, header: [a] }",
            "4:27: routes[0].cors.header: unknown key; did you mean `headers`?",
        ),
        (
            "cors: { origins: any, headers: [\"a b\"] }",
            "4:37: routes[0].cors.headers[0]: \"a b\" is not a header name; write one such as x-user",
        ),
        (
            "cor: {}",
            "4:5: routes[0].cor: unknown key; did you mean `cors`?",
        ),
    ]);
}

#[test]
fn mistakes_of_keys_and_where_they_are_used() {
    let ec = public_key("ec.pem", &PKCS_ECDSA_P256_SHA256);
    let private = ec.with_extension("private.pem");
    let (ec, private) = (ec.display(), private.display());
    let broken = [
        (
            format!("jwt: {{ keys: [{{ file: \"{ec}\", algorithm: RS256 }}] }}"),
            format!("4:27: routes[0].jwt.keys[0].file: \"{ec}\" holds no public key for RS256; a PEM file with `-----BEGIN PUBLIC KEY-----` is needed"),
        ),
        (
            format!("jwt: {{ keys: [{{ file: \"{ec}\", algorithm: ES384 }}] }}"),
            format!("4:27: routes[0].jwt.keys[0].file: \"{ec}\" holds no public key for ES384; a PEM file with `-----BEGIN PUBLIC KEY-----` is needed"),
        ),
        (
            format!("jwt: {{ keys: [{{ file: \"{ec}\", algorithm: HS256 }}] }}"),
            "4:27: routes[0].jwt.keys[0].file: cannot be used with HS256, which takes a `secret`; if this is a public key, write the algorithm that belongs to it".to_owned(),
        ),
        (
            format!("jwt: {{ keys: [{{ file: \"{private}\", algorithm: ES256 }}] }}"),
            format!("4:27: routes[0].jwt.keys[0].file: \"{private}\" holds a private key, which only the issuer should have; write its public half (openssl pkey -pubout)"),
        ),
        (
            format!("jwt: {{ {KEY}, claims_to_headers: {{ sub: host }} }}"),
            format!("4:{}: routes[0].jwt.claims_to_headers.sub: \"host\" is needed for the request itself; write a header of its own, such as x-user", 40 + KEY.len()),
        ),
        (
            format!("jwt: {{ {KEY}, algorithms: [RS256] }}"),
            format!("4:{}: routes[0].jwt.algorithms: does not list HS256, for which there is a key; add it, or remove the key", 26 + KEY.len()),
        ),
        (
            format!("jwt: {{ {KEY}, header: ~ }}"),
            "4:10: routes[0].jwt: looks for the token nowhere; name a `header`, a `cookie` or a `query` parameter".to_owned(),
        ),
    ];
    let broken: Vec<_> = broken
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    check(&broken);
}

#[test]
fn mistakes_of_jwt() {
    check(&[
        (
            "jwt: {}",
            "4:10: routes[0].jwt: has no key that tokens could be verified by; add `keys`, or `jwks` with the URL where the issuer has them",
        ),
        (
            "jwt: { keys: [{ secret: \"${SECRET}\", algorithm: HS256 }] }",
            "4:29: routes[0].jwt.keys[0].secret: is too short: who has a token could find it out; write 32 characters or more (openssl rand -base64 32)",
        ),
        (
            "jwt: { keys: [{ secret: a }] }",
            "4:19: routes[0].jwt.keys[0]: has no `algorithm`; write the one that tokens are signed with",
        ),
        (
            "jwt: { keys: [{ algorithm: HS256 }] }",
            "4:19: routes[0].jwt.keys[0]: has no key; write `secret` for HS256, HS384 or HS512, and for any other algorithm `file`, a PEM file with the public key",
        ),
        (
            "jwt: { keys: [{ secret: a, file: b, algorithm: HS256 }] }",
            "4:19: routes[0].jwt.keys[0]: has a `secret` and a `file`; a key is one of both",
        ),
        (
            "jwt: { keys: [{ secret: a, algorithm: RS256 }] }",
            "4:29: routes[0].jwt.keys[0].secret: cannot be used with RS256, which takes a public key; name its PEM file as `file`",
        ),
        (
            "jwt: { keys: [{ secret: a, algorithm: none }] }",
            "4:43: routes[0].jwt.keys[0].algorithm: \"none\" is not valid; write one of: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
        ),
        (
            "jwt: { keys: [{ file: none.pem, algorithm: ES256 }] }",
            "4:27: routes[0].jwt.keys[0].file: \"none.pem\" cannot be read: no such file",
        ),
        (
            "jwt: { jwks: \"https://a\", algorithms: [HS256] }",
            "4:43: routes[0].jwt.algorithms: lists HS256, which needs a secret, and what `jwks` has is public; remove it, or add the secret to `keys`",
        ),
        (
            "jwt: { jwks: \"https://a\", algorithms: [] }",
            "4:43: routes[0].jwt.algorithms: is empty and would let no token in; list some, or remove the key",
        ),
        (
            "jwt: { jwks: keys.json }",
            "4:18: routes[0].jwt.jwks: \"keys.json\" is not an http:// or https:// URL; write one such as https://issuer.example/jwks.json",
        ),
        (
            "jwt: { jwks: \"https://u:hunter2@a\" }",
            "4:18: routes[0].jwt.jwks: holds a user name or password, which is not sent; write one such as https://issuer.example/jwks.json",
        ),
        (
            "jwt: { jwks: \"https://a\", leeway: 1h }",
            "4:39: routes[0].jwt.leeway: \"1h\" is too long: a token would be good for that long after its end; write 10m or less",
        ),
        (
            "jwt: { jwks: \"https://a\", query: \"a=b\" }",
            "4:38: routes[0].jwt.query: \"a=b\" is not a parameter's name; write one of letters, digits, `-._`, such as access_token",
        ),
        (
            "sse: { principal: [\"claim:sub\"] }",
            "4:23: routes[0].sse.principal: has a claim, but the route has no `jwt` whose claims it could mean; add it, or name a header or cookie",
        ),
        (
            "sse: { principal: [\"claim:\"] }",
            "4:24: routes[0].sse.principal[0]: names no claim; write \"claim:sub\" with the claim's name",
        ),
        (
            "sse: { mode: shared }\n    jwt: { jwks: \"https://a\", claims_to_headers: { sub: x-user } }",
            "5:10: routes[0].jwt: tells the upstream of each client in x-user, but the route is `mode: shared`, and what is sent for the first client is read by all; add x-user to sse.key.headers, or leave it out here",
        ),
    ]);
    let keyed = "sse: { mode: shared, key: { headers: [x-user] } }\n    \
                 jwt: { jwks: \"https://a\", claims_to_headers: { sub: x-user } }";
    assert!(access(keyed).jwt.is_some());
}

#[test]
fn mistakes_of_forward_auth() {
    check(&[
        (
            "forward_auth: {}",
            "4:19: routes[0].forward_auth: has no `url`; write where the service is asked, such as http://127.0.0.1:4180/oauth2/auth",
        ),
        (
            "forward_auth: { url: auth }",
            "4:26: routes[0].forward_auth.url: \"auth\" is not an http:// or https:// URL; write one such as http://127.0.0.1:4180/oauth2/auth",
        ),
        (
            "forward_auth: { url: \"http://a/#b\" }",
            "4:26: routes[0].forward_auth.url: \"http://a/#b\" has a fragment; write one such as http://127.0.0.1:4180/oauth2/auth",
        ),
        (
            "forward_auth: { url: \"http://a\", timeout: 0 }",
            "4:47: routes[0].forward_auth.timeout: \"0\" is too short: no service could answer in it; write 1ms or more",
        ),
        (
            "forward_auth: { url: \"http://a\", query: \"a b\" }",
            "4:45: routes[0].forward_auth.query: \"a b\" is not a parameter's name; write one of letters, digits, `-._`, such as access_token",
        ),
        (
            "forward_auth: { url: \"http://a\", copy_headers: [host] }",
            "4:53: routes[0].forward_auth.copy_headers[0]: \"host\" is needed for the request itself; write a header of its own, such as x-user",
        ),
        (
            "forward_auth: { url: \"http://a\", cookies: [\"a=b\"] }",
            "4:48: routes[0].forward_auth.cookies[0]: \"a=b\" is not a cookie's name; write one such as session",
        ),
        (
            "sse: { mode: shared }\n    forward_auth: { url: \"http://a\", copy_headers: [x-user] }",
            "5:19: routes[0].forward_auth: tells the upstream of each client in x-user, but the route is `mode: shared`, and what is sent for the first client is read by all; add x-user to sse.key.headers, or leave it out here",
        ),
    ]);
}

#[test]
fn warnings() {
    let warnings = |line: &str| read(line).warnings();
    assert_eq!(
        warnings("jwt: { jwks: \"http://issuer.example/keys\" }"),
        [
            "routes[0].jwt: names no `audience`, so a token that its issuer made for any other service is good here",
            "routes[0].jwt.jwks: is not https, so whoever is on the way to it can put their own key there",
        ]
    );
    assert_eq!(
        warnings("jwt: { jwks: \"http://localhost/keys\", audience: a }"),
        [""; 0]
    );
    assert_eq!(
        warnings("cors: { origins: [\"http://app.example\"], credentials: true }"),
        [
            "routes[0].cors: lets http://app.example use cookies, and whoever is between it and its readers can change its pages; serve it over https"
        ]
    );
}
