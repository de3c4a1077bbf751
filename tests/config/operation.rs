//! `reload`, `access_log`, `request_id`, `drain.retry`, `listeners[].reuse_port`.

use std::time::Duration;

use tower_sse::proxy::config::model::{AccessFormat, AccessLog, Config, Operations};

use super::parse;

const ROUTES: &str = "routes: [{ path: /, upstream: \"http://app\" }]\n";

fn read(text: &str) -> Config {
    let config = parse(&format!("{text}\n{ROUTES}")).unwrap();
    let printed = config.to_yaml();
    assert_eq!(parse(&printed).unwrap(), config, "{printed}");
    config
}

fn mistake(text: &str) -> String {
    let error = parse(&format!("{text}\n{ROUTES}")).unwrap_err();
    error.to_string()
}

#[test]
fn nothing_of_it_is_on_by_default() {
    let config = read("");
    assert_eq!(config.operations, Operations::default());
    assert!(!config.operations.reload.watch);
    assert_eq!(config.operations.access_log, None);
    assert_eq!(config.drain.retry, None);
    assert!(!config.listeners[0].reuse_port);
    assert_eq!(read("reload: ~\naccess_log: ~\nrequest_id: ~"), config);
}

#[test]
fn all_of_it_is_read_and_printed() {
    let folder = std::env::temp_dir();
    let path = folder.join("access $ \"log\"");
    let config = read(&format!(
        "reload: {{ watch: true }}\n\
         access_log: {{ path: '{}', format: json }}\n\
         request_id: X-Request-Id\n\
         drain: {{ retry: 1s..5s }}\n\
         listeners: [{{ address: \"127.0.0.1:0\", reuse_port: true }}]",
        path.display().to_string().replace('$', "$$")
    ));
    assert!(config.operations.reload.watch);
    let log = config.operations.access_log.unwrap();
    assert_eq!(log.path, Some(path));
    assert_eq!(log.format, AccessFormat::Json);
    let name = config.operations.request_id.unwrap();
    assert_eq!(name, "x-request-id");
    let second = Duration::from_secs(1);
    assert_eq!(config.drain.retry, Some((second, second * 5)));
    assert!(config.listeners[0].reuse_port);
}

#[test]
fn an_access_log_without_a_path_goes_to_standard_error() {
    let config = read("access_log: { format: text }");
    let expected = AccessLog {
        path: None,
        format: AccessFormat::Text,
    };
    assert_eq!(config.operations.access_log, Some(expected));
}

#[test]
fn mistakes_say_what_to_do() {
    for (text, said) in [
        (
            "reload: { watch: yes }",
            "proxy.yaml:1:18: reload.watch: \"yes\" is not valid; write one of: true, false",
        ),
        ("reload: { wach: true }", "did you mean `watch`?"),
        (
            "access_log: { path: /none/such/access.log }",
            "make the folder, or leave `path` out to write to standard error",
        ),
        ("access_log: { path: / }", "is not a file in a folder"),
        ("access_log: { format: xml }", "write one of: text, json"),
        ("request_id: Cookie", "such as X-Request-Id"),
        (
            "request_id: 'a b'",
            "proxy.yaml:1:13: request_id: \"a b\" cannot be",
        ),
        ("drain: { retry: soon }", "write 3s or 2s..5s"),
        ("drain: { retry: 5s..1s }", "drain.retry"),
        (
            "listeners: [{ address: \"127.0.0.1:0\", reuse_port: 1 }]",
            "listeners[0].reuse_port: \"1\" is not valid",
        ),
    ] {
        let error = mistake(text);
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn the_fingerprint_is_of_what_is_in_force() {
    let plain = read("");
    // Defaults that are written out change nothing.
    assert_eq!(read("admin: ~").fingerprint(), plain.fingerprint());
    let other = read("drain: { spread: 1s }");
    assert_ne!(other.fingerprint(), plain.fingerprint());
}
