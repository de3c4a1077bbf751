//! The programs `tests/run` installs.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::process::Command;

use super::Process;
use super::scratch::Scratch;

/// A script of `scripts/` in Node, with the pinned packages of `package.json`.
pub(crate) fn node(script: &str, arguments: &[&str]) -> Process {
    Process::spawn(script, node_command(script, arguments))
}

/// A script of `scripts/` in Python, with the pinned packages of
/// `requirements.txt`.
pub(crate) fn python(script: &str, arguments: &[&str]) -> Process {
    let interpreter = installed(home().join(".venv/bin/python"));
    let mut command = Command::new(interpreter);
    command
        .arg(home().join("scripts").join(script))
        .args(arguments);
    Process::spawn(script, command)
}

/// curl, showing the response head, with nothing held back.
pub(crate) fn curl(arguments: &[&str]) -> Process {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--no-buffer", "--include"])
        .args(arguments);
    Process::spawn("curl", command)
}

/// Chromium on a page, and its profile, to be kept until the browser is closed.
pub(crate) fn browser(url: &str) -> (Process, Scratch) {
    chromium("browser.mjs", url)
}

/// A script of `scripts/` that has Chromium do something at a URL.
pub(crate) fn chromium(script: &str, url: &str) -> (Process, Scratch) {
    let profile = Scratch::new();
    let mut command = node_command(script, &[url]);
    command.env("TMPDIR", profile.path());
    (Process::spawn("chromium", command), profile)
}

/// A port for a server that will be killed and started again on it.
///
/// Below the range the system hands out to connections: otherwise, while the
/// server is away, one of those could be given its port, even the very one
/// that tries to reach it.
pub(crate) fn port_to_return_to() -> u16 {
    static HANDED_OUT: AtomicU16 = AtomicU16::new(0);
    // Other runs on this machine begin elsewhere, other tests of this one get
    // the next.
    let first = 10_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    loop {
        let port = first + HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn node_command(script: &str, arguments: &[&str]) -> Command {
    installed(home().join("node_modules/.package-lock.json"));
    let mut command = Command::new("node");
    command
        .arg(home().join("scripts").join(script))
        .args(arguments);
    command
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing; run tests/run --install once",
        path.display()
    );
    path
}
