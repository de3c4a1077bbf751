//! `sse-proxy check`, where the configuration leads to something.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::refused;
use crate::upstream::Upstream;

/// Long enough never to be reached by a test that works.
const PATIENCE: Duration = Duration::from_secs(60);

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const UNWELL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tower-sse-check-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Exit code, standard output, standard error.
async fn check(file: &Path, more: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
    command.arg("check").arg("--config").arg(file).args(more);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output());
    let ended = ended.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = ended.status.code().unwrap();
    (code, text(ended.stdout), text(ended.stderr))
}

fn upstream(server: &str, health: &str) -> String {
    format!(
        "upstreams:\n  app:\n    servers: [\"{server}\"]\n    health_check: {health}\n\
         routes: [{{ path: /, upstream: app }}]\n"
    )
}

#[tokio::test]
async fn everybody_is_asked_and_the_exit_code_says_how_it_went() {
    let folder = Folder::new("online");
    let (well, unwell) = (
        Upstream::answering(NO_CONTENT).await,
        Upstream::answering(UNWELL).await,
    );
    let health = "{ path: /healthz, interval: 30s }";

    let file = folder.write("well.yaml", &upstream(&well.url(), health));
    let (code, stdout, stderr) = check(&file, &["--online"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("servers: ["), "{stdout}");
    let lines: Vec<&str> = stderr.lines().collect();
    let connected = format!("upstream app: {}: connected", well.url());
    let passed = format!("upstream app: health check {}/healthz: passed", well.url());
    assert_eq!(lines.len(), 2, "{stderr}");
    for (line, said) in lines.iter().zip([&connected, &passed]) {
        let timed = line.starts_with("ok ") && line.contains(" ms  ");
        assert!(timed && line.ends_with(said.as_str()), "{line}");
    }
    assert!(well.heads()[0].starts_with("GET /healthz "));

    // Nobody was asked without the option.
    let (code, _, stderr) = check(&folder.0.join("well.yaml"), &[]).await;
    assert_eq!((code, stderr.as_str(), well.connections()), (0, "", 2));

    for (server, said) in [
        (unwell.url(), "answered 503".to_owned()),
        (refused(), "Connection refused".to_owned()),
        (
            "https://localhost:1".to_owned(),
            "upstream app: ".to_owned(),
        ),
    ] {
        let file = folder.write("unwell.yaml", &upstream(&server, health));
        let (code, stdout, stderr) = check(&file, &["--online"]).await;
        assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
        assert!(
            stderr.contains("FAILED") && stderr.contains(&said),
            "{stderr}"
        );
        assert!(stderr.contains(" of 2 checks failed"), "{stderr}");
    }
}

#[tokio::test]
async fn a_key_of_another_certificate_is_found() {
    let folder = Folder::new("keys");
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    folder.write("cert.pem", &one.cert.pem());
    folder.write("right.pem", &one.signing_key.serialize_pem());
    folder.write("wrong.pem", &other.signing_key.serialize_pem());
    let with = |key: &str| {
        format!(
            "listeners:\n  - address: 127.0.0.1:0\n    \
             tls: {{ certificate: cert.pem, private_key: {key} }}\n\
             routes: [{{ path: /, upstream: \"http://127.0.0.1:9\" }}]\n"
        )
    };
    let file = folder.write("right.yaml", &with("right.pem"));
    let (code, _, stderr) = check(&file, &[]).await;
    assert_eq!(code, 0, "{stderr}");
    let file = folder.write("wrong.yaml", &with("wrong.pem"));
    let (code, stdout, stderr) = check(&file, &[]).await;
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert!(stderr.contains("\"wrong.pem\" does not belong"), "{stderr}");
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_journal_that_is_not_there() {
    let folder = Folder::new("journal");
    let url = refused().replace("http://", "redis://");
    let upstream = Upstream::answering(NO_CONTENT).await;
    let file = folder.write(
        "proxy.yaml",
        &format!(
            "journal: {{ kind: redis, url: \"{url}\", secret: \"sixteen-characters\" }}\n\
             routes: [{{ path: /, upstream: \"{}\" }}]\n",
            upstream.url()
        ),
    );
    let (code, _, stderr) = check(&file, &["--online"]).await;
    assert_eq!(code, 3, "{stderr}");
    let line = stderr.lines().find(|line| line.contains("journal: "));
    assert!(line.unwrap().starts_with("FAILED"), "{stderr}");
}
