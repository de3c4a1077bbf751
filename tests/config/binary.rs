//! The binary, as scripts and operators meet it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

fn sse_proxy(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
    command.args(arguments).env_remove("RUST_LOG");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = sse_proxy(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// A running proxy; killed if the test fails before it ends.
struct Running {
    child: Child,
    announced: String,
}

impl Running {
    /// Waits for the line that says where it listens.
    fn start(arguments: &[&str]) -> Self {
        let mut child = sse_proxy(arguments).spawn().expect("it starts");
        let mut announced = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut announced)
            .expect("a line");
        Self { child, announced }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Reads the log up to a line that says this.
    fn wait_for(&mut self, word: &str) {
        let stderr = self.child.stderr.as_mut().expect("piped");
        let mut lines = BufReader::new(stderr).lines();
        assert!(
            lines.any(|line| line.expect("text").contains(word)),
            "{word}"
        );
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn check_prints_a_configuration() {
    let (code, stdout, stderr) = output(&["check"]);
    assert_eq!(code, Some(0), "{stderr}");
    let printed = super::parse(&stdout).unwrap();
    assert_eq!(printed.routes.len(), 3);
    assert_eq!(stderr, "");
}

#[test]
fn what_the_operator_can_change_ends_with_2() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    for (arguments, said) in [
        (
            &["--config", "none.yaml"][..],
            "sse-proxy: error: none.yaml: cannot read the configuration: no such file; name another by --config\n",
        ),
        (
            &["check", "--config", "none.yaml"],
            "sse-proxy: error: none.yaml: cannot read",
        ),
        (
            &["--listen", "127.0.0.1:0", "--upstream", "x"],
            "sse-proxy: error: --upstream: \"x\" is not a URL",
        ),
        (
            &["--listen", "127.0.0.1:0"],
            "error: the following required arguments",
        ),
        (
            &["--log-level", "loud=much"],
            "sse-proxy: error: not a log level or filter: ",
        ),
        (
            &[
                "--log-level",
                "error",
                "--upstream",
                "http://a",
                "--listen",
                &taken,
            ],
            "sse-proxy: error: cannot listen on ",
        ),
    ] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.starts_with(said), "{stderr}");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_drains() {
    for signal in ["TERM", "INT"] {
        let arguments = [
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            "http://127.0.0.1:9",
        ];
        let running = Running::start(&arguments);
        let address = running
            .announced
            .strip_prefix("listening http://")
            .expect("the line");
        let address: std::net::SocketAddr = address.trim_end().parse().expect("an address");
        assert_ne!(address.port(), 0);
        running.signal(signal);
        assert_eq!(running.end().code(), Some(0));
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_at_once() {
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
    let upstream = format!("http://{}", backend.local_addr().expect("an address"));
    let mut running = Running::start(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let address = running
        .announced
        .trim_end()
        .replace("listening http://", "");
    let mut client = std::net::TcpStream::connect(address).expect("a connection");
    // A request whose answer never comes: it may run until the deadline.
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    std::io::Write::write_all(&mut client, request).expect("sent");
    let (mut held, _) = backend.accept().expect("the proxy connects");
    held.read_exact(&mut [0; 4]).expect("the request");
    running.signal("TERM");
    running.wait_for("draining");
    running.signal("TERM");
    assert_eq!(running.end().code(), Some(1));
}

#[test]
fn the_demo_serves_its_page_through_the_proxy() {
    let running = Running::start(&["demo", "--listen", "127.0.0.1:0"]);
    let address = running
        .announced
        .trim_end()
        .replace("listening http://", "");
    let mut client = std::net::TcpStream::connect(address).expect("a connection");
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    std::io::Write::write_all(&mut client, request).expect("sent");
    let mut page = String::new();
    client.read_to_string(&mut page).expect("a page");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("<title>sse-proxy demo</title>") && !page.contains("{{"));
}
