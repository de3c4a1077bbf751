//! What an upstream says beside its servers: read, refused, printed.

use std::time::Duration;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tower_sse::proxy::Config;
use tower_sse::proxy::config::model::{
    HealthCheck, Passive, Pool, Protocol, Sticky, Upstream, UpstreamTls,
};

use super::parse;

/// Everything an upstream may say, beside what it always had.
pub(crate) fn options() -> impl Strategy<Value = Upstream> {
    let fate = (
        option::of(check()),
        option::of((1..99_u32, millis(100, 99_999))),
        millis(0, 99_999),
        option::of(millis(0, 99_999)),
    );
    let transport = (
        select(vec![Protocol::Http1, Protocol::Http2, Protocol::Auto]),
        option::of(tls()),
        pool(),
        option::of(millis(1000, 99_999)),
        option::of(sticky()),
    );
    (fate, transport).prop_map(|(fate, transport)| {
        let (health_check, passive, slow_start, move_streams) = fate;
        let (protocol, tls, pool, resolve, sticky) = transport;
        Upstream {
            sticky,
            protocol,
            tls,
            pool,
            resolve,
            health_check,
            passive: passive.map(|(failures, eject)| Passive { failures, eject }),
            slow_start,
            move_streams,
            ..Upstream::new(Vec::new())
        }
    })
}

fn millis(low: u64, high: u64) -> impl Strategy<Value = Duration> {
    (low..=high).prop_map(Duration::from_millis)
}

fn check() -> impl Strategy<Value = HealthCheck> {
    (
        "/[a-z?=&%$]{0,9}",
        millis(100, 99_999),
        millis(1, 99_999),
        (200..=599_u16, 200..=599_u16),
        (1..9_u32, 1..9_u32),
    )
        .prop_map(
            |(path, interval, timeout, (a, b), (healthy, unhealthy))| HealthCheck {
                path,
                interval,
                timeout,
                expect: a.min(b)..=a.max(b),
                healthy,
                unhealthy,
            },
        )
}

fn tls() -> impl Strategy<Value = UpstreamTls> {
    let name = option::of(select(vec!["a.internal", "10.0.0.1", "::1"]));
    (name, any::<bool>()).prop_map(|(name, insecure)| UpstreamTls {
        server_name: name.map(str::to_owned),
        insecure,
        ..UpstreamTls::default()
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    (
        millis(0, 99_999),
        option::of(1_usize..99),
        option::of(1_usize..99),
        1_usize..999,
        millis(1000, 99_999),
    )
        .prop_map(|(idle, max_idle, max_open, streams, ping)| Pool {
            idle,
            max_idle,
            max_open,
            streams,
            ping,
        })
}

fn sticky() -> impl Strategy<Value = Sticky> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,5}".prop_map(|name| Sticky::Header(name.parse().unwrap())),
        "[a-zA-Z!#$%&'*+.^_`|~-]{1,6}".prop_map(Sticky::Cookie),
        Just(Sticky::ClientAddress),
    ]
}

fn read(keys: &str) -> Upstream {
    let keys = keys.replace('\n', "\n    ");
    let text = format!(
        "upstreams:\n  app:\n    servers: [\"https://a\"]\n    {keys}\n\
         routes: [{{ path: /, upstream: app }}]\n",
    );
    parse(&text).unwrap().upstreams.remove("app").unwrap()
}

#[test]
fn every_key_is_read() {
    let seconds = Duration::from_secs;
    let servers = vec!["https://a".parse().unwrap()];
    let upstream = read(
        "sticky: { cookie: session }
protocol: auto
tls: { server_name: b.internal, insecure: true }
pool: { idle: 90s, max_idle: 32, max_open: 500, streams: 50, ping: 20s }
resolve: 30s
health_check: { path: /h, interval: 7s, timeout: 2s, expect: 200-204, healthy: 2, unhealthy: 3 }
passive: { failures: 4, eject: 20s }
slow_start: 40s
move_streams: ~",
    );
    let expected = Upstream {
        sticky: Some(Sticky::Cookie("session".into())),
        protocol: Protocol::Auto,
        tls: Some(UpstreamTls {
            server_name: Some("b.internal".into()),
            insecure: true,
            ..UpstreamTls::default()
        }),
        pool: Pool {
            idle: seconds(90),
            max_idle: Some(32),
            max_open: Some(500),
            streams: 50,
            ping: seconds(20),
        },
        resolve: Some(seconds(30)),
        health_check: Some(HealthCheck {
            path: "/h".into(),
            interval: seconds(7),
            timeout: seconds(2),
            expect: 200..=204,
            healthy: 2,
            unhealthy: 3,
        }),
        passive: Some(Passive {
            failures: 4,
            eject: seconds(20),
        }),
        slow_start: seconds(40),
        move_streams: None,
        ..Upstream::new(servers)
    };
    assert_eq!(upstream, expected);
}

#[test]
fn what_is_not_said_is_as_it_was() {
    let upstream = read("health_check: { path: /h, interval: 7s }\npassive: {}\npool: {}");
    let check = upstream.health_check.as_ref().unwrap();
    assert_eq!(
        *check,
        HealthCheck::new("/h".into(), Duration::from_secs(7))
    );
    assert_eq!(check.timeout, Duration::from_secs(7));
    assert_eq!((check.healthy, check.unhealthy), (1, 2));
    let expected = Upstream {
        health_check: Some(check.clone()),
        passive: Some(Passive::default()),
        ..Upstream::new(vec!["https://a".parse().unwrap()])
    };
    assert_eq!(upstream, expected);
    assert_eq!(expected.move_streams, Some(Duration::from_secs(5)));
    let one = read("health_check: { path: /h, expect: 204 }");
    assert_eq!(one.health_check.unwrap().expect, 204..=204);
    assert_eq!(
        read("sticky: client_address").sticky,
        Some(Sticky::ClientAddress)
    );
    let header = Sticky::Header("x-user".parse().unwrap());
    assert_eq!(read("sticky: { header: X-User }").sticky, Some(header));
}

