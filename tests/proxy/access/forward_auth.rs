//! Another service decides.

use tokio::sync::watch;

use super::{agreeable, ask, config, get, proxy, refused, streaming};
use crate::harness::{self, Proxy, fetch, open};
use crate::upstream::{Connection, Upstream, header};

/// A service that knows one cookie.
async fn service() -> Upstream {
    Upstream::start(|mut connection: Connection| async move {
        while let Some((head, _)) = connection.request().await {
            let known = header(&head, "cookie").is_some_and(|c| c.contains("session=good"));
            let banned = header(&head, "cookie").is_some_and(|c| c.contains("session=banned"));
            let answer = if known {
                "HTTP/1.1 204 No Content\r\nX-User: alice\r\nX-Groups: a\r\nX-Groups: b\r\n\
                 X-Internal: 1\r\nSet-Cookie: session=good2; Path=/\r\nSet-Cookie: other=1\r\n\r\n"
            } else if banned {
                "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nX-Internal: 1\r\n\
                 Content-Length: 4\r\n\r\n<no>"
            } else {
                "HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\n\
                 Set-Cookie: csrf=1\r\nContent-Length: 0\r\n\r\n"
            };
            connection.send(answer).await;
        }
    })
    .await
}

fn route(service: &str) -> String {
    format!(
        "    forward_auth:
      url: {service}/check?for=events
      copy_headers: [X-User, X-Groups]
      cookies: [session]
"
    )
}

