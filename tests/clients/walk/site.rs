//! A machine to walk on: an authority, backends, ports and folders that stand
//! for those of the document.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::page::{Walk, fits};
use super::shell::Shell;
use crate::authority::{client, connect_as};
use crate::harness::{Process, Scratch, node, port_to_return_to};
use crate::pebble::{Pebble, Place};

const SECRET: &str = "a secret that is long enough to be one";

/// In seconds; renewal is another test's.
const CERTIFICATE: u64 = 1_000_000;

pub(super) struct Site {
    shell: Shell,
    first: Option<Process>,
    second: Option<Process>,
    ports: Ports,
    /// Of the certificate that clients see.
    pub(super) root: String,
    /// Where metrics are, which changes with the process.
    admin: u16,
    acme: String,
    scratch: Scratch,
    _pebble: Pebble,
}

struct Ports {
    tls: u16,
    clear: u16,
    admin: [u16; 2],
    servers: [u16; 2],
}

impl Site {
    pub(super) async fn new(walk: &Walk) -> Self {
        let ports = Ports {
            tls: port_to_return_to(),
            clear: port_to_return_to(),
            admin: [port_to_return_to(), port_to_return_to()],
            servers: [port_to_return_to(), port_to_return_to()],
        };
        let place = Place::new("walk");
        let acme = format!(
            ", directory: \"{}\", ca: {} }}",
            place.directory(),
            place.ca().display()
        );
        let [http, https] =
            [ports.clear, ports.tls].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let pebble = place.start(http, https, CERTIFICATE).await;
        let root = pebble.root().await;
        let scratch = folders();
        let root_file = scratch.file("root.pem", &root);
        let shell = Shell::start(environment(&scratch, &root_file)).await;
        let first = serve(ports.servers[0]).await;
        let site = Self {
            shell,
            first: Some(first),
            second: None,
            admin: ports.admin[0],
            ports,
            root,
            acme,
            scratch,
            _pebble: pebble,
        };
        site.scratch.file("etc/proxy.yaml", &site.here(walk.yaml()));
        site.scratch
            .file("etc/environment", &format!("JWT_SECRET='{SECRET}'\n"));
        site
    }

    /// The document's text with what is here in place of what is there.
    fn here(&self, text: &str) -> String {
        let Ports {
            tls,
            clear,
            admin,
            servers,
        } = &self.ports;
        let folder = |name: &str| self.scratch.path().join(name).display().to_string();
        let stands_for = [
            ("127.0.0.1:3000", format!("127.0.0.1:{}", servers[0])),
            ("127.0.0.1:3001", format!("127.0.0.1:{}", servers[1])),
            (":9901", format!(":{}", admin[0])),
            ("-9901", format!("-{}", admin[0])),
            (":9902", format!(":{}", admin[1])),
            ("=9902", format!("={}", admin[1])),
            ("/acme }", format!("/acme{}", self.acme)),
            (
                "https://events.example.com",
                format!("https://localhost:{tls}"),
            ),
            (
                "http://events.example.com",
                format!("http://localhost:{clear}"),
            ),
            ("events.example.com", "localhost".to_owned()),
            ("0.0.0.0:443", format!("127.0.0.1:{tls}")),
            ("0.0.0.0:80", format!("127.0.0.1:{clear}")),
            (
                "redirect_to_https: true",
                format!("redirect_to_https: {tls}"),
            ),
            ("/etc/sse-proxy", folder("etc")),
            ("/var/lib/sse-proxy", folder("lib")),
            ("/var/log/sse-proxy", folder("log")),
            ("/usr/local/bin", folder("bin")),
        ];
        let put = |text: String, (there, here): (&str, String)| text.replace(there, &here);
        stands_for.into_iter().fold(text.to_owned(), put)
    }

