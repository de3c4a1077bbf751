//! Every mistake, and the exact words it is answered with.
//!
//! The words are the interface to operators: they say where, which key, what
//! is wrong and what to do.

use super::{parse, with_sse};

/// What a text is answered with, without the leading `proxy.yaml:`.
fn mistake(text: &str) -> String {
    match parse(text) {
        Ok(config) => panic!("accepted:\n{text}\n{config:#?}"),
        Err(error) => error
            .to_string()
            .strip_prefix("proxy.yaml:")
            .expect("names its source")
            .to_owned(),
    }
}

/// Checks pairs of a text and its answer.
fn check(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(mistake(text), *expected, "\n{text}");
    }
}

/// Checks pairs of an `sse` block and the answer, which begins at the column.
fn check_sse(table: &[(&str, &str)]) {
    for (sse, expected) in table {
        assert_eq!(mistake(&with_sse(sse)), format!("4:{expected}"), "\n{sse}");
    }
}

#[test]
fn yaml() {
    check(&[
        (
            "",
            "1:1: `routes` is missing; list at least one, such as `- { path: /, upstream: app }`",
        ),
        (
            "routes: []",
            "1:9: routes: is empty; list at least one, such as `- { path: /, upstream: app }`",
        ),
        (
            "- a",
            "1:1: is a list, but a mapping is needed; write `key: value` lines below it",
        ),
        (
            "routes: 5",
            "1:9: routes: is a single value, but a list is needed; write [a, b], or `- ` before each entry",
        ),
        (
            "routes: [5]",
            "1:10: routes[0]: is a single value, but a mapping is needed; write `key: value` lines below it",
        ),
        (
            "routes: [{path: [/]}]",
            "1:17: routes[0].path: is a list, but one value is needed",
        ),
        (
            "routes: [{path: }]",
            "1:15: routes[0].path: has no value; write one, or remove the key",
        ),
        (
            "route: []",
            "1:1: route: unknown key; did you mean `routes`?",
        ),
        (
            "nonsense: []",
            "1:1: nonsense: unknown key; valid here: listeners, trusted_proxies, admin, journal, drain, limits, upstreams, defaults, routes, reload, access_log, request_id",
        ),
    ]);
    assert!(mistake("routes: [").contains("not valid YAML: "));
    assert!(mistake("routes: *nobody").starts_with("1:9: not valid YAML: "));
    assert!(mistake("routes: []\n---\nroutes: []").contains("not valid YAML: "));
}

#[test]
fn keys_given_twice() {
    check(&[
        (
            "routes: []\nroutes: []",
            "2:1: routes: this key is given twice; keep one of the two",
        ),
        (
            "drain:\n  deadline: 1s\nroutes:\n  - path: /a\n    upstream: http://a\n  - path: /b\n    upstream: http://b\n    path: /c\n",
            "8:5: routes[1].path: this key is given twice; keep one of the two",
        ),
        (
            "upstreams:\n  app: { servers: [\"http://a\"] }\n  app: { servers: [\"http://b\"] }\n",
            "3:3: upstreams.app: this key is given twice; keep one of the two",
        ),
        (
            "routes:\n  - path: /\n    sse: { hold: 0, heartbeat: 1s, heartbeat: 2s }\n",
            "3:36: routes[0].sse.heartbeat: this key is given twice; keep one of the two",
        ),
        (
            "routes:\n  - path: /\n    sse:\n      heartbeat: 1s\n    upstream: x\n    sse: {}\n",
            "6:5: routes[0].sse: this key is given twice; keep one of the two",
        ),
    ]);
}

