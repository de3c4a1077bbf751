//! An MCP server whose clients lose no answer with their connection, by one
//! `.layer(...)`.
//!
//! ```sh
//! cargo run --example mcp_server
//! ```
//!
//! Any client that speaks a version up to 2025-11-25 will do: let it call
//! `count` for a minute, and cut its network in between. It comes back by itself
//! and gets what it missed; the tool was called once.

mod sessions;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ProgressNotificationParam, RequestMetaObject};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{Peer, RoleServer, schemars, tool, tool_router};
use tower_sse::SseLayer;
use tower_sse::resume::profile::Profile;

use sessions::Sessions;

struct Counter;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Count {
    seconds: u32,
}

#[tool_router(server_handler)]
impl Counter {
    #[tool(description = "Counts seconds, and reports each")]
    async fn count(
        &self,
        Parameters(Count { seconds }): Parameters<Count>,
        meta: RequestMetaObject,
        client: Peer<RoleServer>,
    ) -> String {
        println!("counting {seconds} seconds");
        for second in 1..=seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(token) = meta.get_progress_token() {
                let progress = ProgressNotificationParam::new(token, second.into());
                // Nobody may be listening; the answer is kept all the same.
                let _ = client.notify_progress(progress).await;
            }
        }
        format!("counted {seconds} seconds")
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let config = StreamableHttpServerConfig::default().with_sse_retry(None);
    let server = StreamableHttpService::new(|| Ok(Counter), Arc::new(Sessions::default()), config);
    let app = Router::new()
        .route_service("/mcp", server)
        .layer(SseLayer::profile(Profile::Mcp));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, app).await
}
