//! Streams of a server that goes down go on at another one, and their clients
//! see nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;
use tower_sse::proxy::config::model::{Config, HealthCheck, Passive};
use tower_sse::resume::settings::Mode;
use tower_sse::stream::policy::UpstreamResume;

use crate::harness::{LONG, Proxy, answer, config, eventually, fetch, get, open, refused, request};
use crate::upstream::{Connection, Upstream};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream";

/// A backend whose streams say its name and stay open, and whose check is as
/// the switch says.
async fn backend(name: &'static str) -> (Upstream, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&healthy);
    let upstream = Upstream::start(move |connection| {
        let switch = Arc::clone(&switch);
        serve(connection, name, switch)
    })
    .await;
    (upstream, healthy)
}

async fn serve(mut connection: Connection, name: &'static str, healthy: Arc<AtomicBool>) {
    while let Some((head, _)) = connection.request().await {
        let status = match head.split(' ').nth(1).unwrap() {
            "/healthz" if healthy.load(Ordering::SeqCst) => "200 OK",
            "/healthz" | "/fail" => "503 No",
            path => {
                let coding = "\r\nContent-Encoding: gzip\r\n\r\n";
                let coding = if path == "/zipped" {
                    coding
                } else {
                    "\r\n\r\n"
                };
                connection.send(format!("{STREAM}{coding}")).await;
                connection.send(format!("data: {name}\n\n")).await;
                return connection.closed().await;
            }
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        connection.send(answer).await;
    }
}

fn checked(servers: &[String]) -> Config {
    let mut config = config(servers);
    let upstream = config.upstreams.get_mut("app").unwrap();
    let every = Duration::from_millis(20);
    upstream.health_check = Some(HealthCheck {
        // A busy machine is no failure.
        timeout: LONG,
        ..HealthCheck::new("/healthz".into(), every)
    });
    upstream.move_streams = Some(Duration::from_millis(100));
    let sse = &mut config.routes[0].sse;
    sse.reconnect.initial = Duration::from_millis(50);
    sse.resume = UpstreamResume::Snapshot;
    config
}

/// Reads until the text is there.
async fn until(response: &mut Response<Incoming>, seen: &mut String, wanted: &str) {
    // Over all: heartbeats alone must not keep a test waiting.
    let reading = async {
        while !seen.contains(wanted) {
            let data = response.frame().await.unwrap().unwrap().into_data();
            seen.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
        }
    };
    let came = timeout(LONG * 2, reading).await;
    assert!(came.is_ok(), "never: {wanted:?}; {seen:?}");
}

async fn metric(proxy: &Proxy, name: &str) -> u64 {
    let metrics = proxy.ask_admin("/metrics").await;
    let lines = metrics.text().lines();
    let values = lines.filter(|line| line.starts_with(name));
    values
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

async fn moved(proxy: &Proxy, count: u64) {
    let name = "sse_upstream_streams_moved_total";
    eventually("as many have moved", || async {
        metric(proxy, name).await >= count
    })
    .await;
    assert_eq!(metric(proxy, name).await, count);
}

fn streams(upstream: &Upstream, path: &str) -> usize {
    let start = format!(" {path} ");
    let heads = upstream.heads();
    heads.iter().filter(|head| head.contains(&start)).count()
}

#[tokio::test]
async fn streams_of_a_server_that_fails_its_check_move_to_another() {
    let ((a, healthy), (b, there)) = (backend("a").await, backend("b").await);
    let proxy = Proxy::start(checked(&[a.url(), b.url()])).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = (open(proxy.addr, get("/events")).await, String::new());
        until(&mut client.0, &mut client.1, "\n\n").await;
        clients.push(client);
    }
    let here = streams(&a, "/events");
    assert_eq!((here, streams(&b, "/events")), (5, 5));

    healthy.store(false, Ordering::SeqCst);
    for (response, seen) in &mut clients {
        // The same connection of the client's, and now the other server.
        until(response, seen, "data: b\n").await;
    }
    assert_eq!(streams(&b, "/events"), 10);
    moved(&proxy, 5).await;
    assert_eq!(metric(&proxy, "sse_clients_open").await, 10);

    // It takes part again, and nothing moves back.
    healthy.store(true, Ordering::SeqCst);
    eventually("both are up", || async {
        metric(&proxy, "sse_server_up").await == 2
    })
    .await;
    moved(&proxy, 5).await;

    // Those that moved once can do so again.
    there.store(false, Ordering::SeqCst);
    moved(&proxy, 15).await;
}

#[tokio::test]
async fn with_nowhere_to_go_streams_stay_and_go_when_there_is() {
    let ((a, a_healthy), (b, b_healthy)) = (backend("a").await, backend("b").await);
    b_healthy.store(false, Ordering::SeqCst);
    let proxy = Proxy::start(checked(&[a.url(), b.url()])).await;
    eventually("b is down", || async {
        metric(&proxy, "sse_server_up").await == 1
    })
    .await;
    let (mut client, mut seen) = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut client, &mut seen, "data: a\n").await;

    a_healthy.store(false, Ordering::SeqCst);
    eventually("a is down", || async {
        metric(&proxy, "sse_server_up").await == 0
    })
    .await;
    assert_eq!(
        metric(&proxy, "sse_upstream_streams_open").await,
        1,
        "it stays"
    );
    moved(&proxy, 0).await;

    b_healthy.store(true, Ordering::SeqCst);
    until(&mut client, &mut seen, "data: b\n").await;
}