#[test]
fn unknown_keys() {
    check_sse(&[
        (
            "{ hearbeat: 15s }",
            "12: routes[0].sse.hearbeat: unknown key; did you mean `heartbeat`?",
        ),
        (
            "{ on-gap: close }",
            "12: routes[0].sse.on-gap: unknown key; did you mean `on_gap`?",
        ),
        (
            "{ buffer: { byte: 1MiB } }",
            "22: routes[0].sse.buffer.byte: unknown key; did you mean `bytes`?",
        ),
        (
            "{ key: { flavours: [] } }",
            "19: routes[0].sse.key.flavours: unknown key; valid here: headers, ignore_query, header, json, max, repeat",
        ),
        (
            "{ reconnect: { min: 1s } }",
            "25: routes[0].sse.reconnect.min: unknown key; valid here: initial, max, give_up_after",
        ),
    ]);
    check(&[
        (
            "defaults: { heartbaet: 1s }",
            "1:13: defaults.heartbaet: unknown key; did you mean `heartbeat`?",
        ),
        (
            "drain: { patience: 1s }",
            "1:10: drain.patience: unknown key; valid here: deadline, spread, retry",
        ),
        (
            "limits: { connection: 1 }",
            "1:11: limits.connection: unknown key; did you mean `connections`?",
        ),
        (
            "admin: { adress: 127.0.0.1:1 }",
            "1:10: admin.adress: unknown key; did you mean `address`?",
        ),
        (
            "listeners: [{ adress: 127.0.0.1:1 }]",
            "1:15: listeners[0].adress: unknown key; did you mean `address`?",
        ),
        (
            "upstreams: { app: { server: x } }",
            "1:21: upstreams.app.server: unknown key; did you mean `servers`?",
        ),
        (
            "routes: [{ methdos: [GET] }]",
            "1:12: routes[0].methdos: unknown key; did you mean `methods`?",
        ),
    ]);
}

#[test]
fn durations() {
    check_sse(&[
        (
            "{ heartbeat: 15 }",
            "23: routes[0].sse.heartbeat: \"15\" is not a duration; write a number with a unit, such as 15s or 500ms",
        ),
        (
            "{ heartbeat: soon }",
            "23: routes[0].sse.heartbeat: \"soon\" is not a duration; write a number with a unit, such as 15s or 500ms",
        ),
        (
            "{ heartbeat: yes }",
            "23: routes[0].sse.heartbeat: \"yes\" is not a duration; write a number with a unit, such as 15s or 500ms",
        ),
        (
            "{ heartbeat: 1_5 }",
            "23: routes[0].sse.heartbeat: \"1_5\" is not a duration; write a number with a unit, such as 15s or 500ms",
        ),
        (
            "{ heartbeat: ~ }",
            "23: routes[0].sse.heartbeat: has no value; write one, or remove the key",
        ),
        (
            "{ heartbeat: 5ms }",
            "23: routes[0].sse.heartbeat: \"5ms\" is too short: heartbeats would outweigh events; write 100ms or more, or 0 to send none",
        ),
        (
            "{ retain: -1s }",
            "20: routes[0].sse.retain: \"-1s\" is not a duration; write a number with a unit, such as 15s or 500ms",
        ),
        (
            "{ linger: forever }",
            "20: routes[0].sse.linger: \"forever\" is neither a duration nor `complete`; write 30s, 0 or complete",
        ),
        (
            "{ retry: 5s..2s }",
            "19: routes[0].sse.retry: \"5s..2s\" ends before it begins; write the shorter duration first",
        ),
        (
            "{ retry: 2-5s }",
            "19: routes[0].sse.retry: \"2-5s\" is not a duration or a range of two; write 3s or 2s..5s",
        ),
        (
            "{ retry: 0s..5s }",
            "19: routes[0].sse.retry: \"0s..5s\" begins at zero: clients would return without pause; write 1s..3s, or ~ to leave the delay to them",
        ),
        (
            "{ batch: 1m }",
            "19: routes[0].sse.batch: \"1m\" is too long: every event would arrive that late; write 10s or less",
        ),
        (
            "{ upstream_idle: 0 }",
            "27: routes[0].sse.upstream_idle: \"0\" is too short: every upstream would be taken for dead (~ turns the watchdog off); write 1ms or more",
        ),
        (
            "{ reconnect: { initial: 0s } }",
            "34: routes[0].sse.reconnect.initial: \"0s\" is too short: a dead upstream would be tried without pause; write 1ms or more",
        ),
        (
            "{ reconnect: { initial: 5s, max: 2s } }",
            "34: routes[0].sse.reconnect.initial: \"5s\" is longer than reconnect.max, which is 2s; write at most that, or raise max",
        ),
        (
            "{ buffer: { age: 0 } }",
            "27: routes[0].sse.buffer.age: \"0\" is too short: nothing would be retained; write 1ms or more",
        ),
    ]);
    check(&[
        (
            "drain: { deadline: 5s, spread: 10s }",
            "1:32: drain.spread: \"10s\" is longer than drain.deadline, after which everything is cut; write at most the deadline",
        ),
        (
            "limits: { header_timeout: 1ms }",
            "1:27: limits.header_timeout: \"1ms\" is too short: no client could be that quick; write 100ms or more",
        ),
    ]);
}

