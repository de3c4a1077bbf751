//! Sessions of rmcp whose events have no ids.
//!
//! rmcp keeps the last 16 events of each stream, gives them ids, and answers to
//! those itself; whoever was away for longer misses some without being told. A
//! server that sends ids is left alone by [`Profile::Mcp`], so they are taken
//! out here, and keeping events is the layer's.
//!
//! [`Profile::Mcp`]: tower_sse::resume::profile::Profile::Mcp

use futures_util::{Stream, StreamExt};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use rmcp::transport::streamable_http_server::session::{
    ServerSseMessage, SessionId, SessionManager,
};

type Result<T> = std::result::Result<T, LocalSessionManagerError>;

/// rmcp's sessions, but for the ids.
#[derive(Debug)]
pub(crate) struct Sessions(LocalSessionManager);

impl Default for Sessions {
    fn default() -> Self {
        let mut sessions = LocalSessionManager::default();
        // Nor an event that is there for its id only.
        sessions.session_config.sse_retry = None;
        Self(sessions)
    }
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport)> {
        self.0.create_session().await
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage> {
        self.0.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        self.0.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<()> {
        self.0.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        Ok(self.0.create_stream(id, message).await?.map(without_id))
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        Ok(self.0.create_standalone_stream(id).await?.map(without_id))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        self.0.resume(id, last_event_id).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<()> {
        self.0.accept_message(id, message).await
    }
}

fn without_id(mut message: ServerSseMessage) -> ServerSseMessage {
    message.event_id = None;
    message
}
