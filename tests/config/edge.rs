//! Limits per client, who the client is, and what connections may become.

use std::time::Duration;

use proptest::option;
use proptest::prelude::*;
use tower_sse::proxy::Config;
use tower_sse::proxy::config::model::{Limits, Per, RateLimit};

use super::parse;

const ROUTES: &str = "routes: [{ path: /, upstream: \"http://app\" }]\n";

fn with_limits(limits: &str) -> String {
    format!("limits: {limits}\n{ROUTES}")
}

fn with_route(keys: &str) -> String {
    format!("routes: [{{ path: /, upstream: \"http://app\", {keys} }}]\n")
}

fn with_listener(keys: &str) -> String {
    format!("listeners: [{{ address: \"127.0.0.1:0\", {keys} }}]\n{ROUTES}")
}

/// Checks pairs of a text and what it is answered with after its line.
fn check(table: &[(String, &str)]) {
    for (text, expected) in table {
        let mistake = match parse(text) {
            Ok(config) => panic!("accepted:\n{text}\n{config:#?}"),
            Err(error) => error.to_string(),
        };
        let said = mistake.strip_prefix("proxy.yaml:1:");
        assert_eq!(said, Some(*expected), "{mistake}\n{text}");
    }
}

#[test]
fn every_key_is_read() {
    let text = "
listeners:
  - address: 127.0.0.1:0
    proxy_protocol: { from: [10.0.0.0/8, \"fd00::/8\", 192.0.2.7] }
trusted_proxies: [10.0.0.0/8]
limits:
  connections_per_address: 50
  streams_per_address: 6
  streams_per_principal: 20
  header_bytes: 64KiB
  headers: 50
  request_body: 10MiB
  body_timeout: 20s
  idle_timeout: 75s
  tunnel_idle: ~
  max_connection_age: 1h
routes:
  - path: /a
    upstream: http://app
    rate_limit: { requests: 10 }
    upgrade: []
  - path: /b
    upstream: http://app
    rate_limit:
      - { per: address, requests: 100, window: 1m, burst: 20 }
      - { per: principal, requests: 10 }
    upgrade: [websocket, Foo/2]
  - path: /
    upstream: http://app
";
    let config = parse(text).unwrap();
    let from = config.listeners[0].proxy_protocol.as_ref().unwrap();
    let from: Vec<_> = from.iter().collect();
    assert_eq!(from, ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]);
    let trusted = &config.trusted_proxies;
    assert!(trusted.contain([10, 1, 1, 1].into()) && !trusted.contain([11, 1, 1, 1].into()));
    let limits = Limits {
        connections_per_address: Some(50),
        streams_per_address: Some(6),
        streams_per_principal: Some(20),
        header_bytes: 64 << 10,
        headers: 50,
        request_body: Some(10 << 20),
        body_timeout: Some(Duration::from_secs(20)),
        idle_timeout: Some(Duration::from_secs(75)),
        tunnel_idle: None,
        max_connection_age: Some(Duration::from_secs(3600)),
        ..Limits::default()
    };
    assert_eq!(config.limits, limits);
    let second = Duration::from_secs(1);
    let limit = |per, requests, window, burst| RateLimit {
        per,
        requests,
        window,
        burst,
    };
    let [a, b, rest] = &config.routes[..] else {
        panic!("three routes");
    };
    assert_eq!(a.rate_limit, [limit(Per::Address, 10, second, 10)]);
    assert_eq!(
        b.rate_limit,
        [
            limit(Per::Address, 100, second * 60, 20),
            limit(Per::Principal, 10, second, 10)
        ]
    );
    assert!(rest.rate_limit.is_empty());
    assert!(a.upgrade.is_empty());
    assert_eq!(b.upgrade, ["websocket", "foo/2"]);
    assert_eq!(rest.upgrade, ["websocket"]);
    assert_eq!(parse(&config.to_yaml()).unwrap(), config);
}

#[test]
fn off_is_a_value_where_it_can_be() {
    for key in [
        "connections_per_address",
        "streams_per_address",
        "streams_per_principal",
        "request_body",
        "body_timeout",
        "idle_timeout",
        "tunnel_idle",
        "max_connection_age",
    ] {
        let config = parse(&with_limits(&format!("{{ {key}: ~ }}"))).unwrap();
        let default = Limits::default();
        let expected = Limits {
            tunnel_idle: default.tunnel_idle.filter(|_| key != "tunnel_idle"),
            ..default
        };
        assert_eq!(config.limits, expected, "{key}");
    }
    let off = with_route("rate_limit: ~, upgrade: ~");
    let route = &parse(&off).unwrap().routes[0];
    assert!(route.rate_limit.is_empty() && route.upgrade.is_empty());
}

#[test]
fn a_limit_that_counts_by_nothing_is_warned_of() {
    let text = "routes:\n  - path: /\n    upstream: http://app\n    rate_limit: { per: principal, \
                requests: 1 }\n    sse: { principal: [], key: { headers: [] } }\n";
    let warnings = |text: &str| parse(text).unwrap().warnings();
    let warned = |text: &str| {
        let about = |warning: &String| warning.starts_with("routes[0].rate_limit: counts per");
        warnings(text).iter().any(about)
    };
    assert!(warned(text), "{:?}", warnings(text));
    assert!(!warned(
        &text.replace("principal: []", "principal: [x-user]")
    ));
    assert!(!warned(&text.replace("per: principal", "per: address")));
}

#[test]
fn limits() {
    check(&[
        (
            with_limits("{ stream_per_address: 1 }"),
            "11: limits.stream_per_address: unknown key; did you mean `streams_per_address`?",
        ),
        (
            with_limits("{ streams_per_address: 0 }"),
            "32: limits.streams_per_address: \"0\" is not a count; write a whole number, 1 or more",
        ),
        (
            with_limits("{ header_bytes: 100 }"),
            "25: limits.header_bytes: \"100\" is too small; write 1KiB or more",
        ),
        (
            with_limits("{ header_bytes: 2MiB }"),
            "25: limits.header_bytes: \"2MiB\" is too large: each connection could make the proxy \
             hold as much; write 1MiB or less",
        ),
        (
            with_limits("{ headers: 2 }"),
            "20: limits.headers: \"2\" headers are too few for browsers, or too many for anybody; \
             write 8 to 10000",
        ),
        (
            with_limits("{ body_timeout: 1ms }"),
            "25: limits.body_timeout: \"1ms\" is too short: no client could be that quick; write \
             100ms or more",
        ),
        (
            with_limits("{ max_connection_age: 1ms }"),
            "31: limits.max_connection_age: \"1ms\" is too short: clients would do nothing but \
             connect; write 1s or more",
        ),
    ]);
}

#[test]
fn networks() {
    check(&[
        (
            format!("trusted_proxies: [balancer]\n{ROUTES}"),
            "19: trusted_proxies[0]: \"balancer\" is not a network; write an address and the \
             length of its prefix, such as 10.0.0.0/8 or fd00::/8, or one address",
        ),
        (
            format!("trusted_proxies: [10.1.2.3/8]\n{ROUTES}"),
            "19: trusted_proxies[0]: \"10.1.2.3/8\" has bits set after its prefix; write 10.0.0.0/8",
        ),
        (
            format!("trusted_proxies: 10.0.0.0/8\n{ROUTES}"),
            "18: trusted_proxies: is a single value, but a list is needed; write [a, b], or `- ` \
             before each entry",
        ),
        (
            with_listener("proxy_protocol: { from: [] }"),
            "63: listeners[0].proxy_protocol.from: names no network, so nobody could connect; \
             list those of the balancers that send the PROXY protocol, such as \
             `from: [10.0.0.0/8]`",
        ),
        (
            with_listener("proxy_protocol: { form: [] }"),
            "57: listeners[0].proxy_protocol.form: unknown key; did you mean `from`?",
        ),
    ]);
}

#[test]
fn routes() {
    check(&[
        (
            with_route("rate_limit: { burst: 2 }"),
            "57: routes[0].rate_limit: has no `requests`; write how many a window may have, such \
             as 10",
        ),
        (
            with_route("rate_limit: { requests: 5, per: ip }"),
            "77: routes[0].rate_limit.per: \"ip\" is not valid; write one of: address, principal",
        ),
        (
            with_route("rate_limit: { requests: 5000000 }"),
            "69: routes[0].rate_limit.requests: \"5000000\" is too many to count; write at most \
             1000000",
        ),
        (
            with_route("rate_limit: [{ requests: 5, window: 3d }]"),
            "81: routes[0].rate_limit[0].window: \"3d\" is too long: counts live in memory and are \
             lost with it; write 1d or less",
        ),
        (
            with_route("rate_limit: { requests: 1, window: 1h, burst: 1000 }"),
            "91: routes[0].rate_limit.burst: \"1000\" is too many: a client would have them again \
             after 41d16h; write a number that takes 30d or less",
        ),
        (
            with_route("upgrade: [\"web socket\"]"),
            "55: routes[0].upgrade[0]: \"web socket\" is not a protocol; write its name as in the \
             header Upgrade, such as websocket",
        ),
        (
            with_route("upgrade: [h2c]"),
            "55: routes[0].upgrade[0]: \"h2c\" would hide requests from routes and limits; HTTP/2 \
             needs no upgrade: clients that know of it begin with it",
        ),
    ]);
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(
        counts in [option::of(1usize..), option::of(1usize..), option::of(1usize..)],
        bytes in option::of(1usize..1 << 40),
        head in (1usize << 10..1 << 20, 8usize..10_000),
        times in [
            option::of(100u64..1 << 40),
            option::of(100u64..1 << 40),
            option::of(100u64..1 << 40),
            option::of(1_000u64..1 << 40),
        ],
        rates in proptest::collection::vec((any::<bool>(), 1u32..1_000_000, 1u64..86_400_000, 1u32..9), 0..3),
        upgrade in proptest::collection::vec("[a-z]{1,3}x[a-z0-9./_+-]{0,4}", 0..3),
    ) {
        let mut config = parse(ROUTES).unwrap();
        let [body_timeout, idle_timeout, tunnel_idle, max_connection_age] =
            times.map(|time| time.map(Duration::from_millis));
        config.limits = Limits {
            connections_per_address: counts[0],
            streams_per_address: counts[1],
            streams_per_principal: counts[2],
            header_bytes: head.0,
            headers: head.1,
            request_body: bytes,
            body_timeout,
            idle_timeout,
            tunnel_idle,
            max_connection_age,
            ..Limits::default()
        };
        config.routes[0].rate_limit = rates
            .iter()
            .map(|(address, requests, window, burst)| RateLimit {
                per: if *address { Per::Address } else { Per::Principal },
                requests: *requests,
                window: Duration::from_millis(*window),
                burst: *burst,
            })
            .collect();
        config.routes[0].upgrade = upgrade;
        config.trusted_proxies = ["10.0.0.0/8", "::1"].into_iter().collect();
        config.listeners[0].proxy_protocol = Some(["fd00::/8"].into_iter().collect());
        let printed = Config::parse("elsewhere.yaml", &config.to_yaml(), &|_| None);
        prop_assert_eq!(printed.unwrap(), config);
    }
}