#[test]
fn mistakes_say_what_to_do() {
    let table = [
        (
            "health_check: { path: /h, expect: 2xx }",
            "47: upstreams.app.health_check.expect: \"2xx\" is neither a status nor a range of them; write 200, or 200-299",
        ),
        (
            "health_check: { path: /h, expect: 299-200 }",
            "47: upstreams.app.health_check.expect: \"299-200\" is neither a status nor a range of them; write 200, or 200-299",
        ),
        (
            "health_check: { path: /h, healthy: 0 }",
            "48: upstreams.app.health_check.healthy: \"0\" is not a count; write a whole number, 1 or more",
        ),
        (
            "health_check: { path: /h, unhealty: 3 }",
            "39: upstreams.app.health_check.unhealty: unknown key; did you mean `unhealthy`?",
        ),
        (
            "passive: { eject: 1ms }",
            "31: upstreams.app.passive.eject: \"1ms\" is too short: a server would be back before it is missed; write 100ms or more",
        ),
        (
            "protocol: h2",
            "23: upstreams.app.protocol: \"h2\" is not valid; write one of: http1, http2, auto",
        ),
        (
            "tls: { server_name: \"https://b\" }",
            "33: upstreams.app.tls.server_name: \"https://b\" is not a host name or address; write one without scheme and port, such as app.internal",
        ),
        (
            "tls: { insecure: yes }",
            "30: upstreams.app.tls.insecure: \"yes\" is not valid; write one of: true, false",
        ),
        (
            "pool: { max_open: 0 }",
            "31: upstreams.app.pool.max_open: \"0\" is not a count; write a whole number, 1 or more",
        ),
        (
            "pool: { ping: 10ms }",
            "27: upstreams.app.pool.ping: \"10ms\" is too short: servers take many pings for an attack; write 1s or more",
        ),
        (
            "resolve: 0",
            "22: upstreams.app.resolve: \"0\" is too short: names would be looked up all the time (~ does so at each connect); write 1s or more",
        ),
        (
            "sticky: address",
            "21: upstreams.app.sticky: \"address\" is not known; write { header: NAME }, { cookie: NAME } or client_address",
        ),
        (
            "sticky: { header: A, cookie: b }",
            "21: upstreams.app.sticky: needs one of `header` and `cookie`; write { header: NAME }, { cookie: NAME } or client_address",
        ),
        (
            "sticky: { cookie: \"a b\" }",
            "31: upstreams.app.sticky.cookie: \"a b\" is not a cookie name; write one, such as session",
        ),
    ];
    for (key, expected) in table {
        let text = format!(
            "upstreams:\n  app: {{ servers: [\"https://a\"],\n            {key} }}\n\
             routes: [{{ path: /, upstream: app }}]\n"
        );
        let error = parse(&text).unwrap_err().to_string();
        assert_eq!(error, format!("proxy.yaml:3:{expected}"), "\n{text}");
    }
}

#[test]
fn tls_must_fit_its_servers_and_itself() {
    let folder = std::env::temp_dir().join(format!("sse-upstream-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    std::fs::write(folder.join("a.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("a.key"), made.signing_key.serialize_pem()).unwrap();
    let source = folder.join("proxy.yaml").display().to_string();
    let read = |server: &str, tls: &str| {
        let text = format!(
            "upstreams: {{ app: {{ servers: [\"{server}\"], tls: {tls} }} }}\n\
             routes: [{{ path: /, upstream: app }}]\n"
        );
        let config = Config::parse(&source, &text, &|_| None);
        config.map_err(|error| error.to_string())
    };
    let error = |server: &str, tls: &str| read(server, tls).unwrap_err();
    let refused = error("http://a", "{ ca: a.pem }");
    assert!(
        refused.contains("no server's URL begins with https://"),
        "{refused}"
    );
    let refused = error("https://a", "{ ca: a.pem, insecure: true }");
    assert!(refused.contains("remove `insecure`"), "{refused}");
    let refused = error("https://a", "{ certificate: a.pem }");
    assert!(refused.contains("without its `private_key`"), "{refused}");
    let refused = error("https://a", "{ private_key: a.key }");
    assert!(refused.contains("without its `certificate`"), "{refused}");
    let refused = error("https://a", "{ ca: a.key }");
    assert!(refused.contains("holds no certificate"), "{refused}");
    let full = read(
        "https://a",
        "{ ca: a.pem, certificate: a.pem, private_key: a.key }",
    )
    .unwrap();
    assert_eq!(parse(&full.to_yaml()).unwrap(), full);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn whom_anybody_can_pass_for_is_warned_of() {
    let config = parse(
        "upstreams: { app: { servers: [\"https://a\"], tls: { insecure: true } } }\n\
         routes: [{ path: /, upstream: app, sse: { mode: passthrough } }]\n",
    );
    assert_eq!(
        config.unwrap().warnings(),
        [
            "upstreams.app.tls.insecure: whoever answers is believed, so whoever is in between \
             can read and change everything; name its authority by `ca` instead"
        ]
    );
}