#[test]
fn sizes_and_counts() {
    check_sse(&[
        (
            "{ max_event_bytes: 1M }",
            "29: routes[0].sse.max_event_bytes: \"1M\" is not a size; write a number with a unit, such as 4MiB or 512KiB",
        ),
        (
            "{ max_event_bytes: 100 }",
            "29: routes[0].sse.max_event_bytes: \"100\" is too small; write 1KiB or more",
        ),
        (
            "{ max_event_bytes: 8MiB }",
            "29: routes[0].sse.max_event_bytes: \"8MiB\" is more than buffer.bytes, which is 4MiB: such an event could not be replayed; write at most that, or raise buffer.bytes",
        ),
        (
            "{ buffer: { events: 0 } }",
            "30: routes[0].sse.buffer.events: \"0\" is not a count; write a whole number, 1 or more",
        ),
        (
            "{ buffer: { events: many } }",
            "30: routes[0].sse.buffer.events: \"many\" is not a count; write a whole number, 1 or more",
        ),
        (
            "{ buffer: { bytes: 10 } }",
            "29: routes[0].sse.buffer.bytes: \"10\" is too small; write 1KiB or more",
        ),
    ]);
    check(&[
        (
            "limits: { connections: 0 }",
            "1:24: limits.connections: \"0\" is not a count; write a whole number, 1 or more",
        ),
        (
            "limits: { buffered_bytes: 1KiB }",
            "1:27: limits.buffered_bytes: \"1KiB\" is too small; write 1MiB or more",
        ),
        (
            "limits: { buffered_bytes: 1MiB }\nroutes: [{ path: /, upstream: \"http://a\", sse: { buffer: { bytes: 2MiB } } }]",
            "1:9: limits: buffered_bytes bounds all streams together but is smaller than the largest buffer of one; write 2MiB or more",
        ),
    ]);
}

#[test]
fn words() {
    check_sse(&[
        (
            "{ mode: share }",
            "18: routes[0].sse.mode: \"share\" is not valid (did you mean `shared`?); write one of: auto, shared, one_shot, passthrough, mcp",
        ),
        (
            "{ ids: mine }",
            "17: routes[0].sse.ids: \"mine\" is not valid; write one of: auto, assign, preserve",
        ),
        (
            "{ resume: last-event-id }",
            "20: routes[0].sse.resume: \"last-event-id\" is not valid (did you mean `last_event_id`?); write one of: none, last_event_id, snapshot",
        ),
        (
            "{ on_gap: stop }",
            "20: routes[0].sse.on_gap: \"stop\" is not valid; write one of: continue, reset, close",
        ),
        (
            "{ join: tail }",
            "18: routes[0].sse.join: \"tail\" is not valid; write live, start, or tail:N with N 1 or more",
        ),
        (
            "{ join: \"tail:0\" }",
            "18: routes[0].sse.join: \"tail:0\" is not valid; write live, start, or tail:N with N 1 or more",
        ),
        (
            "{ gap_event: \"a\\nb\" }",
            "23: routes[0].sse.gap_event: \"a\\nb\" is not an event type; write a word such as sse-gap, or ~ to send none",
        ),
    ]);
    check(&[(
        "upstreams: { app: { servers: [\"http://a\"], balance: random } }",
        "1:53: upstreams.app.balance: \"random\" is not valid; write one of: round_robin, least_streams",
    )]);
}