#[tokio::test]
async fn who_is_known_is_let_in_and_told_of() {
    let (upstream, service) = (agreeable().await, service().await);
    let proxy = proxy(&upstream.url(), &route(&service.url())).await;
    let mut request = ask(
        "POST",
        "/a?b=c",
        &[
            ("cookie", "session=good"),
            ("x-user", "root"),
            ("x_groups", "root"),
            ("x-secret", "1"),
            ("connection", "x-user"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-uri", "/public"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "other.example"),
            ("forwarded", "for=203.0.113.9"),
            ("expect", "100-continue"),
        ],
    );
    *request.body_mut() = "body".into();
    let answer = fetch(proxy.addr, request).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["session=good2; Path=/"]);

    let asked = &service.heads()[0];
    assert!(
        asked.starts_with("GET /check?for=events HTTP/1.1\r\n"),
        "{asked}"
    );
    assert_eq!(header(asked, "host"), Some(&service.url()[7..]));
    assert_eq!(header(asked, "cookie"), Some("session=good"));
    assert_eq!(header(asked, "x-forwarded-method"), Some("POST"));
    assert_eq!(header(asked, "x-forwarded-uri"), Some("/a?b=c"));
    assert_eq!(header(asked, "x-forwarded-host"), Some("app.example"));
    assert_eq!(header(asked, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(asked, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(
        header(asked, "forwarded"),
        Some("for=127.0.0.1;host=\"app.example\";proto=http")
    );
    for gone in ["x-secret", "x-user", "expect", "content-length"] {
        assert_eq!(header(asked, gone), None, "{gone}");
    }

    let head = &upstream.heads()[0];
    assert_eq!(header(head, "x-user"), Some("alice"));
    let groups: Vec<_> = head.lines().filter(|l| l.starts_with("x-groups")).collect();
    assert_eq!(groups, ["x-groups: a", "x-groups: b"]);
    for gone in ["x_groups", "x-internal"] {
        assert_eq!(header(head, gone), None, "{gone}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_its_client_is_passed_on() {
    let (upstream, service) = (agreeable().await, service().await);
    let mut config = config(&upstream.url(), &route(&service.url()));
    config.trusted_proxies = ["127.0.0.1"].into_iter().collect();
    let proxy = Proxy::start(config).await;
    let said = [
        ("cookie", "session=good"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.example"),
    ];
    assert_eq!(get(&proxy, "/", &said).await.status, 200);
    let asked = &service.heads()[0];
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.example"),
    ] {
        assert_eq!(header(asked, name), Some(value));
    }
}

#[tokio::test]
async fn who_is_not_is_answered_by_the_service() {
    let (upstream, service) = (agreeable().await, service().await);
    let proxy = proxy(&upstream.url(), &route(&service.url())).await;
    let sent_off = get(&proxy, "/", &[]).await;
    assert_eq!(sent_off.status, 302);
    assert_eq!(sent_off.headers["location"], "https://login.example/");
    assert_eq!(sent_off.headers["set-cookie"], "csrf=1");
    let banned = get(&proxy, "/", &[("cookie", "session=banned")]).await;
    assert_eq!((banned.status.as_u16(), banned.text()), (403, "<no>"));
    assert_eq!(banned.headers["content-type"], "text/html");
    assert_eq!(banned.headers["cache-control"], "no-store");
    assert!(!banned.headers.contains_key("x-internal"));
    assert_eq!(refused(&proxy, "forward_auth").await, 2);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_service_that_does_not_decide_lets_nobody_in() {
    let upstream = agreeable().await;
    let long = format!(
        "HTTP/1.1 403 No\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let silent = Upstream::start(|mut connection| async move {
        connection.request().await;
        connection.closed().await;
    })
    .await;
    let mut urls = vec![harness::refused(), silent.url()];
    let mut services = vec![silent];
    for answer in [
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Same\r\n\r\n",
        "HTTP/1.1 101 Why\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "SSH-2.0\r\n\r\n",
        long.as_str(),
    ] {
        let service = Upstream::answering(answer).await;
        urls.push(service.url());
        services.push(service);
    }
    for url in urls {
        let route = format!("    forward_auth: {{ url: \"{url}\", timeout: 300ms }}\n");
        let proxy = proxy(&upstream.url(), &route).await;
        let answer = get(&proxy, "/", &[]).await;
        assert_eq!(answer.status, 503, "{url}");
        assert_eq!(refused(&proxy, "unavailable").await, 1);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_stream_that_comes_back_upstream_is_still_told_who_it_is() {
    let (go, gone) = watch::channel(());
    let upstream = Upstream::start(move |mut connection: Connection| {
        let mut gone = gone.clone();
        async move {
            connection.request().await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            connection.send(format!("{head}data: x\n\n")).await;
            let _ = gone.changed().await;
        }
    })
    .await;
    let service = service().await;
    let route = route(&service.url()) + "    sse: { reconnect: { initial: 10ms } }\n";
    let proxy = proxy(&upstream.url(), &route).await;
    let cookie = [("cookie", "session=good")];
    let _stream = open(proxy.addr, ask("GET", "/", &cookie)).await;
    go.send(()).unwrap();
    harness::eventually("another upstream connection", async || {
        upstream.heads().len() >= 2
    })
    .await;
    assert_eq!(header(&upstream.heads()[1], "x-user"), Some("alice"));
    assert_eq!(service.heads().len(), 1, "the client was let in once");
}

#[tokio::test]
async fn a_token_in_the_query_is_shown_to_the_service_alone() {
    let upstream = agreeable().await;
    let service = Upstream::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let route = format!(
        "    forward_auth: {{ url: \"{}\", query: access_token }}\n",
        service.url()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    let answer = get(&proxy, "/e?access_token=a.b%2Dc&d", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let asked = &service.heads()[0];
    assert_eq!(header(asked, "authorization"), Some("Bearer a.b-c"));
    assert_eq!(header(asked, "x-forwarded-uri"), Some("/e?d"));
    let head = &upstream.heads()[0];
    assert!(head.starts_with("GET /e?d HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(head, "authorization"), None);

    let both = [("authorization", "Bearer own")];
    get(&proxy, "/e?access_token=a", &both).await;
    assert_eq!(
        header(&service.heads()[1], "authorization"),
        Some("Bearer own")
    );
    let twice = get(&proxy, "/e?access_token=a&access_token=b", &[]).await;
    assert_eq!(twice.status, 401);
    assert_eq!(service.heads().len(), 2);
}

#[tokio::test]
async fn what_is_copied_makes_a_principal() {
    let (upstream, service) = (streaming().await, service().await);
    let route = route(&service.url()) + "    sse: { principal: [x-user] }\n";
    let proxy = proxy(&upstream.url(), &route).await;
    let (one, other) = (
        [("cookie", "session=good; a=1"), ("x-user", "mallory")],
        [("cookie", "session=good; a=2"), ("x-user", "alice")],
    );
    let first = open(proxy.addr, ask("GET", "/", &one)).await;
    assert_eq!(first.status(), 200);
    let mut last = String::new();
    let mut first = first;
    while !last.ends_with("\n\n") {
        let frame = http_body_util::BodyExt::frame(&mut first);
        let frame = tokio::time::timeout(harness::LONG, frame).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        last.push_str(std::str::from_utf8(&data).unwrap());
    }
    let id = last.lines().find_map(|line| line.strip_prefix("id: "));
    let back = [other[0], other[1], ("last-event-id", id.unwrap())];
    let back = open(proxy.addr, ask("GET", "/", &back)).await;
    assert_eq!(back.headers()["sse-resume"], "exact");
}

#[tokio::test]
async fn what_clients_sign_in_with_can_be_replaced_by_the_answer() {
    let upstream = agreeable().await;
    let service = Upstream::start(|mut connection: Connection| async move {
        while let Some((head, _)) = connection.request().await {
            let known = header(&head, "authorization") == Some("Basic alice");
            connection
                .send(if known {
                    "HTTP/1.1 204 Fine\r\nAuthorization: Bearer inner\r\nX-User: alice\r\n\r\n"
                } else {
                    "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
                })
                .await;
        }
    })
    .await;
    let route = format!(
        "    forward_auth: {{ url: \"{}\", copy_headers: [authorization, x-user] }}\n",
        service.url()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    let known = [("authorization", "Basic alice"), ("x-user", "root")];
    assert_eq!(get(&proxy, "/", &known).await.status, 200);
    assert_eq!(header(&service.heads()[0], "x-user"), None);
    let head = &upstream.heads()[0];
    for (name, value) in [("authorization", "Bearer inner"), ("x-user", "alice")] {
        let lines: Vec<_> = head.lines().filter(|l| l.starts_with(name)).collect();
        assert_eq!(lines, [format!("{name}: {value}")]);
    }
    let stranger = [("authorization", "Basic mallory")];
    assert_eq!(get(&proxy, "/", &stranger).await.status, 401);
}