#[tokio::test]
async fn what_cannot_be_asked_for_again_is_never_moved() {
    let ((a, healthy), (b, _)) = (backend("a").await, backend("b").await);
    let mut config = checked(&[a.url(), b.url()]);
    let mut verbatim = config.routes[0].clone();
    verbatim.path = "/verbatim".into();
    verbatim.sse.mode = Mode::Passthrough;
    config.routes.insert(0, verbatim);
    // When one has moved, all were told to.
    config.upstreams.get_mut("app").unwrap().move_streams = Some(Duration::ZERO);
    let proxy = Proxy::start(config).await;
    let mut clients = Vec::new();
    for round in 0..2 {
        for asked in [
            request("POST", "/answer", "x"),
            get("/verbatim"),
            get("/zipped"),
            get("/events"),
        ] {
            let mut client = (open(proxy.addr, asked).await, String::new());
            until(&mut client.0, &mut client.1, "data: ").await;
            clients.push(client);
        }
        // So that each kind is once at each server, in turn.
        if round == 0 {
            assert_eq!(proxy.get("/fail").await.status, 503);
        }
    }
    assert_eq!((streams(&a, "/answer"), streams(&a, "/verbatim")), (1, 1));
    healthy.store(false, Ordering::SeqCst);
    let (gone, seen) = clients
        .iter_mut()
        .enumerate()
        .find_map(|(i, (response, seen))| {
            (i % 4 == 3 && seen.contains("data: a\n")).then_some((response, seen))
        })
        .unwrap();
    until(gone, seen, "data: b\n").await;
    moved(&proxy, 1).await;
    // Theirs are still open, and were asked for once.
    assert_eq!(metric(&proxy, "sse_server_open").await, 8);
    assert_eq!((streams(&a, "/answer"), streams(&b, "/answer")), (1, 1));
    for path in ["/verbatim", "/zipped"] {
        assert_eq!((streams(&a, path), streams(&b, path)), (1, 1), "{path}");
    }
}

#[tokio::test]
async fn streams_stay_if_the_upstream_says_so() {
    let ((a, healthy), (b, _)) = (backend("a").await, backend("b").await);
    let mut config = checked(&[a.url(), b.url()]);
    config.upstreams.get_mut("app").unwrap().move_streams = None;
    let proxy = Proxy::start(config).await;
    let (mut client, mut seen) = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut client, &mut seen, "data: a\n").await;
    healthy.store(false, Ordering::SeqCst);
    eventually("a is down", || async {
        metric(&proxy, "sse_server_up").await == 1
    })
    .await;
    // Whatever follows goes to the other one, and this one is where it was.
    let (mut other, mut there) = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut other, &mut there, "data: b\n").await;
    assert_eq!(metric(&proxy, "sse_server_open").await, 2);
    assert_eq!(streams(&b, "/events"), 1);
}

