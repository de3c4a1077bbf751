//! Pebble, the authority of Let's Encrypt for tests, and a DNS for it in which
//! every name leads here.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use http::Request;
use http_body_util::{BodyExt, Empty};

use crate::authority::{Authority, connect_as, send};
use crate::patience::eventually;

const MISSING: &str = "pebble is not installed; tests/run --install does that";

/// Ports of a pebble that is not running yet: whoever is to prove a name must
/// know it before, and it must know where names are proved.
pub(crate) struct Place {
    directory: u16,
    management: u16,
    dns: u16,
    authority: Authority,
}

/// Both processes, until dropped.
pub(crate) struct Pebble {
    place: Place,
    validity: u64,
    children: [Process; 2],
}

struct Process(Child);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            directory: free(),
            management: free(),
            dns: free(),
            authority: Authority::new(name),
        }
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.directory)
    }

    /// Who vouches for the directory's server.
    pub(crate) fn ca(&self) -> PathBuf {
        self.authority.file()
    }

    /// A folder that goes with it, and is not made yet.
    pub(crate) fn cache(&self) -> PathBuf {
        self.authority.path("acme")
    }

    /// Starts an authority that asks at these ports, and whose certificates
    /// last for so many seconds.
    pub(crate) async fn start(self, http: SocketAddr, tls: SocketAddr, validity: u64) -> Pebble {
        let files = self.authority.write("pebble", &["localhost"]);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.directory),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": files.certificate,
            "privateKey": files.private_key,
            "httpPort": http.port(),
            "tlsPort": tls.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": validity,
        }});
        let path = self.authority.path("pebble.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let dns = format!("127.0.0.1:{}", self.dns);
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        names.args(["-dns01", &dns, "-http01", "", "-https01", ""]);
        names.args(["-tlsalpn01", "", "-management", ""]);
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(&path).args(["-dnsserver", &dns]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        pebble.env("PEBBLE_WFE_NONCEREJECT", "0");
        pebble.env("PEBBLE_AUTHZREUSE", "0");
        let started = Pebble {
            children: [Process::start(names), Process::start(pebble)],
            place: self,
            validity,
        };
        for port in [started.place.dns, started.place.directory] {
            eventually("it answers", async || {
                let at = (Ipv4Addr::LOCALHOST, port);
                tokio::net::TcpStream::connect(at).await.is_ok()
            })
            .await;
        }
        started
    }
}

impl Pebble {
    /// Another in its place, which knows nothing of what it knew.
    pub(crate) async fn replaced(self, http: SocketAddr, tls: SocketAddr) -> Self {
        let Self {
            place,
            validity,
            children,
        } = self;
        drop(children);
        place.start(http, tls, validity).await
    }

    /// The root of what it issues, as PEM.
    pub(crate) async fn root(&self) -> String {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.place.management));
        let client = self.place.authority.client("http/1.1", None);
        let stream = connect_as(addr, client, "localhost").await.unwrap();
        let request = Request::get("/roots/0").header("host", "localhost");
        let answer = send(stream, request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        let pem = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(pem.to_vec()).unwrap()
    }
}

impl Process {
    fn start(mut command: Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(
            quiet
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{error}: {MISSING}")),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port below those that systems give to outgoing connections, which nobody
/// else in this process is given.
fn free() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 5_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id().wrapping_mul(89) % u32::from(COUNT);
    for _ in 0..COUNT {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((begin + next) % u32::from(COUNT)).unwrap();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}
