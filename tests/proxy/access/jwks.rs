//! An issuer's keys are had when they are needed, and once.

use serde_json::json;

use super::issuer::{Issuer, alice, bearer};
use super::{agreeable, config, get, proxy, refused};
use crate::harness::{self, Proxy};
use crate::upstream::Upstream;

async fn publishing(keys: &[serde_json::Value]) -> Upstream {
    let set = json!({ "keys": keys }).to_string();
    let length = set.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    Upstream::answering(format!("{head}{set}")).await
}

#[tokio::test]
async fn tokens_of_published_keys_let_in() {
    let upstream = agreeable().await;
    let (ec, ed) = (Issuer::es256().called("ec"), Issuer::eddsa().called("ed"));
    let secret = json!({ "kty": "oct", "kid": "oct", "k": "c2VjcmV0" });
    let issuer = publishing(&[secret, ec.jwk(), ed.jwk()]).await;
    let route = format!("    jwt: {{ jwks: \"{}/jwks.json\" }}\n", issuer.url());
    let proxy = proxy(&upstream.url(), &route).await;
    assert_eq!(issuer.connections(), 0, "nobody has come yet");
    let ask = async |token: String| {
        let token = bearer(&token);
        get(&proxy, "/", &[("authorization", &token)]).await.status
    };
    let (one, other) = tokio::join!(ask(ec.sign(&alice())), ask(ed.sign(&alice())));
    assert_eq!((one.as_u16(), other.as_u16()), (200, 200));
    // By keys that are not there, or under another's name.
    assert_eq!(ask(Issuer::es256().called("new").sign(&alice())).await, 401);
    assert_eq!(ask(Issuer::es256().called("ec").sign(&alice())).await, 401);
    assert_eq!(ask(Issuer::es256().called("ed").sign(&alice())).await, 401);
    assert_eq!(ask(Issuer::hs256().called("oct").sign(&alice())).await, 401);
    // Without a name, any may have signed.
    assert_eq!(ask(Issuer::es256().sign(&alice())).await, 401);
    assert_eq!(issuer.heads().len(), 1, "strangers cannot have it asked");
}

#[tokio::test]
async fn a_reload_and_another_route_need_not_ask_again() {
    let upstream = agreeable().await;
    let key = Issuer::es256().called("ec");
    let issuer = publishing(&[key.jwk()]).await;
    let jwt = format!("    jwt: {{ jwks: \"{}/jwks.json\" }}\n", issuer.url());
    let other = format!("  - path: /other\n    upstream: {}\n", upstream.url());
    let config = config(&upstream.url(), &format!("{jwt}{other}{jwt}"));
    let proxy = Proxy::start(config.clone()).await;
    let token = bearer(&key.sign(&alice()));
    for _ in 0..3 {
        for path in ["/", "/other"] {
            let answer = get(&proxy, path, &[("authorization", &token)]).await;
            assert_eq!(answer.status, 200, "{path}");
        }
        proxy.control.reload(config.clone()).await.unwrap();
    }
    assert_eq!(issuer.heads().len(), 1);
}

#[tokio::test]
async fn without_the_keys_nobody_is_let_in_or_blamed() {
    let upstream = agreeable().await;
    let token = bearer(&Issuer::es256().called("ec").sign(&alice()));
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{{\"keys\": [{}",
        " ".repeat(999_990)
    );
    let broken = [
        "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned(),
        long,
    ];
    let mut urls = vec![harness::refused()];
    let mut issuers = Vec::new();
    for answer in broken {
        let issuer = Upstream::answering(answer).await;
        urls.push(issuer.url());
        issuers.push(issuer);
    }
    for url in urls {
        let proxy = proxy(
            &upstream.url(),
            &format!("    jwt: {{ jwks: \"{url}\" }}\n"),
        )
        .await;
        let answer = get(&proxy, "/", &[("authorization", &token)]).await;
        assert_eq!(answer.status, 503, "{url}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(refused(&proxy, "unavailable").await, 1);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn keys_of_the_file_need_no_issuer() {
    let upstream = agreeable().await;
    let own = Issuer::hs256();
    let route = format!(
        "    jwt: {{ keys: [{}], jwks: \"{}\" }}\n",
        own.yaml(),
        harness::refused()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    let token = bearer(&own.sign(&alice()));
    let answer = get(&proxy, "/", &[("authorization", &token)]).await;
    assert_eq!(answer.status, 200);
}
