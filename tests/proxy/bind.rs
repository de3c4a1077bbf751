//! A proxy that cannot start says why and what to do.

use tower_sse::proxy::Server;

use crate::harness::{config, refused, route};

async fn error(config: tower_sse::proxy::config::model::Config) -> String {
    Server::bind(config).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut on_listener = config(&[refused()]);
    on_listener.listeners[0].address = address;
    let mut on_admin = config(&[refused()]);
    on_admin.admin = Some(address);
    for config in [on_listener, on_admin] {
        let text = error(config).await;
        let start = format!("cannot listen on {address}: the address is in use; ");
        assert!(text.starts_with(&start), "{text}");
    }
}

#[tokio::test]
async fn a_route_to_nowhere() {
    let mut config = config(&[refused()]);
    config.routes.push(route("/", "missing"));
    assert!(error(config).await.contains("upstream missing"));
}

#[tokio::test]
async fn a_server_that_is_no_address() {
    assert!(
        error(config(&["/path"]))
            .await
            .contains("upstream app: servers must be")
    );
}

#[tokio::test]
async fn port_0_takes_a_free_one() {
    let server = Server::bind(config(&[refused()])).await.unwrap();
    assert_eq!(server.listeners().len(), 1);
    assert_ne!(server.listeners()[0].port(), 0);
    assert_ne!(server.admin().unwrap().port(), 0);
}