#[test]
fn headers_and_credentials() {
    check_sse(&[
        (
            "{ key: { headers: [\"a b\"] } }",
            "29: routes[0].sse.key.headers[0]: \"a b\" is not a header name; write one such as authorization",
        ),
        (
            "{ key: { headers: [Last-Event-ID] } }",
            "29: routes[0].sse.key.headers[0]: cannot be part of the key: it differs for every client, and none would share a stream; remove it",
        ),
        (
            "{ principal: [\"x y\"] }",
            "24: routes[0].sse.principal[0]: \"x y\" is not a header name; write one such as authorization",
        ),
        (
            "{ principal: [\"cookie:\"] }",
            "24: routes[0].sse.principal[0]: \"cookie:\" names no cookie; write \"cookie:session\" with the cookie's name",
        ),
        (
            "{ principal: [Cookie] }",
            "24: routes[0].sse.principal[0]: the whole Cookie header changes too often to recognise anyone by; name one cookie, such as \"cookie:session\"",
        ),
        (
            "{ principal: authorization }",
            "23: routes[0].sse.principal: is a single value, but a list is needed; write [a, b], or `- ` before each entry",
        ),
    ]);
}

#[test]
fn addresses() {
    const HINT: &str = "is not an IP address and port; write 0.0.0.0:8080 for every IPv4 interface, [::]:8080 for IPv6, 127.0.0.1:8080 for this machine only";
    for (text, expected) in [
        (
            "listeners: [{ address: localhost:80 }]",
            "1:24: listeners[0].address: \"localhost:80\"",
        ),
        (
            "listeners: [{ address: \":80\" }]",
            "1:24: listeners[0].address: \":80\"",
        ),
        (
            "listeners: [{ address: 8080 }]",
            "1:24: listeners[0].address: \"8080\"",
        ),
        (
            "admin: { address: 127.0.0.1 }",
            "1:19: admin.address: \"127.0.0.1\"",
        ),
    ] {
        assert_eq!(mistake(text), format!("{expected} {HINT}"));
    }
    check(&[
        (
            "listeners: []",
            "1:12: listeners: is empty; list at least one `- address: IP:PORT`, or remove the key for the default",
        ),
        (
            "listeners: [{}]",
            "1:13: listeners[0]: has no `address`; write one, such as 0.0.0.0:8080",
        ),
        (
            "listeners:\n  - address: 0.0.0.0:80\n  - address: 0.0.0.0:80\n",
            "3:5: listeners[1]: has the address of listeners[0]; every listener needs its own",
        ),
        (
            "listeners: [{ address: 127.0.0.1:80 }]\nadmin: { address: 127.0.0.1:80 }\nroutes: [{ path: /, upstream: \"http://a\" }]",
            "2:8: admin: has the address of a listener; write an address of its own, such as 127.0.0.1:9901",
        ),
    ]);
}

