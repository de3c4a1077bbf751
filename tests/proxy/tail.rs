//! `sse-proxy tail`, the binary, against servers that end, cut and refuse.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::authority::Authority;
use crate::harness::{Proxy, config, listener};
use crate::upstream::Upstream;

/// Long enough never to be reached by a test that works.
const PATIENCE: Duration = Duration::from_secs(60);

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
const GONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn tail(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
    command.arg("tail").args(arguments).kill_on_drop(true);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output, standard error.
async fn output(arguments: &[&str]) -> (i32, String, String) {
    let ended = tokio::time::timeout(PATIENCE, tail(arguments).output());
    let Output {
        status,
        stdout,
        stderr,
    } = ended.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A server that gives the n-th connection the n-th answer, and closes it.
async fn serving<const N: usize>(answers: [String; N]) -> Upstream {
    let answers = Arc::new(answers);
    let next = Arc::new(AtomicUsize::new(0));
    Upstream::start(move |mut connection| {
        let (answers, next) = (Arc::clone(&answers), Arc::clone(&next));
        async move {
            if connection.request().await.is_some() {
                let turn = next.fetch_add(1, Ordering::SeqCst).min(N - 1);
                connection.send(&answers[turn]).await;
            }
        }
    })
    .await
}

/// A stream whose end is the connection's: in order, as far as anybody knows.
fn stream(events: &str) -> String {
    format!("{STREAM}connection: close\r\n\r\nretry: 1\n{events}")
}

/// A stream that is cut after these events, and not at its end.
fn cut(head: &str, events: &str) -> String {
    let events = format!("retry: 1\n{events}");
    format!(
        "{STREAM}{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{events}\r\n",
        events.len()
    )
}

/// What `--json` printed of each event: id and data.
fn events(stdout: &str) -> Vec<(Option<String>, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let objects = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    objects
        .filter(|object: &Value| object.get("gap").is_none())
        .map(|object| (text(&object["id"]), text(&object["data"]).unwrap()))
        .collect()
}

fn numbered(numbers: std::ops::RangeInclusive<u32>) -> Vec<(Option<String>, String)> {
    numbers
        .map(|n| (Some(n.to_string()), format!("event {n}")))
        .collect()
}

fn event(n: u32) -> String {
    format!("id: {n}\ndata: event {n}\n\n")
}

#[tokio::test]
async fn every_event_comes_once_however_the_connections_end() {
    let server = serving([
        // In the middle of an event.
        cut("", &format!("{}{}id: 3\ndata: ev", event(1), event(2))),
        // In order, between two.
        stream(&event(3)),
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 4\r\n\r\nbusy"
            .into(),
        // Before the head.
        String::new(),
        cut(
            "sse-resume: exact\r\n",
            &format!("{}{}", event(4), event(5)),
        ),
        GONE.into(),
    ])
    .await;
    let (code, stdout, stderr) = output(&[&server.url(), "--json"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(events(&stdout), numbered(1..=5));

    let heads = server.heads();
    let ids: Vec<_> = heads
        .iter()
        .map(|head| crate::upstream::header(head, "last-event-id"))
        .collect();
    let asked = [None, Some("2"), Some("3"), Some("3"), Some("3"), Some("5")];
    assert_eq!(ids, asked);
    for said in ["503 Service Unavailable: busy", "after 3: exact", "204"] {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
}

/// The lines of standard error, up to one that says this.
async fn wait_for(child: &mut Child, word: &str) {
    let stderr = child.stderr.as_mut().unwrap();
    let mut lines = BufReader::new(stderr).lines();
    let found = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(word) {
                return;
            }
        }
        panic!("never: {word}");
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    // Bound and not listened on: connections are refused.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let url = format!("http://{address}/events");
    let arguments = [url.as_str(), "--since", "4", "-n", "1", "--json"];
    let mut child = tail(&arguments).spawn().unwrap();
    wait_for(&mut child, "again in").await;

    socket.listen(8).unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    let served = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        let answer = stream(&event(5));
        connection.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    };
    let head = tokio::time::timeout(PATIENCE, served).await.unwrap();
    assert_eq!(crate::upstream::header(&head, "last-event-id"), Some("4"));
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output());
    let ended = ended.await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let printed = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(events(&printed), numbered(5..=5));
}

#[tokio::test]
async fn gaps_are_told_and_counted_in_the_exit_code() {
    let upstream = Upstream::answering(stream("data: a\n\n")).await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let url = format!("http://{}/", proxy.addr);
    let unknown = "s1.AAAAAAAAAAAAAAAAAAAAAA.7";
    let (code, stdout, stderr) = output(&[&url, "--since", unknown, "-n", "1", "--json"]).await;
    assert_eq!(code, 3, "{stderr}");
    let gap: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert!(gap["gap"]["reason"].is_string(), "{stdout}");
    assert_eq!(events(&stdout).len(), 1);
    assert!(stderr.contains("events may be lost"), "{stderr}");

    // In the stream, with a number.
    let server = serving([
        stream(": sse-resume gap reason=trimmed lost=12\n\ndata: a\n\n"),
        GONE.into(),
    ])
    .await;
    let (code, stdout, stderr) = output(&[&server.url(), "--json"]).await;
    assert_eq!(code, 3);
    assert!(stderr.contains("12 events lost (trimmed)"), "{stderr}");
    assert!(stdout.contains("\"lost\":12"), "{stdout}");

    let (code, ..) = output(&[&url, "-n", "1"]).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn a_post_is_not_executed_twice() {
    let request = ["--data", "{\"ask\":1}", "-H", "Authorization: Bearer x"];
    let with = |url: &str| {
        let all = [&[url, "--json"], &request[..]].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = async |server: &Upstream| {
        let arguments = with(&server.url());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        output(&arguments).await
    };

    // Nothing says that its answer could be resumed.
    let server = serving([cut("", &event(1))]).await;
    let (code, stdout, stderr) = run(&server).await;
    assert_eq!((code, server.heads().len()), (1, 1), "{stderr}");
    assert_eq!(events(&stdout), numbered(1..=1));
    assert!(stderr.contains("a POST is not sent again"), "{stderr}");

    // A proxy says so; and the end of an answer is the end.
    let server = serving([cut("sse-resume: new\r\n", &event(1)), stream(&event(2))]).await;
    let (code, stdout, stderr) = run(&server).await;
    assert_eq!((code, server.heads().len()), (0, 2), "{stderr}");
    assert_eq!(events(&stdout), numbered(1..=2));
    for head in server.heads() {
        assert!(head.starts_with("POST / "), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("authorization: bearer x\r\n"), "{head}");
        assert!(
            head.contains("content-type: application/json\r\n"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let answer = |head: &str| format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
    for (head, said) in [
        ("404 Not Found", "the server answers 404 Not Found"),
        ("401 Unauthorized", "the server answers 401"),
        ("200 OK\r\ncontent-type: text/html", "its type is text/html"),
        (
            "302 Found\r\nlocation: http://other/",
            "ask http://other/ instead",
        ),
    ] {
        let server = serving([answer(head)]).await;
        let (code, stdout, stderr) = output(&[&server.url()]).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
    let server = serving([answer("503 Service Unavailable")]).await;
    let (code, _, stderr) = output(&[&server.url(), "--no-reconnect"]).await;
    assert_eq!((code, server.heads().len()), (1, 1), "{stderr}");
    let (code, _, stderr) = output(&[&crate::harness::refused(), "--no-reconnect"]).await;
    assert_eq!(code, 1, "{stderr}");
    let server = serving([stream(&event(1))]).await;
    let (code, ..) = output(&[&server.url(), "--no-reconnect"]).await;
    assert_eq!((code, server.heads().len()), (0, 1));
}

#[tokio::test]
async fn text_is_for_people_and_steers_no_terminal() {
    let events = ":\n: \x1b[1mpsst\nid: 7\nevent: tick\ndata: one\n\ndata: a\x1b[2Jb\ndata: c\n\n";
    let server = serving([stream(events)]).await;
    let arguments = [&server.url(), "--count", "2", "--comments"];
    let (code, stdout, stderr) = output(&arguments).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("-- heartbeat\n"), "{stderr}");
    assert!(stderr.contains("-- comment: \\u{1b}[1mpsst\n"), "{stderr}");
    // After the time of day.
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0].split_once(' ').unwrap().1, "7 tick one");
    assert_eq!(lines[1].split_once(' ').unwrap().1, "7 message");
    assert_eq!(lines[2..], ["  a\\u{1b}[2Jb", "  c"]);
}

#[tokio::test]
async fn arguments_that_cannot_be_used() {
    for (arguments, said) in [
        (&["events"][..], "the URL is not a whole one"),
        (&["ftp://a/"], "neither http nor https"),
        (&["http://me:hunter2@a/"], "a user name or password"),
        (&["http://a/", "-H", "nocolon"], "with a colon between"),
        (&["http://a/", "-H", "Last-Event-ID: 1"], "use --since ID"),
        (&["http://a/", "-H", "X: hunter2\u{1}"], "cannot be sent"),
        (&["http://a/", "-n", "0"], "0 is not in 1.."),
        (&["http://a/", "--ca", "none.pem"], "--ca none.pem: "),
        (&["http://a/", "-d", "@none.json"], "cannot read the body"),
        (
            &["http://a/", "--ca", "a", "--insecure"],
            "cannot be used with",
        ),
    ] {
        let (code, stdout, stderr) = output(arguments).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{stderr}");
        let told = said == "cannot be sent" || !stderr.contains("hunter2");
        assert!(told, "{stderr}");
    }
}

#[tokio::test]
async fn tls_by_an_authority_or_by_none() {
    let upstream = Upstream::answering(stream("data: a\n\n")).await;
    let (authority, stranger) = (Authority::new("tail"), Authority::new("tail-other"));
    let mut settings = config(&[upstream.url()]);
    settings.listeners = vec![listener(Some(authority.listener(None)))];
    let proxy = Proxy::start(settings).await;
    let url = format!("https://localhost:{}/", proxy.addr.port());
    let ca = |authority: &Authority| authority.file().display().to_string();

    let options = ["--no-reconnect", "-n", "1"];
    let run = async |trust: &[&str]| output(&[&[url.as_str()], &options[..], trust].concat()).await;
    let (code, stdout, stderr) = run(&["--ca", &ca(&authority)]).await;
    assert_eq!((code, stdout.lines().count()), (0, 1), "{stderr}");
    let (code, stdout, stderr) = run(&["--insecure"]).await;
    assert_eq!((code, stdout.lines().count()), (0, 1), "{stderr}");
    let (code, _, stderr) = run(&["--ca", &ca(&stranger)]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("certificate"), "{stderr}");
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_failure() {
    let server = serving([format!("{STREAM}\r\n{}", event(1).repeat(100_000))]).await;
    let mut child = tail(&[&server.url()]).spawn().unwrap();
    let mut some = [0; 100];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut some).await.unwrap();
    drop(stdout);
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    let ended = async {
        stderr.read_to_string(&mut said).await.unwrap();
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    // The program `script` gives a terminal; where it is missing, nothing is
    // tested.
    let server = Upstream::answering(stream(&event(1))).await;
    let line = format!(
        "{} tail {} -n 1",
        env!("CARGO_BIN_EXE_sse-proxy"),
        server.url()
    );
    let run = async |wish: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        script.env("TERM", "xterm").env("NO_COLOR", wish);
        script.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, script.output()).await;
        let stdout = ended.unwrap().ok()?.stdout;
        Some(String::from_utf8(stdout).unwrap())
    };
    if let (Some(with), Some(without)) = (run("").await, run("1").await) {
        for shown in [&with, &without] {
            assert!(
                shown.contains("message") && shown.contains("event 1"),
                "{shown}"
            );
        }
        assert!(with.contains("\x1b[1mmessage\x1b[0m"), "{with}");
        assert!(!without.contains('\x1b'), "{without}");
    }
}