#[tokio::test]
async fn failures_in_a_row_eject_a_server_and_its_streams_move() {
    let ((a, _), (b, _)) = (backend("a").await, backend("b").await);
    let mut config = checked(&[a.url(), b.url()]);
    let upstream = config.upstreams.get_mut("app").unwrap();
    upstream.health_check = None;
    upstream.passive = Some(Passive {
        failures: 3,
        // Of its own accord it does not come back in a test's time.
        eject: LONG * 10,
    });
    let proxy = Proxy::start(config).await;
    let (mut client, mut seen) = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut client, &mut seen, "data: a\n").await;
    // Both fail; the one that is left is not ejected as well.
    for _ in 0..20 {
        assert_eq!(
            answer(open(proxy.addr, get("/fail")).await).await.status,
            503
        );
    }
    let (gone, left) = (streams(&a, "/fail"), streams(&b, "/fail"));
    assert_eq!(gone.min(left), 3, "{gone} {left}");
    assert_eq!(metric(&proxy, "sse_server_ejections_total").await, 1);
    eventually("it shows", || async {
        metric(&proxy, "sse_server_up").await == 1
    })
    .await;
    assert_eq!(proxy.ask_admin("/readyz").await.status, 200);
    if gone == 3 {
        until(&mut client, &mut seen, "data: b\n").await;
        moved(&proxy, 1).await;
    }
}

async fn post(proxy: &Proxy, path: &str) -> (u16, String) {
    let answer = fetch(proxy.admin, request("POST", path, "")).await;
    (answer.status.as_u16(), answer.text().to_owned())
}

#[tokio::test]
async fn an_operator_drains_a_server_and_has_it_back() {
    let ((a, _), (b, _)) = (backend("a").await, backend("b").await);
    let mut config = checked(&[a.url(), b.url()]);
    config.upstreams.get_mut("app").unwrap().health_check = None;
    let proxy = Proxy::start(config).await;
    let (mut client, mut seen) = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut client, &mut seen, "data: a\n").await;
    let drain = format!("/drain?upstream=app&server={}", a.addr());
    let (status, said) = post(&proxy, &drain).await;
    assert_eq!(status, 200);
    assert!(
        said.contains(&format!("app {} drained", a.addr())),
        "{said}"
    );
    until(&mut client, &mut seen, "data: b\n").await;
    for _ in 0..3 {
        let (mut other, mut there) = (open(proxy.addr, get("/events")).await, String::new());
        until(&mut other, &mut there, "data: b\n").await;
    }
    let (status, said) = post(&proxy, &format!("/un{}", &drain[1..])).await;
    assert_eq!(status, 200);
    assert!(said.contains(&format!("app {} up 0\n", a.addr())), "{said}");
    assert_eq!(proxy.ask_admin("/servers").await.status, 200);
    let here = streams(&a, "/events");
    for _ in 0..2 {
        let (mut other, mut there) = (open(proxy.addr, get("/events")).await, String::new());
        until(&mut other, &mut there, "data: ").await;
    }
    assert_eq!(streams(&a, "/events"), here + 1);
}

/// Whoever was a guest of a server before a reload still is afterwards.
async fn drained_after_reload(from: Config, to: Config, a: &Upstream) {
    let proxy = Proxy::start(from).await;
    let (mut client, mut seen) = (open(proxy.addr, get("/events")).await, String::new());
    until(&mut client, &mut seen, "data: a\n").await;
    proxy.control.reload(to).await.unwrap();
    let drain = format!("/drain?upstream=app&server={}", a.addr());
    assert_eq!(post(&proxy, &drain).await.0, 200);
    until(&mut client, &mut seen, "data: b\n").await;
    moved(&proxy, 1).await;
}