#[test]
fn upstreams() {
    const MORE: &str = "has a path, query or fragment; write scheme, host and port only: requests keep the path they came with";
    const URL: &str = "is not a URL; write scheme, host and port, such as http://127.0.0.1:3000";
    for (url, expected) in [
        ("http://a/b", MORE),
        ("http://a/?b", MORE),
        ("http://a?b", MORE),
        ("http://a#b", MORE),
        ("app:3000", URL),
        ("http://", URL),
        ("http://a:99999", URL),
        ("http://a:0", URL),
        ("http://[::1]:x", URL),
        ("/a", URL),
        (
            "ftp://a",
            "has a scheme that is not served; write http:// or https://",
        ),
    ] {
        let text = format!("upstreams: {{ app: {{ servers: [\"{url}\"] }} }}");
        let expected = format!("1:31: upstreams.app.servers[0]: \"{url}\" {expected}");
        assert_eq!(mistake(&text), expected);
    }
    check(&[
        (
            "upstreams: { app: {} }",
            "1:19: upstreams.app: has no `servers`; list at least one URL, such as [\"http://127.0.0.1:3000\"]",
        ),
        (
            "upstreams: { app: { servers: [] } }",
            "1:30: upstreams.app.servers: is empty; list at least one URL, such as [\"http://127.0.0.1:3000\"]",
        ),
        (
            "upstreams: { app: { servers: [\"http://a\", \"http://a/\"] } }",
            "1:43: upstreams.app.servers[1]: is the same as upstreams.app.servers[0]; list each server once",
        ),
        (
            "upstreams: { \"http://a\": { servers: [\"http://a\"] } }",
            "1:14: upstreams.http://a: is not a name; write a word, and the URL under `servers`",
        ),
        (
            "upstreams: { app: { servers: [\"http://a\"], health_check: {} } }",
            "1:58: upstreams.app.health_check: has no `path`; write one, such as /healthz",
        ),
        (
            "upstreams: { app: { servers: [\"http://a\"], health_check: { path: ok } } }",
            "1:66: upstreams.app.health_check.path: \"ok\" is not a path; write one that begins with a slash, such as /healthz",
        ),
        (
            "upstreams: { app: { servers: [\"http://a\"], connect_timeout: 0 } }",
            "1:61: upstreams.app.connect_timeout: \"0\" is too short: nothing could be reached in it; write 1ms or more",
        ),
    ]);
}

#[test]
fn routes() {
    check(&[
        (
            "routes: [{ upstream: \"http://a\" }]",
            "1:10: routes[0]: has no `path`; write one, such as / for everything",
        ),
        (
            "routes: [{ path: / }]",
            "1:10: routes[0]: has no `upstream`; write a name from `upstreams`, or a URL such as http://127.0.0.1:3000",
        ),
        (
            "routes: [{ path: / , upstream: app }]",
            "1:32: routes[0].upstream: there is no upstream \"app\": `upstreams` has none; add it, or write a URL such as http://127.0.0.1:3000",
        ),
        (
            "upstreams: { app: { servers: [\"http://a\"] } }\nroutes: [{ path: / , upstream: ap }]",
            "2:32: routes[0].upstream: there is no upstream \"ap\"; did you mean `app`?",
        ),
        (
            "upstreams: { app: { servers: [\"http://a\"] } }\nroutes: [{ path: / , upstream: backend }]",
            "2:32: routes[0].upstream: there is no upstream \"backend\"; `upstreams` has: app",
        ),
        (
            "routes: [{ path: / , upstream: \"http://a/b\" }]",
            "1:32: routes[0].upstream: \"http://a/b\" has a path, query or fragment; write scheme, host and port only: requests keep the path they came with",
        ),
        (
            "routes: [{ path: events }]",
            "1:18: routes[0].path: \"events\" does not begin with a slash; write a path such as /events",
        ),
        (
            "routes: [{ path: /a?b }]",
            "1:18: routes[0].path: \"/a?b\" has a query or fragment, which routes do not match; write the path alone",
        ),
        (
            "routes: [{ path: /a/ }]",
            "1:18: routes[0].path: \"/a/\" ends with a slash; leave it out: a path matches itself and everything below it",
        ),
        (
            "routes: [{ path: /a/* }]",
            "1:18: routes[0].path: \"/a/*\" has a `*`; leave it out: a path matches itself and everything below it",
        ),
        (
            "routes: [{ path: \"/a b\" }]",
            "1:18: routes[0].path: \"/a b\" has characters that no request path has; percent-encode them",
        ),
        (
            "routes: [{ path: /, host: \"https://a\" }]",
            "1:27: routes[0].host: \"https://a\" is not a host name; write one without scheme and port, such as example.com or *.example.com",
        ),
        (
            "routes: [{ path: /, host: \"a:80\" }]",
            "1:27: routes[0].host: \"a:80\" is not a host name; write one without scheme and port, such as example.com or *.example.com",
        ),
        (
            "routes: [{ path: /, methods: [get] }]",
            "1:31: routes[0].methods[0]: \"get\" is not valid (did you mean `GET`?); write one of: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        (
            "routes: [{ path: /, methods: [] }]",
            "1:30: routes[0].methods: is empty and would match nothing; list methods, or remove the key",
        ),
        (
            "routes: [{ path: /, methods: [POST], upstream: \"http://a\", sse: { mode: shared } }]",
            "1:30: routes[0].methods: does not list GET, but the route is `mode: shared` and only GET streams are shared; add GET or change the mode",
        ),
    ]);
}

