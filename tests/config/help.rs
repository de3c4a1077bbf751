//! What the binary says of itself: schema, completions, manual.

use std::io::Write;
use std::process::{Command, Stdio};

use tower_sse::proxy::schema;

fn sse_proxy(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
        .args(arguments)
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn printed(arguments: &[&str]) -> String {
    let (code, stdout, stderr) = sse_proxy(arguments);
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

/// What another program makes of a text; `None` if it is not there.
fn through(program: &str, arguments: &[&str], text: &str) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().expect("piped");
    // A page is shorter than a pipe holds, so it is written whole.
    stdin.write_all(text.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

const COMMANDS: [&str; 6] = ["check", "schema", "demo", "tail", "completions", "man"];

#[test]
fn the_schema_is_printed() {
    let text = printed(&["schema"]);
    assert_eq!(text, schema::TEXT);
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
}

#[test]
fn shells_take_the_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for word in COMMANDS.iter().chain(&["online", "since", "config"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        // Without running it: the shell need not be here.
        through(shell, &["-n"], &script);
    }
    let bash = printed(&["completions", "bash"]);
    assert!(through("bash", &["-n"], &bash).is_some(), "bash is here");
    // And it completes.
    let asked = format!(
        "{bash}\nCOMP_WORDS=(sse-proxy ta) COMP_CWORD=1\n_sse__proxy sse-proxy ta sse-proxy\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    assert_eq!(through("bash", &[], &asked).as_deref(), Some("tail\n"));
}

#[test]
fn manual_pages() {
    let page = printed(&["man"]);
    for heading in [
        "NAME",
        "SYNOPSIS",
        "OPTIONS",
        "SUBCOMMANDS",
        "FILES",
        "ENVIRONMENT",
        "NOTES",
    ] {
        assert!(page.contains(&format!(".SH {heading}\n")), "{heading}");
    }
    for command in COMMANDS {
        let page = printed(&["man", command]);
        assert!(page.contains(&format!("sse\\-proxy\\-{command}")), "{page}");
        if let Some(read) = through("man", &["--warnings", "-E", "UTF-8", "-l", "-"], &page) {
            assert!(read.contains("SYNOPSIS"), "{read}");
        }
    }
    if let Some(read) = through("man", &["--warnings", "-E", "UTF-8", "-l", "-"], &page) {
        assert!(read.contains("sse-proxy-tail(1)"), "{read}");
        assert!(read.contains("3  check --online"), "{read}");
    }
    let (code, _, stderr) = sse_proxy(&["man", "tial"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("there is no such command"), "{stderr}");
}
