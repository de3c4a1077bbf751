//! TLS, users with passwords, and that nobody is told of these.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tower_sse::journal::redis::{Redis, RedisSettings};
use tower_sse::journal::{Journal, News};

use super::*;

const PASSWORD: &str = "never-to-be-seen";

/// What the journal needs, as its documentation has it.
const RIGHTS: &str = "~{sse:* &{sse:* +eval +evalsha +ping +subscribe +unsubscribe +publish \
    +time +info +hmget +hset +hincrby +pexpire +del +get +set +xadd +xtrim +xrange +xrevrange";

/// A server that speaks TLS, to one user; and the authority that vouches for it.
struct Secure {
    _server: Server,
    port: u16,
    authority: PathBuf,
    _directory: Directory,
}

impl Secure {
    async fn start() -> Self {
        let directory = Directory::new();
        let file = |name: &str| directory.path().join(name);
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(file("ca.pem"), authority.pem()).unwrap();
        std::fs::write(file("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(file("key.pem"), key.serialize_pem()).unwrap();

        let port = free_port();
        let tls_port = port.to_string();
        let [ca, cert, key] =
            ["ca.pem", "cert.pem", "key.pem"].map(|name| file(name).display().to_string());
        let password = format!(">{PASSWORD}");
        let mut options = vec!["--tls-port", &tls_port, "--tls-auth-clients", "no"];
        options.extend(["--tls-ca-cert-file", &ca]);
        options.extend(["--tls-cert-file", &cert, "--tls-key-file", &key]);
        options.extend(["--user", "proxy", "on", &password]);
        options.extend(RIGHTS.split_whitespace());
        Self {
            _server: Server::with(&options).await,
            port,
            authority: file("ca.pem"),
            _directory: directory,
        }
    }

    fn settings(&self, password: &str) -> RedisSettings {
        let url = format!("rediss://proxy:{password}@127.0.0.1:{}", self.port);
        let mut settings = settings(url);
        settings.ca_file = Some(self.authority.clone());
        settings
    }
}

#[tokio::test]
async fn everything_works_over_tls_as_a_user_with_few_rights() {
    let secure = Secure::start().await;
    let [here, there] = [(); 2].map(|()| Redis::connect(secure.settings(PASSWORD)).unwrap());
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let (records, mut follower) = join(&there, &name("s")).await;
    assert_eq!(records, [record(1, 3)]);
    until(&mut owner, &News::Readers(true)).await;
    keep(&mut owner, record(4, 4)).await;
    assert_eq!(next_record(&mut follower).await, record(4, 4));
    let alias = here.alias(&name("a"), &name("s"), RETAIN, None).unwrap();
    assert_eq!(within("alias", alias).await.unwrap(), None);
    drop(owner);
    // Known to be continuous, so the server may be asked which one it is.
    let taken = News::Owned {
        continuous: true,
        last: 4,
    };
    assert_eq!(news(&mut follower).await, taken);
    within("forget", follower.forget().unwrap()).await.unwrap();
    assert!(here.health().durable, "{:?}", here.health());
}

#[tokio::test]
async fn passwords_are_told_to_nobody() {
    let secure = Secure::start().await;
    let wrong = "wrong-and-not-to-be-seen-either";
    let mut quick = secure.settings(wrong);
    quick.timeout = SHORT / 4;
    let journal = Redis::connect(quick.clone()).unwrap();
    let error = within("find", journal.find(&name("s")).unwrap())
        .await
        .unwrap_err();
    eventually("the reason is known", || async {
        journal.health().detail.contains("authentication failed")
    })
    .await;
    let mut broken = quick.clone();
    broken.urls = vec![format!("rediss://proxy:{wrong}@127.0.0.1:port")];
    let refused = Redis::connect(broken).unwrap_err();
    let place = journal.follow(&name("s"));
    let told = format!(
        "{error} {error:?} {:?} {journal:?} {quick:?} {refused} {refused:?} {place:?}",
        journal.health()
    );
    assert!(!told.contains("to-be-seen"), "{told}");
    assert!(!told.contains("[7, 7"), "{told}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_talked_to() {
    let secure = Secure::start().await;
    let other = Secure::start().await;
    let mut misled = secure.settings(PASSWORD);
    misled.ca_file = Some(other.authority.clone());
    misled.timeout = SHORT / 4;
    let journal = Redis::connect(misled).unwrap();
    let error = within("find", journal.find(&name("s")).unwrap()).await;
    assert!(error.is_err());
    assert!(!journal.health().durable);
}
