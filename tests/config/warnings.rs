//! What is valid and still worth a word.

use super::parse;

fn warnings(text: &str) -> Vec<String> {
    parse(text).unwrap().warnings()
}

#[test]
fn a_shared_route_strips_what_its_key_does_not_list() {
    let text = "routes:\n  - path: /\n    upstream: http://a\n    sse:\n      mode: shared\n      \
                principal: [authorization, x-user, \"cookie:session\"]\n      \
                key: { headers: [X-User] }\n";
    assert_eq!(
        warnings(text),
        [
            "routes[0].sse.principal: authorization is stripped from the upstream request, as \
             the route is `mode: shared` and its key does not list it",
            "routes[0].sse.principal: cookie:session is stripped from the upstream request, as \
             the route is `mode: shared` and its key does not list it",
        ]
    );
}

#[test]
fn a_credential_is_no_name_for_a_request() {
    let text = "routes:\n  - path: /\n    upstream: http://a\n    sse:\n      \
                principal: [x-user]\n      key: { headers: [idempotency-key, X-User] }\n";
    assert_eq!(
        warnings(text),
        [
            "routes[0].sse.key.headers: x-user names one-shots, as the route is not \
             `mode: shared`: requests with the same x-user are given the same answer"
        ]
    );
    assert_eq!(warnings(&text.replace(", X-User", "")), [""; 0]);
    let shared = text.replace("    sse:\n", "    sse:\n      mode: shared\n");
    assert_eq!(warnings(&shared), [""; 0]);
}

#[test]
fn a_route_that_is_never_reached() {
    let text = "routes:\n  - { path: /a, upstream: \"http://a\" }\n  \
                - { path: /ab, upstream: \"http://a\" }\n  \
                - { path: /a/b, methods: [GET], host: x.y, upstream: \"http://a\" }\n";
    assert_eq!(
        warnings(text),
        [
            "routes[2]: never reached, as routes[0] comes first and matches everything it does; \
          move it up"
        ]
    );
    let narrower = text.replace("path: /a,", "path: /a, host: \"*.y\", methods: [POST],");
    assert_eq!(warnings(&narrower), [""; 0]);
}

#[test]
fn an_upstream_without_routes_and_a_stream_without_principal() {
    let text = "upstreams: { spare: { servers: [\"http://b\"] } }\n\
                routes: [{ path: /, upstream: \"http://a\", sse: { principal: [] } }]\n";
    assert_eq!(
        warnings(text),
        [
            "upstreams.spare: no route leads to it",
            "routes[0].sse.principal: is empty, so whoever learns an event id can read the \
             stream it belongs to",
        ]
    );
}
