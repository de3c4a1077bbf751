//! The process reads its file again: on SIGHUP, and where it is to watch it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::process::{Folder, Process, patiently};
use crate::upstream::Upstream;

const A: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
const B: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb";

fn file(upstream: &Upstream, more: &str) -> String {
    format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         routes: [{{ path: /, upstream: \"{}\" }}]\n{more}\n",
        upstream.url()
    )
}

#[tokio::test]
async fn a_hangup_reads_the_file_and_a_bad_one_changes_nothing() {
    let (a, b) = (Upstream::answering(A).await, Upstream::answering(B).await);
    let folder = Folder::new();
    let path = folder.write("proxy.yaml", &file(&a, ""));
    let proxy = Process::start(&path);
    assert_eq!(proxy.get("/").await.text(), "a");

    folder.write("proxy.yaml", &file(&b, "drain: { deadlin: 1s }"));
    proxy.signal("HUP");
    proxy.says("unknown key; did you mean `deadline`?").await;
    proxy.says("the one before stays in force").await;
    assert_eq!(proxy.get("/").await.text(), "a");

    folder.write("proxy.yaml", &file(&b, ""));
    proxy.signal("HUP");
    proxy.says("the configuration is in force").await;
    assert_eq!(proxy.get("/").await.text(), "b");
    let counted = proxy.metrics().await;
    for result in ["refused", "applied"] {
        let line = format!("sse_reloads_total{{result=\"{result}\"}} 1\n");
        assert!(counted.contains(&line), "{counted}");
    }
    proxy.signal("TERM");
    assert!(proxy.end().await.success());
}

#[tokio::test]
async fn a_watched_file_is_read_when_it_changes() {
    let (a, b) = (Upstream::answering(A).await, Upstream::answering(B).await);
    let folder = Folder::new();
    let watch = "reload: { watch: true }";
    let path = folder.write("proxy.yaml", &file(&a, watch));
    let proxy = Process::start(&path);
    // As a ConfigMap changes: another file takes the name.
    let next = folder.write("next.yaml", &file(&b, watch));
    std::fs::rename(next, path).unwrap();
    proxy.says("the file has changed").await;
    assert_eq!(proxy.get("/").await.text(), "b");
}

#[tokio::test]
async fn systemd_is_told_how_the_process_does() {
    let a = Upstream::answering(A).await;
    let folder = Folder::new();
    let path = folder.write("proxy.yaml", &file(&a, ""));
    let notified = folder.path("notify");
    let socket = UnixDatagram::bind(&notified).unwrap();
    socket.set_nonblocking(true).unwrap();
    let heard = std::sync::Mutex::new(String::new());
    let told = |wanted: &'static str| {
        let (socket, heard) = (&socket, &heard);
        async move {
            let mut datagram = [0; 512];
            let mut heard = heard.lock().unwrap();
            while let Ok(length) = socket.recv(&mut datagram) {
                heard.push_str(std::str::from_utf8(&datagram[..length]).unwrap());
            }
            heard.contains(wanted)
        }
    };
    let proxy = Process::notifying(&path, &notified, Duration::from_millis(200));
    patiently("READY", || told("READY=1")).await;
    patiently("WATCHDOG", || told("WATCHDOG=1")).await;
    heard.lock().unwrap().clear();
    proxy.signal("HUP");
    patiently("RELOADING", || told("RELOADING=1\nMONOTONIC_USEC=")).await;
    patiently("READY again", || told("READY=1")).await;
    proxy.signal("TERM");
    patiently("STOPPING", || told("STOPPING=1")).await;
    assert!(proxy.end().await.success());
}
