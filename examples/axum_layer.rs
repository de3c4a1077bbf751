//! An axum service whose event stream can be resumed, by one `.layer(...)`.
//!
//! ```sh
//! cargo run --example axum_layer
//! curl -N http://127.0.0.1:3000/events                      # stop it, note the last id, then
//! curl -N http://127.0.0.1:3000/events -H 'Last-Event-ID: s1.…'
//! ```

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::Stream;
use futures_util::stream::unfold;
use tower_sse::SseLayer;

/// Counts up, twice a second, from one for each caller. It knows of no ids.
async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(unfold(1u64, |n| async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Some((Ok(Event::default().data(n.to_string())), n + 1))
    }))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new()
        .route("/events", get(events))
        .layer(SseLayer::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("curl -N http://{}/events", listener.local_addr()?);
    axum::serve(listener, app).await
}