#[test]
fn the_environment() {
    check(&[
        (
            "routes: [{ path: \"/${NOWHERE}\" }]",
            "1:18: routes[0].path: the environment variable NOWHERE is not set; set it, or write ${NOWHERE:-default}",
        ),
        (
            "routes: [{ path: \"/${NOWHERE\" }]",
            "1:18: routes[0].path: `${` is not closed; write ${NAME}, or $${ for the text itself",
        ),
        (
            "routes: [{ path: \"/${a.b}\" }]",
            "1:18: routes[0].path: `${a.b}` is not understood; write ${NAME} or ${NAME:-default}",
        ),
        (
            "routes: [{ path: \"${EMPTY}\" }]",
            "1:18: routes[0].path: has no value; write one, or remove the key",
        ),
    ]);
}

#[test]
fn what_the_environment_holds_is_never_shown() {
    for text in [
        "routes: [{ path: \"${SECRET}\" }]",
        "routes: [{ path: /, upstream: \"${SECRET}\" }]",
        "routes: [{ path: /, upstream: \"${SECRET_URL}\" }]",
        "routes: [{ path: /, upstream: \"http://a/${SECRET}\" }]",
        "routes: [{ path: /, methods: [\"${SECRET}\"] }]",
        "upstreams: { app: { servers: [\"${SECRET}\"] } }",
        "upstreams: { app: { servers: [\"http://user:${SECRET}@a\"] } }",
        "drain: { deadline: \"${SECRET}\" }",
        "limits: { connections: \"${SECRET}\" }",
        "limits: { buffered_bytes: \"${SECRET}\" }",
        "admin: { address: \"${SECRET}\" }",
        "journal: { kind: \"${SECRET}\" }",
        "listeners: [{ address: 127.0.0.1:0, tls: { certificate: \"${SECRET}\", private_key: x } }]",
        "defaults: { mode: \"${SECRET}\" }",
        "defaults: { retry: \"${SECRET}\" }",
        "defaults: { linger: \"${SECRET}\" }",
        "defaults: { join: \"${SECRET}\" }",
        "defaults: { principal: [\"${SECRET} x\"] }",
    ] {
        let said = mistake(text);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_password_in_a_url_is_not_shown_either() {
    check(&[(
        "routes: [{ path: /, upstream: \"http://user:password@a\" }]",
        "1:31: routes[0].upstream: holds a user name or password, which a server's URL may not; write scheme, host and port only",
    )]);
}

#[test]
fn a_file_that_is_not_there() {
    let error = tower_sse::proxy::Config::load("no/such/proxy.yaml".as_ref()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no/such/proxy.yaml: cannot read the configuration: no such file; name another by --config"
    );
}

#[test]
fn arguments() {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let error = tower_sse::proxy::Config::single(listen, "app").unwrap_err();
    assert_eq!(
        error.to_string(),
        "--upstream: \"app\" is not a URL; write scheme, host and port, such as http://127.0.0.1:3000"
    );
}

#[test]
fn answers() {
    check_sse(&[
        (
            "{ profile: openia }",
            "21: routes[0].sse.profile: \"openia\" is not valid (did you mean `openai`?); write one of: openai, anthropic, vercel-ai, ag-ui, graphql-sse, a2a, mcp",
        ),
        (
            "{ finish: [done] }",
            "21: routes[0].sse.finish[0]: \"done\" marks no event; write { event: NAME }, { data: TEXT }, { json: /POINTER, is: [VALUE] } or json_rpc_response",
        ),
        (
            "{ finish: [{ event: a, data: b }] }",
            "21: routes[0].sse.finish[0]: marks no event; write { event: NAME }, { data: TEXT }, { json: /POINTER, is: [VALUE] } or json_rpc_response",
        ),
        (
            "{ finish: [{ is: [a] }] }",
            "21: routes[0].sse.finish[0]: marks no event; write { event: NAME }, { data: TEXT }, { json: /POINTER, is: [VALUE] } or json_rpc_response",
        ),
        (
            "{ finish: [{ json: type }] }",
            "29: routes[0].sse.finish[0].json: \"type\" is not a JSON pointer; write one such as /id or /params/chat/0",
        ),
        (
            "{ finish: [{ json: /a~b }] }",
            "29: routes[0].sse.finish[0].json: \"/a~b\" is not a JSON pointer; write one such as /id or /params/chat/0",
        ),
        (
            "{ max_runtime: 0s }",
            "25: routes[0].sse.max_runtime: \"0s\" is too short: every answer that nobody reads would be stopped; write 1ms or more",
        ),
        (
            "{ max_detached: few }",
            "26: routes[0].sse.max_detached: \"few\" is not a count; write a whole number, 0 for none",
        ),
        (
            "{ retries: 11 }",
            "21: routes[0].sse.retries: \"11\" is not valid; write a whole number up to 10, 0 for none",
        ),
        (
            "{ attach: /chat/stream }",
            "20: routes[0].sse.attach: \"/chat/stream\" is not a path with one {key} in it; write one such as /chat/{key}/stream",
        ),
        (
            "{ attach: \"/chat/x{key}/stream\" }",
            "20: routes[0].sse.attach: \"/chat/x{key}/stream\" is not a path with one {key} in it; write one such as /chat/{key}/stream",
        ),
        (
            "{ list: streams }",
            "18: routes[0].sse.list: \"streams\" is not a path; write one such as /chat/streams",
        ),
        (
            "{ key: { header: a, json: /id } }",
            "36: routes[0].sse.key.json: is a second place to look for the name, beside `header`; remove one",
        ),
        (
            "{ key: { max: 4KiB } }",
            "24: routes[0].sse.key.max: says how much of a body to read, but no `json` says what for; remove it",
        ),
        (
            "{ key: { json: /id, max: 17MiB } }",
            "35: routes[0].sse.key.max: \"17MiB\" is too much to read of every request before it is sent on; write 16MiB or less",
        ),
        (
            "{ key: { json: /id, max: 1KB } }",
            "35: routes[0].sse.key.max: \"1KB\" is too small; write 1KiB or more",
        ),
        (
            "{ key: { header: last-event-id } }",
            "27: routes[0].sse.key.header: cannot be part of the key: it differs for every client, and none would share a stream; remove it",
        ),
        (
            "{ key: { header: a, headers: [b] } }",
            "39: routes[0].sse.key.headers: names requests, and `header` or `json` beside it names streams; a route can have one of both",
        ),
        (
            "{ key: { repeat: replace } }",
            "27: routes[0].sse.key.repeat: \"replace\" is not valid; write one of: attach, supersede, refuse",
        ),
    ]);
    let route =
        |more: &str| format!("routes:\n  - path: /chat\n    upstream: http://app\n    {more}\n");
    check(&[
        (
            &route("sse: { list: /chats }"),
            "4:10: routes[0].sse: has /chats for its streams, but the route matches only what is below /chat; write a path below that",
        ),
        (
            &route("methods: [GET, POST]\n    sse: { attach: \"/chat/{key}\" }"),
            "5:10: routes[0].sse: has `attach`, which is asked for with GET and DELETE, but the route's methods do not list DELETE; add it",
        ),
    ]);
}