#[tokio::test]
async fn streams_from_before_a_reload_move_after_it() {
    let ((a, _), (b, _)) = (backend("a").await, backend("b").await);
    let mut before = checked(&[a.url(), b.url()]);
    before.upstreams.get_mut("app").unwrap().health_check = None;
    let mut after = before.clone();
    after.upstreams.get_mut("app").unwrap().slow_start = Duration::from_millis(1);
    drained_after_reload(before, after, &a).await;
}

#[tokio::test]
async fn streams_of_a_server_that_was_alone_move_to_one_that_is_added() {
    let ((a, _), (b, _)) = (backend("a").await, backend("b").await);
    let alone = checked(&[a.url()]);
    let both = checked(&[a.url(), b.url()]);
    drained_after_reload(alone, both, &a).await;
}

#[tokio::test]
async fn only_operators_drain_and_only_what_there_is() {
    let (a, _) = backend("a").await;
    let proxy = Proxy::start(checked(&[a.url()])).await;
    assert_eq!(post(&proxy, "/drain?upstream=app").await.0, 400);
    assert_eq!(post(&proxy, "/drain?upstream=app&server=b:1").await.0, 404);
    assert_eq!(post(&proxy, "/drain?upstream=no&server=b:1").await.0, 404);
    let drain = format!("/drain?upstream=app&server={}", a.addr());
    assert_eq!(
        proxy.ask_admin(&drain).await.status,
        404,
        "by GET nothing happens"
    );
    let mut page = request("POST", &drain, "");
    let origin = "https://evil.example".parse().unwrap();
    page.headers_mut().insert("origin", origin);
    assert_eq!(fetch(proxy.admin, page).await.status, 403);
    assert_eq!(proxy.ask_admin("/readyz").await.status, 200);
    assert_eq!(post(&proxy, &drain).await.0, 200);
    assert_eq!(proxy.ask_admin("/readyz").await.status, 503);
}

#[tokio::test]
async fn an_ejection_ends() {
    let (b, _) = backend("b").await;
    let mut config = checked(&[refused(), b.url()]);
    let upstream = config.upstreams.get_mut("app").unwrap();
    upstream.health_check = None;
    upstream.passive = Some(Passive {
        failures: 1,
        eject: Duration::from_millis(100),
    });
    let proxy = Proxy::start(config).await;
    for _ in 0..2 {
        let (mut client, mut seen) = (open(proxy.addr, get("/events")).await, String::new());
        until(&mut client, &mut seen, "data: b\n").await;
    }
    assert!(metric(&proxy, "sse_upstream_retries_total").await > 0);
    assert!(metric(&proxy, "sse_server_ejections_total").await > 0);
    eventually("it is forgiven", || async {
        metric(&proxy, "sse_server_up").await == 2
    })
    .await;
}

#[tokio::test]
async fn a_client_that_comes_while_all_servers_are_down_is_held() {
    let ((a, a_healthy), (b, b_healthy)) = (backend("a").await, backend("b").await);
    a_healthy.store(false, Ordering::SeqCst);
    b_healthy.store(false, Ordering::SeqCst);
    let mut config = checked(&[a.url(), b.url()]);
    config.routes[0].sse.hold = LONG * 10;
    config.routes[0].sse.heartbeat = Duration::from_millis(100);
    let proxy = Proxy::start(config).await;
    eventually("both are down", || async {
        metric(&proxy, "sse_server_up").await == 0
    })
    .await;
    let (mut client, mut seen) = (open(proxy.addr, get("/events")).await, String::new());
    assert_eq!(client.status(), 200);
    until(&mut client, &mut seen, ":\n:\n").await;
    assert!(!seen.contains("data"), "{seen}");
    assert_eq!(streams(&a, "/events") + streams(&b, "/events"), 0);
    b_healthy.store(true, Ordering::SeqCst);
    until(&mut client, &mut seen, "data: b\n").await;
}
