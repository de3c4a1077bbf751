//! One upstream for everybody: however many clients read, the handler runs
//! once; late ones begin with what was said in the last moments.
//!
//! ```sh
//! cargo run --example shared_feed
//! curl -N http://127.0.0.1:3002/prices                        # in two terminals
//! ```

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::Stream;
use futures_util::stream::unfold;
use tower_sse::SseLayer;
use tower_sse::stream::policy::{Join, Linger};

/// A feed that is dear to produce.
async fn prices() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    println!("the handler runs");
    Sse::new(unfold(100.0f64, |price| async move {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let next = price + fastrand::f64() - 0.5;
        let event = Event::default().event("price").data(format!("{next:.2}"));
        Some((Ok(event), next))
    }))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let shared = SseLayer::new()
        .shared()
        .join(Join::Tail(4))
        .linger(Linger::For(Duration::from_secs(5)));
    let app = Router::new().route("/prices", get(prices)).layer(shared);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3002").await?;
    println!("curl -N http://{}/prices", listener.local_addr()?);
    axum::serve(listener, app).await
}
