//! The layer without a framework: plain hyper, and a POST that is answered by
//! a stream of tokens, as language models do. Come back with the last id and
//! the answer goes on; it is not generated twice.
//!
//! ```sh
//! cargo run --example hyper_layer
//! curl -N -X POST http://127.0.0.1:3001/chat -d 'hello'        # stop it, note the last id, then
//! curl -N -X POST http://127.0.0.1:3001/chat -d 'hello' -H 'Last-Event-ID: s1.…'
//! ```

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_sse::SseLayer;
use tower_sse::resume::RequestBody;

type Tokens = StreamBody<std::pin::Pin<Box<dyn Stream<Item = Chunk> + Send>>>;
type Chunk = Result<Frame<Bytes>, Infallible>;

const ANSWER: &str = "Every token of this answer was generated once, however often you came back.";

async fn chat(_: Request<RequestBody<Incoming>>) -> Result<Response<Tokens>, Infallible> {
    println!("generating");
    let tokens = unfold(ANSWER.split(' '), |mut words| async move {
        let word = words.next()?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let event = format!("data: {word}\n\n");
        Some((Ok(Frame::data(Bytes::from(event))), words))
    });
    let mut response = Response::new(StreamBody::new(Box::pin(tokens) as _));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let service = ServiceBuilder::new()
        .layer(SseLayer::new())
        .service(service_fn(chat));
    let listener = TcpListener::bind("127.0.0.1:3001").await?;
    println!("curl -N -X POST http://{}/chat", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        // Events are small and must not wait for each other.
        socket.set_nodelay(true)?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            if let Err(error) = connection.await {
                println!("a client is gone: {error}");
            }
        });
    }
}