    /// Does what the document says, and holds what it prints against it.
    pub(super) async fn step(&mut self, walk: &Walk, heading: &str) {
        for block in walk.step(heading) {
            let printed = self.shell.run(&self.here(&block.commands)).await;
            println!("### {heading}\n{printed}");
            let wanted = self.here(block.printed.trim());
            assert!(
                fits(&wanted, &printed),
                "at {heading:?} the document says\n{wanted}\nand it was\n{printed}\nand logged\n{}",
                self.log(),
            );
        }
        if heading == "Replace the binary" {
            self.admin = self.ports.admin[1];
        }
    }

    pub(super) fn log(&self) -> String {
        let log = self.scratch.path().join("log/error.log");
        std::fs::read_to_string(log).unwrap_or_default()
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.tls))
    }

    pub(super) async fn start_second_server(&mut self) {
        self.second = Some(serve(self.ports.servers[1]).await);
    }

    pub(super) async fn kill_first_server(&mut self) {
        self.first.take().unwrap().kill().await;
    }

    /// The first request for events that came there.
    pub(super) async fn second_server_was_asked(&mut self) -> Value {
        self.second.as_mut().unwrap().report("request").await
    }

    /// Whether clients who ask for this name can trust what they are shown.
    pub(super) async fn shows(&self, name: &str) -> bool {
        let client = client(&self.root, rustls::DEFAULT_VERSIONS, "h2", None);
        connect_as(self.address(), client, name).await.is_ok()
    }

    /// The value of a metric, 0 if there is none yet.
    pub(super) async fn figure(&mut self, name: &str) -> u64 {
        let lines = self.metrics(name).await;
        let value = lines.strip_prefix(name).map(str::trim);
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Lines that begin so.
    async fn metrics(&mut self, name: &str) -> String {
        let command = format!(
            "curl -s http://127.0.0.1:{}/metrics | grep '^{name}'",
            self.admin
        );
        self.shell.run(&command).await
    }

    /// No gap is counted by the process that runs, or was noted by either.
    pub(super) async fn nothing_was_lost(&mut self) {
        let metrics = self.metrics("sse_gaps_total").await;
        let counted = |line: &&str| !line.ends_with(" 0");
        assert_eq!(metrics.lines().find(counted), None);
        let noted = std::fs::read_to_string(self.scratch.path().join("log/access.log")).unwrap();
        let gap = |line: &&str| {
            line.contains("resume=gap") || line.contains("gaps=") && !line.contains("gaps=0")
        };
        assert_eq!(noted.lines().find(gap), None);
    }
}

/// With the binary installed, and the next one beside it.
fn folders() -> Scratch {
    let scratch = Scratch::new();
    for folder in ["bin", "etc", "lib", "log"] {
        std::fs::create_dir(scratch.path().join(folder)).unwrap();
    }
    for name in ["bin/sse-proxy", "bin/sse-proxy.new"] {
        let link = scratch.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sse-proxy"), link).unwrap();
    }
    scratch
}

fn environment(scratch: &Scratch, root: &Path) -> Vec<(String, String)> {
    let folder = scratch.path().join("bin");
    let folder = folder.display();
    let path = std::env::var("PATH").unwrap();
    let pair = |name: &str, value: String| (name.to_owned(), value);
    vec![
        pair("PATH", format!("{folder}:{path}")),
        pair("TOKEN", token("operator")),
        // Of curl, and of `tail`.
        pair("CURL_CA_BUNDLE", root.display().to_string()),
        pair("SSL_CERT_FILE", root.display().to_string()),
        pair("LC_ALL", "C".to_owned()),
    ]
}

/// As the application would sign it, good for hours.
pub(super) fn token(who: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = json!({
        "iss": "https://login.example.com",
        "aud": "events",
        "sub": who,
        "exp": now.as_secs() + 10_000,
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).unwrap()
}

async fn serve(port: u16) -> Process {
    let mut server = node("express_clock.mjs", &[&port.to_string()]);
    server.report("listening").await;
    server
}
