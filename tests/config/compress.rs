//! `compress`, of a route and of its event streams.

use tower_sse::resume::settings::Coding;

use super::{parse, with_sse};

#[test]
fn it_is_off_unless_asked_for() {
    let config = parse("routes: [{ path: /, upstream: http://a }]").unwrap();
    assert_eq!(config.routes[0].compress, None);
    assert_eq!(config.routes[0].sse.compress, None);
}

#[test]
fn streams_and_other_answers_are_two_keys() {
    let config = parse(
        "defaults: { compress: gzip }\nroutes:\n  \
         - { path: /a, upstream: http://a, compress: gzip, sse: { compress: ~ } }\n  \
         - { path: /b, upstream: http://a, compress: ~ }\n",
    )
    .unwrap();
    let [a, b] = &config.routes[..] else {
        panic!("two routes")
    };
    assert_eq!((a.compress, a.sse.compress), (Some(Coding::Gzip), None));
    assert_eq!((b.compress, b.sse.compress), (None, Some(Coding::Gzip)));
}

#[test]
fn mistakes_say_what_to_write() {
    let mistake = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(
        mistake(&with_sse("{ compress: zstd }")),
        "proxy.yaml:4:22: routes[0].sse.compress: \"zstd\" is not valid; write one of: gzip"
    );
    assert_eq!(
        mistake(&with_sse("{ compress: true }")),
        "proxy.yaml:4:22: routes[0].sse.compress: \"true\" is not valid; write one of: gzip"
    );
    assert_eq!(
        mistake(&with_sse("{ compression: gzip }")),
        "proxy.yaml:4:12: routes[0].sse.compression: unknown key; did you mean `compress`?"
    );
    assert_eq!(
        mistake("routes: [{ path: /, upstream: http://a, compress: gzp }]"),
        "proxy.yaml:1:51: routes[0].compress: \"gzp\" is not valid (did you mean `gzip`?); \
         write one of: gzip"
    );
    assert_eq!(
        mistake("routes: [{ path: /, upstream: http://a, compress: [gzip] }]"),
        "proxy.yaml:1:51: routes[0].compress: is a list, but one value is needed"
    );
}

#[test]
fn nothing_is_compressed_that_goes_on_verbatim() {
    let config = parse(&with_sse("{ mode: passthrough, compress: gzip }")).unwrap();
    assert_eq!(
        config.warnings(),
        [
            "routes[0].sse.compress: does nothing, as the route is `mode: passthrough`; choose \
             another mode, or let the upstream compress"
        ]
    );
}
