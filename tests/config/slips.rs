//! What is suggested where a key or a word is nearly right, or in the wrong
//! place.

use super::{parse, with_sse};

/// What is said about a text, without place and key.
fn said(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.message().to_owned(),
    }
}

const ROUTES: &str = "routes: [{ path: /, upstream: \"http://a\" }]\n";

#[test]
fn keys_are_suggested_at_every_level() {
    for (wrong, right) in [
        ("listners: []", "listeners"),
        ("listeners: [{ adress: a }]", "address"),
        ("listeners: [{ address: \"[::1]:0\", tsl: ~ }]", "tls"),
        (
            "listeners: [{ address: \"[::1]:0\", tls: { certifcate: a } }]",
            "certificate",
        ),
        ("admin: { addres: a }", "address"),
        ("journal: { knd: memory }", "kind"),
        ("drain: { deadlin: 1s }", "deadline"),
        ("limits: { conections: 1 }", "connections"),
        ("upstreams: { a: { servres: [] } }", "servers"),
        (
            "upstreams: { a: { servers: [\"http://a\"], health_check: { intervall: 1s } } }",
            "interval",
        ),
        ("defaults: { hartbeat: 1s }", "heartbeat"),
        ("defaults: { buffer: { event: 1 } }", "events"),
        ("defaults: { key: { header_s: [] } }", "headers"),
        ("defaults: { reconnect: { intial: 1s } }", "initial"),
        ("defaults: { finish: [{ evnt: a }] }", "event"),
    ] {
        let said = said(&format!("{wrong}\n{ROUTES}"));
        let expected = format!("unknown key; did you mean `{right}`?");
        assert_eq!(said, expected, "{wrong}");
    }
}

#[test]
fn keys_in_the_wrong_place_are_sent_to_the_right_one() {
    for (wrong, place) in [
        ("heartbeat: 15s", "`defaults` or `routes[].sse`"),
        (
            "certificate: a.pem",
            "`listeners[].tls` or `listeners[].tls.certificates[]` or `upstreams.*.tls`",
        ),
        ("limits: { spread: 1s }", "`drain`"),
        ("upstreams: { a: { interval: 1s } }", "`health_check`"),
        (
            "listeners: [{ private_key: a }]",
            "`tls.certificates[]` or `tls`",
        ),
        ("defaults: { give_up_after: 1s }", "`reconnect`"),
        ("defaults: { listeners: [] }", "the top level"),
        ("admin: { heartbeat: 1s }", "`defaults` or `routes[].sse`"),
    ] {
        let said = said(&format!("{wrong}\n{ROUTES}"));
        let expected = format!("belongs under {place}; move it there (valid here: ");
        assert!(said.contains(&expected), "{wrong}: {said}");
    }
    let route = "routes: [{ path: /, upstream: \"http://a\", heartbeat: 15s }]";
    assert_eq!(
        said(route),
        "`heartbeat` belongs under `sse`; move it there (valid here: host, path, methods, \
         upstream, rate_limit, upgrade, sse, compress, cors, jwt, forward_auth)"
    );
}

#[test]
fn words_are_suggested() {
    for (sse, word) in [
        ("{ mode: share }", "shared"),
        ("{ ids: preserv }", "preserve"),
        ("{ resume: last-event-id }", "last_event_id"),
        ("{ on_gap: contine }", "continue"),
        ("{ profile: vercel_ai }", "vercel-ai"),
        ("{ join: strat }", "start"),
        ("{ linger: complet }", "complete"),
        ("{ finish: [json_rpc_respons] }", "json_rpc_response"),
        ("{ key: { repeat: atach } }", "attach"),
    ] {
        let said = said(&with_sse(sse));
        let expected = format!("(did you mean `{word}`?)");
        assert!(said.contains(&expected), "{sse}: {said}");
    }
    let app = "upstreams: { backend: { servers: [\"http://a\"] } }\n";
    let said = said(&format!("{app}routes: [{{ path: /, upstream: bakend }}]"));
    assert!(said.contains("did you mean `backend`?"), "{said}");
}
